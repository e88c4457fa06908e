"""load_backend: backends of other distributions, by real entry points."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoints, distributions
from pathlib import Path
from typing import Any

import pytest

from finite_memory_core import (
    Backend,
    BackendError,
    Chat,
    ConfigError,
    FiniteMemoryError,
    Memory,
    MissingExtraError,
    ReaderBackend,
    available_backends,
    load_backend,
)

Install = Callable[..., None]

PARROT = """
from finite_memory_core import BackendError, CallableBackend, MissingExtraError

def load(spec, **options):
    return CallableBackend(lambda context: f"{spec} {options} {context.messages[-1].text}")

class NoBackend:
    def __init__(self, spec):
        self.spec = spec

def broken(spec):
    raise ZeroDivisionError(f"cannot load {spec}")

def picky(spec, *, cage):
    return load(spec)

def incomplete(spec):
    raise MissingExtraError("parrots need seeds; pip install parrots[seeds]")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a distribution of one module, with its entry points."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str = "finite-parrots", code: str = PARROT, **entry_points: str) -> None:
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entry_points.items()]
        listed = "\n".join(["[finite_memory.backends]", *lines])
        (info / "entry_points.txt").write_text(listed)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return write


def test_a_backend_of_another_distribution(install: Install) -> None:
    """A registered loader gets what stands behind the colon, and the options."""
    install(parrot="finite_parrots:load")
    backend = load_backend("parrot:http://cage:80/grey", cage=3)
    said = Chat(backend, Memory(budget=500)).send("Hello").text
    assert said == "http://cage:80/grey {'cage': 3} Hello"
    assert None is available_backends()["parrot"]


def test_the_reader_is_always_there() -> None:
    """Core's own backend needs no metadata, and takes its options."""
    backend = load_backend("reader", quotes=5)
    assert isinstance(backend, ReaderBackend)
    assert backend.quotes == 5
    assert isinstance(load_backend("reader:"), ReaderBackend)


def test_the_reader_has_no_models() -> None:
    """Something behind its colon is a mistake."""
    with pytest.raises(ConfigError, match=r"nothing stands behind its name: 'gpt'"):
        load_backend("reader:gpt")


def test_the_readers_entry_point() -> None:
    """The metadata of core leads to the same loader."""
    from importlib.metadata import entry_points

    (point,) = entry_points(group="finite_memory.backends", name="reader")
    assert isinstance(point.load()(""), ReaderBackend)


@pytest.mark.parametrize(
    ("spec", "distribution"),
    [
        ("openai:gpt-5.6", "finite-memory-api"),
        ("anthropic:claude", "finite-memory-api"),
        ("ollama:qwen3", "finite-memory-api"),
        ("vllm:http://localhost:8000", "finite-memory-api"),
        ("hf:Qwen/Qwen3-0.6B", "finite-memory-local"),
    ],
)
def test_what_is_not_installed(
    spec: str, distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the distribution to install, and is an ImportError."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    with pytest.raises(MissingExtraError, match=f"pip install {distribution}$") as caught:
        load_backend(spec)
    assert isinstance(caught.value, ImportError)
    assert distribution == available_backends()[spec.partition(":")[0]]


def test_what_is_installed_is_not_named_as_missing(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution that registers one of the known names takes it over."""
    install(openai="finite_parrots:load")

    def installed_there(**wanted: Any) -> EntryPoints:
        found = distributions(path=[str(tmp_path)])
        return EntryPoints(point for each in found for point in each.entry_points).select(**wanted)

    # Beside core there may be the distribution that the name is known to belong to.
    monkeypatch.setattr("importlib.metadata.entry_points", installed_there)
    assert isinstance(load_backend("openai:gpt"), Backend)
    assert None is available_backends()["openai"]


@pytest.mark.parametrize("spec", ["", ":", "nobody", "nobody:at/home", " reader", "Reader"])
def test_a_name_that_nobody_knows(spec: str) -> None:
    """The error lists the names that are known."""
    with pytest.raises(ConfigError, match=r"known are .*openai.*reader"):
        load_backend(spec)


@pytest.mark.parametrize("spec", [None, 5, b"reader", ["reader"]])
def test_a_name_that_is_no_text(spec: Any) -> None:
    """It is refused as what it is."""
    with pytest.raises(ConfigError, match="named by text"):
        load_backend(spec)


@pytest.mark.parametrize(
    ("loader", "complaint"),
    [
        (
            "finite_parrots:broken",
            r"loading backend 'parrot:grey' failed: ZeroDivisionError: cannot",
        ),
        ("finite_parrots:NoBackend", r"the loader of 'parrot' made .*NoBackend.* no Backend"),
        ("finite_parrots:picky", r"TypeError: .*cage"),
        ("finite_parrots:gone", "AttributeError"),
        ("finite_magpies:load", "ModuleNotFoundError"),
    ],
)
def test_a_broken_loader(install: Install, loader: str, complaint: str) -> None:
    """Whatever a loader does wrong is a BackendError that names the backend."""
    install(parrot=loader)
    with pytest.raises(BackendError, match=complaint):
        load_backend("parrot:grey")


def test_an_error_of_ours_from_a_loader(install: Install) -> None:
    """A loader's own message, such as which extra is missing, reaches the user as it is."""
    install(parrot="finite_parrots:incomplete")
    with pytest.raises(MissingExtraError, match=r"pip install parrots\[seeds\]$"):
        load_backend("parrot")


def test_a_name_that_two_claim(install: Install) -> None:
    """Which of two would be loaded must not depend on the order of installation."""
    install(parrot="finite_parrots:load")
    install("finite-magpies", parrot="finite_magpies:load")
    with pytest.raises(ConfigError, match="claimed twice") as caught:
        load_backend("parrot")
    assert "finite-parrots" in str(caught.value)
    assert "finite-magpies" in str(caught.value)


def test_nobody_takes_the_reader_over(install: Install) -> None:
    """Core's own name stays core's."""
    install(reader="finite_parrots:broken")
    assert isinstance(load_backend("reader"), ReaderBackend)


def test_every_error_is_ours() -> None:
    """One except clause is enough around load_backend."""
    for kind in (ConfigError, MissingExtraError, BackendError):
        assert issubclass(kind, FiniteMemoryError)
