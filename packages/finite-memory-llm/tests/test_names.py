"""All names of the family are here, and cost nothing until they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import finite_memory_llm
from finite_memory_llm import FiniteMemoryLLM

PARTS = finite_memory_llm._PARTS
HEAVY = ("torch", "transformers", "httpx2", "starlette", "uvicorn", "openai", "anthropic", "numpy")


@pytest.mark.parametrize("part", PARTS)
def test_every_name_is_the_same_object(part: str) -> None:
    """Whatever a distribution makes public can be had from here."""
    module = import_module(part)
    for name in module.__all__:
        assert getattr(finite_memory_llm, name) is getattr(module, name)


def test_no_name_has_two_homes() -> None:
    """A name that two distributions had would be one of them, and nobody knew which."""
    names = [name for part in PARTS for name in import_module(part).__all__]
    assert sorted(set(names)) == sorted(names)
    assert "FiniteMemoryLLM" not in names


def test_dir_and_star() -> None:
    """Both give all of them."""
    there: dict[str, object] = {}
    exec("from finite_memory_llm import *", there)
    names = {*finite_memory_llm.__all__}
    assert names <= there.keys()
    assert names <= set(dir(finite_memory_llm))
    assert there["FiniteMemoryLLM"] is FiniteMemoryLLM


def test_a_name_that_nobody_has() -> None:
    """It is an AttributeError, as with any module."""
    with pytest.raises(AttributeError, match="nobody"):
        finite_memory_llm.nobody  # noqa: B018


def test_nothing_heavy_comes_along() -> None:
    """Neither by importing the package, nor by making a chat that needs none of it."""
    program = (
        "import sys, finite_memory_llm as f; f.FiniteMemoryLLM('reader').send('hello'); "
        f"sys.exit(sorted(sys.modules.keys() & {set(HEAVY)!r}) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_type_checkers_see_every_name(tmp_path: Path) -> None:
    """mypy, which does not run ``__getattr__``, knows all of them, and what they are."""
    pytest.importorskip("mypy", reason="needs mypy")
    lines = [f"from finite_memory_llm import {name}" for name in finite_memory_llm.__all__]
    lines += ["chat: Chat = FiniteMemoryLLM('reader', budget=9)", "text: str = chat.send('a').text"]
    (tmp_path / "uses.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "uses.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")
