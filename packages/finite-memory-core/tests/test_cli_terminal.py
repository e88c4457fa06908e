"""Long work at a terminal: a progress bar, and nicer tables where the extra is installed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .cli_program import PROGRAM, environment, run, talk, write_lines

if TYPE_CHECKING:
    import pexpect
else:
    pexpect = pytest.importorskip("pexpect", reason="there are no pseudo-terminals here")


@pytest.fixture
def compared(tmp_path: Path) -> list[str]:
    """The arguments of a comparison that takes a moment."""
    path = write_lines(tmp_path / "talk.jsonl", talk(100))
    return ["replay", str(path), "--compare", "--budget", "800"]


def at_terminal(arguments: list[str], **more: str) -> str:
    """Run the command in a pseudo-terminal and return all that it showed."""
    [python, *rest] = PROGRAM
    wide = environment({"COLUMNS": "160", **more})
    child = pexpect.spawn(python, [*rest, *arguments], env=wide, encoding="utf-8", timeout=60)
    child.expect(pexpect.EOF)
    child.close()
    assert 0 == child.exitstatus
    return str(child.before)


def test_a_progress_bar_at_a_terminal(compared: list[str]) -> None:
    """It is drawn on standard error while work goes on, and wiped away."""
    shown = at_terminal(compared)
    assert re.search(r"\rhybrid +█*░* +\d+%", shown)
    assert shown.rfind("\r\x1b[K") > shown.rfind("█")
    assert "\x1b" not in run(*compared).stderr + run(*compared).stdout


def test_rich_draws_the_tables_at_a_terminal(compared: list[str]) -> None:
    """With the extra there are rules; the figures are the same."""
    pytest.importorskip("rich")
    shown = at_terminal(compared, TERM="xterm")
    assert "┏" in shown
    assert re.search(r"rolling_summary", shown)
    assert "┏" not in run(*compared).stdout


def test_without_rich_tables_are_plain(compared: list[str], tmp_path: Path) -> None:
    """Nothing is lost without the extra."""
    (tmp_path / "rich.py").write_text("raise ImportError('none')\n", "utf-8")
    shown = at_terminal(
        compared, PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    )
    assert "┏" not in shown
    assert re.search(r"(?m)^rolling_summary +\d", shown)
