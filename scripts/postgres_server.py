"""A PostgreSQL server's programs for the tests: say where they are, install them if need be.

The tests start a server of their own with them, in a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")


def programs(place: Path = DEBIAN) -> Path | None:
    """The folder with the newest server's programs; None where there is none."""
    folders = [path.parent for path in place.glob("*/bin/initdb")]
    if folders:
        return max(folders, key=lambda folder: int(folder.parent.name.partition(".")[0]))
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


def may_install() -> bool:
    """Whether this is a Debian, and its packages may be installed: a container, most often."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def main() -> None:
    """Print where the programs are; install them before, where there are none."""
    if programs() is None:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for step in (["update", "-q"], ["install", "-q", "-y", "postgresql"]):
            subprocess.run(["apt-get", *step], env=environment, check=True)
    found = programs()
    if found is None:
        sys.exit("the package postgresql is installed, but there is no initdb")
    print(found)


if __name__ == "__main__":
    main()
