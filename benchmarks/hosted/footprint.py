"""What an installation puts on disk and what its import costs, beside other ways to a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..peers import Peer
from ..peers.environment import NoEnvironment, python_of
from ..tables import Table

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ROOT / "packages"
OURS = (str(PACKAGES / "finite-memory-core"), str(PACKAGES / "finite-memory-api"))
SUBJECTS = (
    ("finite-memory-api", OURS, "finite_memory_api"),
    ("openai", ("openai==3.57.0",), "openai"),
    ("anthropic", ("anthropic==2.14.0",), "anthropic"),
    ("langchain-openai", ("langchain-openai==1.6.1",), "langchain_openai"),
    ("litellm", ("litellm==1.106.2",), "litellm"),
)
PAIRS = 9

_SIZE = """
import sysconfig, pathlib
root = pathlib.Path(sysconfig.get_path("purelib"))
skip = ("pip", "setuptools")
print(sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and p.suffix != ".pyc"
          and not p.relative_to(root).parts[0].startswith(skip)))
"""
_IMPORT = """
import os, statistics, subprocess, sys
def cpu(program):
    child = subprocess.Popen([sys.executable, "-I", "-c", program])
    _, _, usage = os.wait4(child.pid, 0)
    return (usage.ru_utime + usage.ru_stime) * 1000
cpu("import " + sys.argv[1])
pairs = [cpu("import " + sys.argv[1]) - cpu("pass") for _ in range(int(sys.argv[2]))]
print(statistics.median(pairs))
"""


def tables() -> list[Table]:
    """Measure each in an environment of its own."""
    rows = [_row(*subject) for subject in SUBJECTS]
    note = (
        "Dependencies included, byte code left out; CPU of the import above a bare interpreter's, "
        f"median of {PAIRS} pairs of fresh processes. Target: at most 10 MB and 50 ms above core."
    )
    return [Table("Installed size and import", ("", "MB", "import, ms CPU"), rows, [note])]


def _row(title: str, requires: tuple[str, ...], package: str) -> list[str]:
    try:
        python = python_of(Peer(package, title, requires, ""))
    except NoEnvironment as error:
        print(f"{title}: {error}", file=sys.stderr)
        return [title, "not installable here", ""]
    size = int(_told(python, _SIZE)) / 1e6
    milliseconds = float(_told(python, _IMPORT, package, str(PAIRS)))
    return [title, f"{size:,.1f}", f"{milliseconds:,.0f}"]


def _told(python: Path, program: str, *arguments: str) -> str:
    command = [str(python), "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
