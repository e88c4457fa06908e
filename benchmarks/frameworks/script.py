"""One conversation for every framework: what is asked, what tools find, what is said back.

Every fact is a number that stands nowhere else. It is planted in a user's message or in a tool's
result, and asked for once, later. A scripted model answers; what it was sent is what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

TURNS = 200
FACTS = 40
BUDGET = 3_000
SUBJECTS = (
    *("locker", "pump", "valve", "turbine", "crate", "winch", "filter", "boiler", "gate", "anchor"),
    *(
        "ladder",
        "sensor",
        "tank",
        "hoist",
        "beacon",
        "furnace",
        "mixer",
        "conveyor",
        "press",
        "kiln",
    ),
)
FILLER = (
    "The shift went as planned and the log has no further entries for this line today.",
    "Two deliveries were late, and the team moved the afternoon inspection by an hour.",
    "Nothing else was reported, the floor was swept and the lights were switched off.",
)


@dataclass(frozen=True)
class Turn:
    """One turn: the question, what the tool finds, and the fact that is asked for, if any."""

    asked: str
    found: str
    wanted: str | None = None


def turns(seed: int = 7) -> list[Turn]:
    """Return the conversation: `FACTS` facts over the first three quarters, asked for later."""
    random = Random(seed)
    names = [f"{subject} {letter}" for letter in "AB" for subject in SUBJECTS][:FACTS]
    planted = sorted(random.sample(range(TURNS * 3 // 4), FACTS))
    facts = {
        at: (name, f"{random.randint(10_000, 99_999)}")
        for at, name in zip(planted, names, strict=True)
    }
    asked_at = {}
    free = [at for at in range(TURNS) if at not in facts]
    for at, fact in facts.items():
        choice = random.choice([place for place in free if place > at + 8])
        free.remove(choice)
        asked_at[choice] = fact
    made = []
    for at in range(TURNS):
        filler = random.choice(FILLER)
        found = f"Report {at}: {random.choice(FILLER)} {random.choice(FILLER)}"
        if at in asked_at:
            name, number = asked_at[at]
            made.append(Turn(f"What is the serial number of {name}?", found, number))
        elif at in facts:
            name, number = facts[at]
            told = f"The serial number of {name} is {number}."
            by_tool = random.random() < 0.5
            made.append(
                Turn(f"Check line {at}. {filler}", f"{found} {told}")
                if by_tool
                else Turn(f"Check line {at}. {told} {filler}", found)
            )
        else:
            made.append(Turn(f"Check line {at}. {filler}", found))
    return made


def tokens(text: str) -> int:
    """Count a token for every four characters, and four for a message."""
    return 4 + len(text) // 4


@dataclass
class Edge:
    """What a model was sent, request by request.

    Attributes:
        wanted: what the question under way asks for.
        requests: how often the model was called.
        sent: tokens of all requests.
        served: tokens of them that stood at the beginning of the request before.
        largest: tokens of the largest.
        kept: questions for a fact that had it word for word in their first request.
    """

    wanted: str | None = None
    requests: int = 0
    sent: int = 0
    served: int = 0
    largest: int = 0
    kept: int = 0
    _before: Sequence[str] = field(default=())

    def see(self, texts: Sequence[str], first: bool) -> None:
        """Take in a request, message by message; `first` if it is the first of its turn."""
        size = sum(map(tokens, texts))
        self.requests += 1
        self.sent += size
        self.largest = max(self.largest, size)
        for one, other in zip(texts, self._before, strict=False):
            if one != other:
                break
            self.served += tokens(one)
        if first and self.wanted is not None:
            self.kept += any(self.wanted in text for text in texts)
        self._before = tuple(texts)
