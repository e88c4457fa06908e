"""Importance: the blocks that say most stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..blocks import Block
from ..errors import ConfigError, PolicyError
from .base import Policy, View
from .information import features, idf, information, keep_newest

Scorer = Callable[[Sequence[Block]], Sequence[float]]
"""Gives each block a number, such as the attention that a model's last queries pay to it."""

NAME, NUMBER, DATE, REFERENCE = 4.0, 4.0, 6.0, 1.0
ANSWER = 1.15

_RARE = 3
"""A word that more blocks than this have refers to nothing in particular."""


class Importance(Policy):
    """Keeps the blocks with the most information for their tokens.

    A block's worth is the information of its words under the conversation's own statistics, what
    is only asked about counting half; more for names, numbers and words of time, and for rare
    words that later turns take up; more if it answers a question. The weights were chosen on
    LoCoMo's development conversations (``docs/policies.md`` has the ablation).

    Args:
        scorer: gives the worths instead, for example from a model's attention; None for the rules
            above.
        recent: the share of the room that the newest blocks take in any case, 0 to 1: an answer
            to the last thing said needs it.

    Raises:
        ConfigError: `recent` is no share, or a scorer is stored by name only and must be passed.
    """

    name = "importance"

    def __init__(self, scorer: Scorer | None = None, recent: float = 0.1) -> None:
        self.scorer = check_scorer(scorer)
        self.recent = check_share("recent", recent)

    def settings(self) -> Mapping[str, Any]:
        """See `Policy.settings`."""
        own: dict[str, Any] = {"recent": self.recent}
        if self.scorer is not None:
            own["scorer"] = name_of(self.scorer)
        return own

    def worth(self, view: View) -> Sequence[float]:
        """Return each block's worth, the newest above all.

        Raises:
            PolicyError: the scorer did not answer with a number a block.
        """
        if self.scorer is not None:
            worths = scores(self.scorer, view.candidates)
            view.deadline.check()
        else:
            worths = importance(view, idf(view.candidates))
        return keep_newest(worths, view.candidates, self.recent * view.room)


def importance(view: View, weights: Mapping[str, float]) -> list[float]:
    """Return the importance of each candidate by the rules of `Importance`.

    Args:
        view: the candidates.
        weights: what each word is worth, by `idf`.
    """
    blocks = view.candidates
    references = _references(blocks)
    worths = []
    for i, block in enumerate(blocks):
        view.deadline.check()
        held = features(block)
        said = information(block, weights) + REFERENCE * references[i]
        said += NAME * held.names + NUMBER * held.numbers + DATE * held.dates
        if not held.asks and i and _answers(block, blocks[i - 1]):
            said *= ANSWER
        worths.append(said)
    return worths


def _answers(block: Block, before: Block) -> bool:
    return before.end == block.index and features(before).asks


def _references(blocks: Sequence[Block]) -> list[int]:
    """Return how many of each block's rare words a later block takes up."""
    said_in: dict[str, list[int]] = {}
    for i, block in enumerate(blocks):
        for term in block.terms:
            said_in.setdefault(term, []).append(i)
    counts = [0] * len(blocks)
    for positions in said_in.values():
        if len(positions) <= _RARE:
            for i in positions[:-1]:
                counts[i] += 1
    return counts


def scores(scorer: Scorer, blocks: Sequence[Block]) -> list[float]:
    """Return a scorer's number for each block.

    Raises:
        PolicyError: it did not answer with a number a block.
    """
    found = [float(score) for score in scorer(blocks)]
    if len(found) != len(blocks):
        raise PolicyError(
            f"scorer {scorer!r} answered with {len(found)} numbers for {len(blocks)} blocks; "
            "it must give exactly one for each, in their order"
        )
    return found


def check_scorer(scorer: Scorer | None) -> Scorer | None:
    """Return `scorer`.

    Raises:
        ConfigError: it cannot be called, such as one that was stored by its name.
    """
    if scorer is not None and not callable(scorer):
        raise ConfigError(f"scorer must be callable with blocks; pass it again, got {scorer!r}")
    return scorer


def name_of(scorer: Scorer) -> str:
    """Return what a scorer is called in settings."""
    return str(getattr(scorer, "__qualname__", type(scorer).__qualname__))


def check_share(name: str, value: object) -> float:
    """Return `value`, a share from 0 to 1.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{name} must be a share from 0 to 1, got {value!r}")
    return float(value)
