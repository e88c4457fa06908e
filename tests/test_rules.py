"""What holds for every file and every wheel of the repository."""

from __future__ import annotations

import os
import re
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest

import versions
from distributions import ROOT, Distribution, discover

DISTRIBUTIONS = discover()
WHEELS = Path(os.environ.get("FINITE_MEMORY_WHEELS", ROOT / "dist"))
EACH = pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda d: d.short)

# Written in pieces, or this file would break its own rule.
REGISTRIES = ("py" + "pi.org", "python" + "hosted", "npm" + "js.", "proxy.go" + "lang")
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:work|root|home/\w+|Users/\w+|tmp/\w+)/")
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".cfg", ".svg", ".json", ".jsonl", ""}
NOT_OURS = {".git", ".nox", ".venv", "dist", "mutants", "__pycache__", ".hypothesis", "out"}


def our_files() -> Iterator[Path]:
    """Text files of the repository, without what tools leave behind."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(
            f for f in folders if f not in NOT_OURS and not f.endswith(("_cache", ".egg-info"))
        )
        paths = (Path(folder, name) for name in sorted(names))
        yield from (p for p in paths if p.suffix in TEXT and not p.name.startswith(".coverage"))


def test_versions_agree() -> None:
    """All distributions carry one version and pin each other to it."""
    assert versions.disagreements(DISTRIBUTIONS) == []


def test_no_version_in_code() -> None:
    """The version has one home, the pyproject; code asks the installed metadata."""
    word = "__" + "version__"
    assert [p for p in ROOT.glob("packages/*/src/**/*.py") if word in p.read_text("utf-8")] == []


def test_no_machine_and_no_registry_is_named() -> None:
    """Files name no package registry's host and no path of anybody's machine."""
    wrong = []
    for path in our_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found = [host for host in REGISTRIES if host in text] + MACHINE_PATH.findall(text)
        wrong += [f"{path.relative_to(ROOT)}: {what}" for what in found]
    assert wrong == []


def test_tests_are_packages() -> None:
    """Every tests folder has an ``__init__.py``: two modules of one name stop the type checker."""
    folders = [ROOT / "tests", *(d.folder / "tests" for d in DISTRIBUTIONS)]
    assert [f for f in folders if not (f / "__init__.py").is_file()] == []


@EACH
def test_the_license_is_the_same_everywhere(distribution: Distribution) -> None:
    """Each distribution carries the repository's licence, byte for byte."""
    assert (ROOT / "LICENSE").read_bytes() == (distribution.folder / "LICENSE").read_bytes()


@EACH
def test_names_are_one_to_one(distribution: Distribution) -> None:
    """The folder, the distribution and the import name are the same name."""
    assert distribution.folder.name == distribution.name
    assert [distribution.package] == [
        p.name for p in (distribution.folder / "src").iterdir() if p.is_dir()
    ]


@EACH
def test_the_classifiers_cover_what_is_required(distribution: Distribution) -> None:
    """The lowest classifier is the lowest Python that an installation accepts."""
    project = tomllib.loads(distribution.pyproject.read_text(encoding="utf-8"))["project"]
    assert f">={distribution.pythons[0]}" == project["requires-python"]


@EACH
def test_the_wheel_holds_the_package_alone(distribution: Distribution) -> None:
    """A wheel ships typed sources, its licence and metadata; no tests and nothing else."""
    with zipfile.ZipFile(WHEELS / distribution.wheel) as wheel:
        names = wheel.namelist()
    info = f"{distribution.package}-{distribution.version}.dist-info"
    assert f"{distribution.package}/py.typed" in names
    assert f"{info}/licenses/LICENSE" in names
    assert {distribution.package, info} == {name.partition("/")[0] for name in names}
    assert [name for name in names if "__pycache__" in name or "/tests/" in name] == []


@EACH
def test_the_wheel_holds_every_source(distribution: Distribution) -> None:
    """No file of the source tree is left out of the wheel."""
    source = distribution.folder / "src"
    paths = (p for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    with zipfile.ZipFile(WHEELS / distribution.wheel) as wheel:
        shipped = set(wheel.namelist())
    assert set() == {p.relative_to(source).as_posix() for p in paths} - shipped


@EACH
def test_the_metadata_says_what_it_requires(distribution: Distribution) -> None:
    """The wheel's metadata names the same dependencies as the pyproject: none for core."""
    info = f"{distribution.package}-{distribution.version}.dist-info/METADATA"
    with zipfile.ZipFile(WHEELS / distribution.wheel) as wheel:
        metadata = Parser().parsestr(wheel.read(info).decode("utf-8"))
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(distribution.dependencies) == sorted(required)
    assert sorted(distribution.extras) == sorted(metadata.get_all("Provides-Extra", []))
