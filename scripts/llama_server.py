"""Print the path of llama.cpp's ``llama-server``, building it first if need be.

Its sources come in the source distribution of llama-cpp-python, which every package index has. The
program is kept in the user's cache directory, by version; building it takes some minutes of two
CPUs and needs a C++ compiler. ``FINITE_MEMORY_CACHE`` chooses another directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "0.3.36"
OPTIONS = (
    "CMAKE_BUILD_TYPE=Release",
    # A tiny model needs no better; compiling takes two thirds of the time.
    "CMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG",
    "CMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG",
    "BUILD_SHARED_LIBS=OFF",
    "GGML_NATIVE=OFF",
    "GGML_OPENMP=OFF",
    "LLAMA_BUILD_APP=OFF",
    "LLAMA_BUILD_EXAMPLES=OFF",
    "LLAMA_BUILD_TESTS=OFF",
    "LLAMA_BUILD_UI=OFF",
    "LLAMA_OPENSSL=OFF",
    "LLAMA_USE_PREBUILT_UI=OFF",
)


def cached() -> Path:
    """Where the program is, or will be."""
    caches = os.environ.get("XDG_CACHE_HOME")
    default = (Path(caches) if caches else Path.home() / ".cache") / "finite-memory"
    folder = Path(os.environ.get("FINITE_MEMORY_CACHE", default))
    return folder / f"llama-server-{VERSION}" / "llama-server"


def main() -> None:
    """Print where it is."""
    program = cached()
    if not program.is_file():
        with tempfile.TemporaryDirectory() as scratch:
            build(Path(scratch), program)
    print(program)


def build(scratch: Path, program: Path) -> None:
    """Download, compile, and put it in its place."""
    print(f"building {program.name} {VERSION}, once: some minutes", file=sys.stderr)
    wanted = f"llama-cpp-python=={VERSION}"
    # Of this one alone: what it is built with need not be built too.
    from_source = ("--no-deps", "--no-binary", "llama-cpp-python")
    run(sys.executable, "-m", "pip", "download", "-q", *from_source, "-d", scratch, wanted)
    with tarfile.open(next(scratch.glob("*.tar.gz"))) as archive:
        archive.extractall(scratch, filter="data")
    source = next(scratch.glob("*/vendor/llama.cpp"))
    made = scratch / "build"
    run("cmake", "-S", source, "-B", made, "-G", "Ninja", *(f"-D{option}" for option in OPTIONS))
    run("cmake", "--build", made, "--target", program.name, "-j", str(os.cpu_count() or 1))
    program.parent.mkdir(parents=True, exist_ok=True)
    # Moved at the end, so that a build that was broken off leaves nothing that looks whole.
    half = program.with_suffix(".part")
    shutil.copy2(made / "bin" / program.name, half)
    half.replace(program)


def run(*command: object) -> None:
    """Run a command whose output goes to standard error."""
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
