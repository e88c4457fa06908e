"""The one version that all distributions share: show it, raise it, refuse a disagreement.

``python scripts/versions.py``                 print the version, or say who disagrees
``python scripts/versions.py bump 0.2.0``      write it into every pyproject and sibling pin
``python scripts/versions.py tag v0.2.0``      refuse a tag that is not this version
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from distributions import ROOT, Distribution, discover, requirement_name

_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def disagreements(known: Iterable[Distribution]) -> list[str]:
    """What keeps the distributions from being released together; empty when they agree."""
    known = tuple(known)
    wanted = known[0].version
    found = [f"{d.name} is {d.version}, not {wanted}" for d in known if d.version != wanted]
    names = {d.name for d in known}
    for distribution in known:
        for line in distribution.dependencies:
            exact = f"{requirement_name(line)}{_extras(line)}=={wanted}"
            if requirement_name(line) in names and line.replace(" ", "") != exact:
                found.append(f"{distribution.name} requires {line!r}, not {exact!r}")
    return found


def _extras(requirement: str) -> str:
    """The extras that a requirement names, with their brackets; "" where it names none."""
    found = re.match(r"[\w.-]+(\[[^\]]*\])?", requirement.replace(" ", ""))
    return (found and found[1]) or ""


def bump(version: str, root: Path = ROOT) -> list[Path]:
    """Write ``version`` as literal and as pin of every sibling; return the files changed."""
    if not _VERSION.fullmatch(version):
        raise SystemExit(f"{version!r} is no version: write for example 1.2.3 or 1.2.3rc1.")
    known = discover(root)
    names = "|".join(re.escape(d.name) for d in known)
    pin = re.compile(rf'"((?:{names})(?:\[[^\]"]*\])?)\s*==[^"]*"')
    for distribution in known:
        text = distribution.pyproject.read_text(encoding="utf-8")
        text = re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', text, count=1)
        text = pin.sub(rf'"\g<1>=={version}"', text)
        distribution.pyproject.write_text(text, encoding="utf-8")
    return [d.pyproject for d in known]


def agreed(root: Path = ROOT) -> str:
    """The version of all; exits with every disagreement otherwise."""
    known = discover(root)
    if wrong := disagreements(known):
        raise SystemExit("\n".join(wrong))
    return known[0].version


def main(arguments: list[str]) -> None:
    """Run one of the commands of the module's docstring."""
    match arguments:
        case []:
            print(agreed())
        case ["bump", version]:
            for path in bump(version):
                print(f"{path.relative_to(ROOT)}: {version}")
            agreed()
        case ["tag", tag]:
            if tag != f"v{agreed()}":
                raise SystemExit(f"the tag is {tag!r}, the distributions are {agreed()}.")
            print(tag)
        case _:
            raise SystemExit((__doc__ or "").strip())


if __name__ == "__main__":
    main(sys.argv[1:])
