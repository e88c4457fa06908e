"""A small world that a small model can learn: people who like things, and small talk.

A chat plants facts (``note ada plum``), talks of nothing, and asks (``recall ada``); the right
answer repeats the name and tells what was noted (``ada plum``). Small talk is a chain of words in
which each has four successors, so that a model can learn it and a perplexity says something.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAMES = tuple(f"name{i:03d}" for i in range(96))
THINGS = tuple(f"thing{i:03d}" for i in range(96))
TALK = tuple(f"talk{i:03d}" for i in range(64))
SPECIAL = ("<pad>", "<s>", "<user>", "<bot>", "<end>")
WORDS = (*SPECIAL, "note", "recall", "ok", "unknown", *NAMES, *THINGS, *TALK)
IDS = {word: i for i, word in enumerate(WORDS)}
USER, BOT, END = IDS["<user>"], IDS["<bot>"], IDS["<end>"]

TEMPLATE = (
    "<s>{% for m in messages %}{{ '<bot>' if m['role'] == 'assistant' else '<user>' }}"
    " {{ m['content'] }} <end>{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
)

_SUCCESSORS = {word: random.Random(i).sample(range(len(TALK)), 4) for i, word in enumerate(TALK)}


@dataclass(frozen=True, slots=True)
class Fact:
    """What somebody likes."""

    name: str
    thing: str

    @property
    def planted(self) -> str:
        """What the user says to plant it."""
        return f"note {self.name} {self.thing}"

    @property
    def question(self) -> str:
        """What asks for it."""
        return f"recall {self.name}"

    @property
    def answer(self) -> str:
        """The right reply."""
        return f"{self.name} {self.thing}"


def facts(rng: random.Random, count: int) -> list[Fact]:
    """Return `count` facts about different people."""
    things = [rng.choice(THINGS) for _ in range(count)]
    return [Fact(*pair) for pair in zip(rng.sample(NAMES, count), things, strict=True)]


def talk(rng: random.Random, length: int) -> str:
    """Return `length` words of small talk."""
    word, words = rng.choice(TALK), []
    for _ in range(length):
        words.append(word)
        word = TALK[rng.choice(_SUCCESSORS[word])]
    return " ".join(words)


def turns(rng: random.Random, planted: list[Fact], filler: int) -> Iterator[tuple[str, str]]:
    """Yield (user, assistant) pairs: facts in their order, small talk of `filler` words between."""
    gaps = sorted(rng.randrange(len(planted) + 1) for _ in range(filler // 8))
    for i, fact in enumerate(planted):
        for _ in range(gaps.count(i)):
            yield talk(rng, 8), "ok"
        yield fact.planted, "ok"
    for _ in range(gaps.count(len(planted))):
        yield talk(rng, 8), "ok"


def tokenizer() -> PreTrainedTokenizerFast:
    """Return the world's tokenizer: a word a token, with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel(IDS, unk_token="unknown"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special: dict[str, Any] = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "<end>"}
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=raw,
        additional_special_tokens=["<user>", "<bot>"],
        clean_up_tokenization_spaces=False,
        **special,
    )
    made.chat_template = TEMPLATE
    return made
