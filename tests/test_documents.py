"""The documents cannot lie: their examples run, in order, in one namespace a document.

Blocks of ``python`` run, as statements or as a doctest. In a ``console`` block the lines after
``$ finite-memory`` run too and what they print is compared, with ``...`` for what changes. Blocks
of any other language are for reading.
"""

from __future__ import annotations

import doctest
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/README.md")]
)
SHOWN = ("docs", "benchmarks")
"""Folders that examples may read; what they write goes to a scratch folder."""
NEEDS = {"docs/frameworks.md": ("agents", "langchain", "llama_index", "pydantic_ai")}
"""Documents whose examples need what one session installs; elsewhere they skip."""
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_console(example: Example) -> str | None:
    """Run each ``$ finite-memory ...`` and compare; returns what differs, for the report."""
    for chunk in example.parsed.split("$ ")[1:]:
        line, _, expected = chunk.partition("\n")
        program, *arguments = shlex.split(line, comments=True)
        if program != "finite-memory":
            return f"a console block runs finite-memory only, not {program!r}"
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{line}\nexited with {done.returncode}:\n{done.stderr}"
        if expected.strip() and not doctest.OutputChecker().check_output(
            expected.strip(), done.stdout.strip(), LOOSE
        ):
            return f"{line}\nprinted:\n{done.stdout}"
    return None


def parse(path: Path) -> Document:
    """A document with its runnable blocks."""
    parsers = (
        PythonCodeBlockParser(doctest_optionflags=LOOSE),
        CodeBlockParser(language="console", evaluator=run_console),
        SkipParser(),
    )
    return Document.parse(str(path), *parsers)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example of the document runs and prints what the document says."""
    for module in NEEDS.get(str(path.relative_to(ROOT)), ()):
        pytest.importorskip(module, reason=f"{module} is not installed (session 'frameworks')")
    for folder in SHOWN:
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        if str(path.relative_to(ROOT)) in NEEDS:
            warnings.simplefilter("ignore", DeprecationWarning)  # frameworks use each other so
        for example in parse(path).examples():
            example.evaluate()
