"""What the repository builds, read from ``packages/*/pyproject.toml`` and from nowhere else.

A distribution joins by adding its folder: the sessions, the CI matrix and the rules follow.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PYTHON = re.compile(r"Programming Language :: Python :: (3\.\d+)")
_LOWEST = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:[^;>]*,\s*)?>=\s*([0-9][^,;\s]*)")


@dataclass(frozen=True)
class Distribution:
    """One folder under ``packages/``, as its pyproject describes it."""

    folder: Path
    name: str
    version: str
    pythons: tuple[str, ...]
    """Minor versions of the classifiers, lowest first: ``("3.11", "3.12")``."""
    dependencies: tuple[str, ...] = ()
    extras: dict[str, tuple[str, ...]] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    """The table ``tool.finite-memory``: what the sessions hold this distribution to."""

    @property
    def short(self) -> str:
        """What stands in session names: ``core`` for ``finite-memory-core``."""
        return self.name.removeprefix("finite-memory-")

    @property
    def package(self) -> str:
        """The import name, one to one with the distribution's name."""
        return self.name.replace("-", "_")

    @property
    def pyproject(self) -> Path:
        return self.folder / "pyproject.toml"

    @property
    def wheel(self) -> str:
        """The wheel's file name."""
        return f"{self.package}-{self.version}-py3-none-any.whl"

    @property
    def sdist(self) -> str:
        """The source archive's file name."""
        return f"{self.package}-{self.version}.tar.gz"

    def requires(self, other: Distribution) -> bool:
        """Whether ``other`` is a direct requirement."""
        return self.needs(other.name)

    def needs(self, name: str) -> bool:
        """Whether a package of that name is a direct requirement."""
        return name in map(requirement_name, self.dependencies)

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Extras that are heavy and agree with little: they have an environment of their own."""
        return tuple(self.limits.get("frameworks", ()))

    @property
    def together(self) -> tuple[str, ...]:
        """The other extras, which every environment of this distribution can hold."""
        return tuple(name for name in self.extras if name not in self.frameworks)

    def lines(self, extras: Iterable[str]) -> list[str]:
        """What these extras require."""
        return [line for name in extras for line in self.extras[name]]

    def lowest(self, extras: Iterable[str] | None = None) -> tuple[str, ...]:
        """Every lower bound of dependencies and extras as a pin: ``("rich==13.7.0", ...)``.

        None for the extras that go together.
        """
        lines = [*self.dependencies, *self.lines(self.together if extras is None else extras)]
        found = (_LOWEST.match(line) for line in lines)
        return tuple(sorted({f"{m[1]}=={m[2]}" for m in found if m}))


def requirement_name(requirement: str) -> str:
    """``"Finite_Memory.core[x]>=1"`` is about ``"finite-memory-core"``."""
    match = _NAME.match(requirement)
    if match is None:
        raise ValueError(f"no requirement: {requirement!r}")
    return re.sub(r"[._-]+", "-", match[0]).lower()


def load(folder: Path) -> Distribution:
    """Read one distribution; a missing field is a ``KeyError`` that names it."""
    content = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    minors = {m[1] for line in project["classifiers"] if (m := _PYTHON.fullmatch(line))}
    extras = project.get("optional-dependencies", {})
    return Distribution(
        folder=folder,
        name=project["name"],
        version=project["version"],
        pythons=tuple(sorted(minors, key=lambda minor: int(minor.partition(".")[2]))),
        dependencies=tuple(project.get("dependencies", ())),
        extras={name: tuple(lines) for name, lines in extras.items()},
        limits=content.get("tool", {}).get("finite-memory", {}),
    )


def discover(root: Path = ROOT) -> tuple[Distribution, ...]:
    """All distributions, each after those that it requires."""
    found = [load(path.parent) for path in sorted(root.glob("packages/*/pyproject.toml"))]
    ordered: list[Distribution] = []
    while found:
        ready = [d for d in found if not any(d.requires(other) for other in found)]
        if not ready:
            raise ValueError(f"distributions require each other: {[d.name for d in found]}")
        ordered += ready
        found = [d for d in found if d not in ready]
    return tuple(ordered)


def closure(start: Distribution, known: Iterable[Distribution]) -> tuple[Distribution, ...]:
    """The distribution and every sibling that it requires, directly or not, requirements first."""
    known = tuple(known)
    wanted = {start.name}
    for distribution in reversed(known):
        if distribution.name in wanted:
            wanted |= {other.name for other in known if distribution.requires(other)}
    return tuple(d for d in known if d.name in wanted)


def affected(paths: Iterable[str], known: Iterable[Distribution]) -> tuple[Distribution, ...]:
    """The distributions whose tests a change of these paths (relative to the root) can move.

    Prose, examples and benchmarks move none; the frame itself moves all.
    """
    known, changed = tuple(known), set[str]()
    for path in paths:
        if path.startswith("packages/"):
            changed |= {d.name for d in known if path.startswith(f"packages/{d.folder.name}/")}
        elif not path.endswith(".md") and not path.startswith(("docs/", "benchmarks/")):
            return known
    return tuple(d for d in known if changed & {c.name for c in closure(d, known)})
