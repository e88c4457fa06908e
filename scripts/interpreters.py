"""Finding interpreters that PATH hides: those that pyenv has installed but not activated."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path


def extend_path(minors: Iterable[str]) -> None:
    """Put the folder of every interpreter that PATH does not yield at the end of PATH.

    At the end, so that nothing that was found before is found elsewhere now.
    """
    for minor in minors:
        if not any(starts(path, minor) for path in _on_path(minor)):
            found = next((path for path in _of_pyenv(minor) if starts(path, minor)), None)
            if found is not None:
                os.environ["PATH"] += os.pathsep + str(found.parent)


def starts(python: Path, minor: str) -> bool:
    """Whether this file is an interpreter of this minor version that really runs.

    pyenv's shims exist for versions that are not active and fail when they are called.
    """
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python, "-I", "-c", program], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == minor


def _on_path(minor: str) -> Iterator[Path]:
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = shutil.which(f"python{minor}", path=folder)
        if found is not None:
            yield Path(found)


def _of_pyenv(minor: str) -> Iterator[Path]:
    root = os.environ.get("PYENV_ROOT") or _pyenv_root()
    if root is not None:
        versions = Path(root, "versions").glob(f"{minor}.*/bin/python{minor}")
        yield from sorted(versions, reverse=True)


def _pyenv_root() -> str | None:
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return None
    done = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
