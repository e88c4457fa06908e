"""Tables: made by a benchmark, printed as text, written into a document between markers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        title: what it shows.
        columns: the heads; the first column holds names, the others figures.
        rows: one cell a column.
        notes: what a reader needs to know; one paragraph each, shown under the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default=())

    def text(self) -> str:
        """Return it for a terminal."""
        cells = [list(self.columns), *map(list, self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in cells
        ]
        rule = "-" * len(lines[0])
        notes = [fill(note, 100) for note in self.notes]
        return "\n".join([self.title, rule, lines[0], rule, *lines[1:], rule, *notes, ""])

    def markdown(self) -> str:
        """Return it for a document."""
        head = [self._row(self.columns), self._row(["---"] + ["---:"] * (len(self.columns) - 1))]
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([f"### {self.title}\n", *head, *map(self._row, self.rows), *notes])

    @staticmethod
    def _row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def write_between(path: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of `name` in the document at `path`.

    Raises:
        ValueError: the document does not have both markers, once each.
    """
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    document = path.read_text(encoding="utf-8")
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"{path} needs the markers {begin!r} and {end!r}, once each")
    before, rest = document.split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8")
