"""A virtual environment for each peer, made once and kept in the user's cache directory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from . import Peer


class NoEnvironment(RuntimeError):
    """A peer could not be installed; the text says what pip said."""


def cache_directory() -> Path:
    """Return where the environments are: `FINITE_MEMORY_PEERS`, or the user's cache directory."""
    if chosen := os.environ.get("FINITE_MEMORY_PEERS"):
        return Path(chosen)
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "finite-memory" / "peers"


def python_of(peer: Peer) -> Path:
    """Return the interpreter that has `peer` installed, making the environment if need be.

    A peer that requires nothing is our own, and runs in this environment.

    Raises:
        NoEnvironment: pip failed.
    """
    if not peer.requires:
        return Path(sys.executable)
    wanted = json.dumps([*peer.requires, sys.version])
    home = cache_directory() / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = home / "installed.json"
    if not done.is_file() or done.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        _install(python, peer)
        done.write_text(wanted, encoding="utf-8")
    return python


def _install(python: Path, peer: Peer) -> None:
    print(f"installing {', '.join(peer.requires)} ...", file=sys.stderr, flush=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *peer.requires]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NoEnvironment(f"pip could not install {peer.requires}: {result.stderr[-500:]}")
