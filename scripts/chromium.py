"""Chromium for the tests of the page: say where it is, install Debian's if need be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from postgres_server import may_install

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program() -> str | None:
    """The browser's program; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def main() -> None:
    """Print where the program is; install it before, where there is none."""
    if program() is None and may_install():
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for step in (["update", "-q"], ["install", "-q", "-y", "chromium"]):
            subprocess.run(["apt-get", *step], env=environment, check=True, stdout=sys.stderr)
    found = program()
    if found is None:
        sys.exit("there is no Chromium, and no right to install one")
    print(found)


if __name__ == "__main__":
    main()
