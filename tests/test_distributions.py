"""The reading of the pyprojects, on made-up repositories of two and three distributions."""

from __future__ import annotations

from pathlib import Path

import pytest

import versions
from distributions import affected, closure, discover, requirement_name

PYPROJECT = """
[project]
name = "{name}"
version = "{version}"
classifiers = [
  "Programming Language :: Python :: 3",
  "Programming Language :: Python :: 3.11",
  "Programming Language :: Python :: 3.9",
]
dependencies = [{dependencies}]

[project.optional-dependencies]
nice = ["rich>=13.7,<16", "regex"]
"""


def write(root: Path, name: str, *dependencies: str, version: str = "1.0.0") -> None:
    """Add a distribution to the made-up repository."""
    folder = root / "packages" / name
    folder.mkdir(parents=True)
    listed = ", ".join(f'"{line}"' for line in dependencies)
    content = PYPROJECT.format(name=name, version=version, dependencies=listed)
    (folder / "pyproject.toml").write_text(content, encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three distributions in a chain whose names sort against their order."""
    write(tmp_path, "finite-memory-a", "finite-memory-b==1.0.0")
    write(tmp_path, "finite-memory-b", "finite-memory-c==1.0.0", "attrs>=23.1")
    write(tmp_path, "finite-memory-c")
    return tmp_path


def test_requirements_come_first(root: Path) -> None:
    """A distribution is listed after all that it requires, whatever the folders are called."""
    assert [d.short for d in discover(root)] == ["c", "b", "a"]


def test_a_circle_is_refused(tmp_path: Path) -> None:
    """Two distributions that require each other are an error that names both."""
    write(tmp_path, "finite-memory-a", "finite-memory-b==1.0.0")
    write(tmp_path, "finite-memory-b", "finite-memory-a==1.0.0")
    with pytest.raises(ValueError, match=r"finite-memory-a.*finite-memory-b"):
        discover(tmp_path)


def test_pythons_are_sorted_as_numbers(root: Path) -> None:
    """3.9 is lower than 3.11."""
    assert discover(root)[0].pythons == ("3.9", "3.11")


def test_lowest_pins_every_lower_bound(root: Path) -> None:
    """Dependencies and extras count; a requirement without a lower bound gives no pin."""
    _, b, _ = discover(root)
    assert b.lowest() == ("attrs==23.1", "rich==13.7")


def test_frameworks_are_kept_apart(tmp_path: Path) -> None:
    """An extra that is named a framework is none of those that go together."""
    write(tmp_path, "finite-memory-a", "attrs>=23.1")
    path = tmp_path / "packages" / "finite-memory-a" / "pyproject.toml"
    more = 'heavy = ["agents>=0.3"]\n\n[tool.finite-memory]\nframeworks = ["heavy"]\n'
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    (a,) = discover(tmp_path)
    assert a.together == ("nice",)
    assert a.lowest() == ("attrs==23.1", "rich==13.7")
    assert a.lowest(a.frameworks) == ("agents==0.3", "attrs==23.1")


def test_a_lower_bound_counts_behind_an_upper_one(tmp_path: Path) -> None:
    """Built metadata sorts the bounds, so pyprojects may have them in either order."""
    write(tmp_path, "finite-memory-a", "attrs<26,>=23.1", "rich<16")
    (a,) = discover(tmp_path)
    assert a.lowest() == ("attrs==23.1", "rich==13.7")


def test_closure_follows_pins(root: Path) -> None:
    """What a distribution requires indirectly belongs to its closure."""
    c, b, a = discover(root)
    assert (c, b, a) == closure(a, (c, b, a))
    assert (c,) == closure(c, (c, b, a))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("packages/finite-memory-c/src/x.py", ["c", "b", "a"]),
        ("packages/finite-memory-a/src/x.py", ["a"]),
        ("noxfile.py", ["c", "b", "a"]),
        ("README.md", []),
        ("docs/demo.py", []),
    ],
)
def test_a_change_moves_those_who_depend_on_it(root: Path, path: str, expected: list[str]) -> None:
    """A package moves its dependants, the frame moves all, prose moves none."""
    assert expected == [d.short for d in affected([path], discover(root))]


def test_requirement_names_are_normalised() -> None:
    """Extras, bounds, case and separators are no part of the name."""
    assert requirement_name("Finite_Memory.core[rich] >= 1") == "finite-memory-core"


def test_bump_writes_literals_and_pins(root: Path) -> None:
    """After a bump all distributions and sibling pins agree on the new version."""
    versions.bump("2.0.0rc1", root)
    assert {"2.0.0rc1"} == {d.version for d in discover(root)}
    assert versions.disagreements(discover(root)) == []


def test_pins_with_extras_are_pins(tmp_path: Path) -> None:
    """A sibling that is pinned with an extra is raised and checked like any other."""
    write(tmp_path, "finite-memory-a", "finite-memory-b[server]==1.0.0")
    write(tmp_path, "finite-memory-b")
    versions.bump("1.1.0", tmp_path)
    assert versions.disagreements(discover(tmp_path)) == []
    assert ("finite-memory-b[server]==1.1.0",) == discover(tmp_path)[1].dependencies
    write(tmp_path, "finite-memory-c", "finite-memory-b[server]>=1.1.0", version="1.1.0")
    (told,) = versions.disagreements(discover(tmp_path))
    assert "'finite-memory-b[server]==1.1.0'" in told


def test_bump_refuses_what_is_no_version(root: Path) -> None:
    """A slip of the hand changes nothing."""
    with pytest.raises(SystemExit, match="no version"):
        versions.bump("v2", root)
    assert versions.agreed(root) == "1.0.0"


def test_disagreements_are_named(tmp_path: Path) -> None:
    """A different literal and an inexact sibling pin are both reported."""
    write(tmp_path, "finite-memory-a", "finite-memory-b>=1.0.0", version="1.0.1")
    write(tmp_path, "finite-memory-b")
    with pytest.raises(SystemExit) as caught:
        versions.agreed(tmp_path)
    assert "finite-memory-a is 1.0.1, not 1.0.0" in str(caught.value)
    assert "requires 'finite-memory-b>=1.0.0'" in str(caught.value)
