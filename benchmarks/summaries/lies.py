"""True and false summaries of real conversations: how many of each the fact gate refuses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from benchmarks.policies.locomo import Conversation
from benchmarks.tables import Table
from finite_memory_core import Block, EstimatingCounter, ExtractiveSummarizer
from finite_memory_core.facts import NAME, NUMBER, Said, invented, sources, values

_SPAN = 40
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[A-Z][a-z]+")
_ODD_NAMES = ("Zelda", "Bartholomew", "Quillon", "Oslo", "Timbuktu")


def lies_table(conversations: Sequence[Conversation], seed: int = 0) -> Table:
    """Tabulate what is refused of summaries that are true, and of the same with one thing wrong."""
    random = Random(seed)
    told = dict.fromkeys(("as it is", "one number changed", "one name changed"), 0)
    refused = dict(told)
    for conversation in conversations:
        for start in range(0, len(conversation.messages) - _SPAN, _SPAN):
            said = conversation.messages[start : start + _SPAN]
            blocks = [Block(i, (message,), 1) for i, message in enumerate(said)]
            summary = _prose(blocks)
            known = Said(sources("", blocks))
            for what, text in _told(summary, random).items():
                told[what] += 1
                refused[what] += invented(text, known) is not None
    rows = [
        [what, str(told[what]), f"{100 * refused[what] / max(1, told[what]):.1f}"] for what in told
    ]
    note = (
        f"Every {_SPAN} turns of the conversations are summarized by the default summarizer in 400 "
        "tokens, the speakers left out and the lines in another order, so that none stands there "
        "word for word; then one number is raised, or one name is replaced by one that nobody has "
        "said. What is invented at the beginning of a sentence is only noticed before a verb that "
        "the gate knows, and names only in scripts with capitals."
    )
    return Table("Summaries that are refused, percent", ["", "summaries", "refused"], rows, [note])


def _prose(blocks: Sequence[Block]) -> str:
    lines = ExtractiveSummarizer().summarize("", blocks, 400, EstimatingCounter()).split("\n")
    return " ".join(line.partition(": ")[2] for line in reversed(lines))


def _told(summary: str, random: Random) -> dict[str, str]:
    found = {"as it is": summary}
    kinds = {(value.kind, value.key) for value in values(summary)}
    numbers = [m for m in _NUMBER.finditer(summary) if (NUMBER, m.group()) in kinds]
    if numbers:
        match = random.choice(numbers)
        raised = str(int(match.group()) + random.randint(1_000, 9_000))
        found["one number changed"] = _replaced(summary, match, raised)
    names = [m for m in _WORD.finditer(summary) if (NAME, m.group().casefold()) in kinds]
    if names:
        match = random.choice(names)
        found["one name changed"] = _replaced(summary, match, random.choice(_ODD_NAMES))
    return found


def _replaced(text: str, match: re.Match[str], new: str) -> str:
    return f"{text[: match.start()]}{new}{text[match.end() :]}"
