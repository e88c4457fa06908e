"""Hold what an installation puts on disk against its limit: ``check_size.py FOLDER LIMIT``.

``FOLDER`` is the target of an installation, dependencies included; ``LIMIT`` is in bytes.
Byte code does not count: it depends on who compiled it and when.
"""

from __future__ import annotations

import sys
from pathlib import Path


def sizes(folder: Path) -> dict[str, int]:
    """Bytes by top-level entry, the largest first."""
    found: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            top = path.relative_to(folder).parts[0]
            found[top] = found.get(top, 0) + path.stat().st_size
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def main(folder: str, limit: str) -> None:
    """Print the sum and its parts; exits when it is over the limit, or when nothing is there."""
    found = sizes(Path(folder))
    total = sum(found.values())
    for name, size in found.items():
        print(f"{size:>12,} {name}")
    print(f"{total:>12,} bytes installed, dependencies included; the limit is {int(limit):,}")
    if not 0 < total < int(limit):
        raise SystemExit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
