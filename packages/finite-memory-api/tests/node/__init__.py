"""Programs from npm, pinned by ``package-lock.json`` beside this file.

The nox sessions that need them install them outside the repository and say where, as
``FINITE_MEMORY_NODE``; without that, the tests that need them skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent
INSTALLED = os.environ.get("FINITE_MEMORY_NODE", "")


def modules() -> Path:
    """Where the packages are installed; skips the test where they are not."""
    if not INSTALLED or shutil.which("node") is None:
        pytest.skip("needs Node.js and packages from npm: run the nox session that installs them")
    return Path(INSTALLED) / "node_modules"


def run(program: Path, *arguments: str) -> str:
    """Run a program beside the packages it imports; return what it prints."""
    copy = modules().parent / program.name
    shutil.copyfile(program, copy)
    done = subprocess.run(
        ["node", str(copy), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout
