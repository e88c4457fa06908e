"""One command that needs nothing but Python and pip: ``python3 run.py demo`` or ``... test``.

It makes a private virtual environment in ``.nox/launcher``, installs nox and uv there at their
pinned versions, and hands over; uv is led to the package indexes that pip is set to. The
environment is made without a pip of its own and filled by the pip of the calling Python, so
neither ensurepip nor the permission to change that Python is needed.

``demo`` shows the memory at work, ``test`` runs every check; anything else goes to nox as it is
(``python3 run.py --list``, ``python3 run.py -s lint``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
HOME = ROOT / ".nox" / "launcher"
LOCK = ROOT / "constraints" / "lock.txt"
OLDEST = (3, 11)
TASKS = {"demo": ["--session", "demo"], "test": []}


def main(arguments: list[str]) -> int:
    """Run nox with the given task or arguments; its exit status is ours."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Finite Memory needs Python 3.11 or newer; {sys.executable} is {found}.")
    if not arguments or arguments in (["-h"], ["--help"]):
        sys.stdout.write(__doc__ or "")
        return 0 if arguments else 2
    python = ready_python()
    command = [str(python), "-m", "nox", "--noxfile", str(ROOT / "noxfile.py")]
    head, *rest = arguments
    command += [*TASKS[head], *rest] if head in TASKS else arguments
    return subprocess.run(command, check=False, env={**uv_settings(), **os.environ}).returncode


def uv_settings() -> dict[str, str]:
    """The variables that lead uv to where the pip of this Python looks."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from pip_settings import as_uv

    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    return as_uv(listed.stdout)


def ready_python() -> Path:
    """The launcher's Python with nox in it; made on first use and when the pin has changed."""
    python = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    tools = [pinned("nox"), pinned("uv")]
    stamp, wanted = HOME / "ready.txt", "\n".join([sys.version, *tools, ""])
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    venv.create(HOME, clear=True, with_pip=False)
    install = ["install", "-qq", "--disable-pip-version-check", "-c", str(LOCK), *tools]
    # Standard output belongs to the session: some callers parse it.
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), *install],
        check=False,
        stdout=sys.stderr,
    )
    if done.returncode:
        sys.exit("pip could not install nox and uv (see above); is a package index within reach?")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def pinned(name: str) -> str:
    """The requirement ``name==version`` as the lock file has it."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return next(line.split(";")[0].strip() for line in lines if line.startswith(f"{name}=="))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
