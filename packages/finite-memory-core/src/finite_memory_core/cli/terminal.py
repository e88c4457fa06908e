"""What the commands print with: harmless text, tables, a progress bar.

Standard output gets plain text wherever it is not a terminal. On a terminal with the extra
``rich`` installed, tables are drawn by it.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar
from unicodedata import combining, east_asian_width

T = TypeVar("T")

# Controls (an escape sequence starts with one), line separators, marks that turn the writing
# direction around, tags that cannot be seen, lone surrogates and what is no character.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    r"\ufff9-\ufffb\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """Return `text` with everything escaped that could move a cursor or hide what stands there.

    Line ends and tabs stay.
    """
    return _UNSAFE.sub(_escape, text.replace("\r\n", "\n"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str, width: int) -> str:
    """Return the beginning of `text` in one harmless line of at most `width` columns."""
    enough = text[: 8 * width]  # a few combining marks a column are all that is looked at
    line = clean(" ".join(enough.split()))
    if len(enough) == len(text) and columns(line) <= width:
        return line
    used = 0
    for end, character in enumerate(line):
        used += _columns(character)
        if used > width - 1:
            return f"{line[:end]}…"
    return f"{line}…"


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if combining(character) or character in "\u200b\u200d\ufe0f":
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def terminal_width() -> int:
    """Return the columns of the terminal, 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are figures."""
    rows = [list(row) for row in rows]
    if sys.stdout.isatty() and _print_rich(headers, rows):
        return
    widths = [max(columns(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    for row in [headers, *rows]:
        print("  ".join(_padded(cell, widths[i], i) for i, cell in enumerate(row)).rstrip())


def _padded(cell: str, width: int, column: int) -> str:
    space = " " * (width - columns(cell))
    return space + cell if column else cell + space


def _print_rich(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> bool:
    """Draw the table with rich; False where it is not installed."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(header_style="bold")
    for i, header in enumerate(headers):
        table.add_column(Text(header), justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
    return True


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and what there is to say of each, the names in a column."""
    pairs = list(pairs)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print(f"{name:<{width}}  {value}")


def number(count: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{count:,.0f}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``"1 turn"`` and ``"1,200 turns"``."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """Return a share between 0 and 1 as a percentage."""
    return f"{100 * share:.1f} %"


def progress(items: Sequence[T], label: str, steps: int = 50) -> Iterator[T]:
    """Yield `items`; on a terminal show on standard error how far they have come."""
    if not sys.stderr.isatty() or not items:
        yield from items
        return
    try:
        for done, item in enumerate(items):
            if done * steps // len(items) != (done - 1) * steps // len(items):
                _draw(label, done / len(items))
            yield item
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _draw(label: str, share: float, width: int = 30) -> None:
    bar = "█" * round(share * width)
    print(f"\r{label} {bar:░<{width}} {share:4.0%}", end="", file=sys.stderr, flush=True)
