"""A small world that a small model can learn: people, what is noted of them, and small talk.

A chat plants facts (``note Alda Elton``, ``note Bero 417``), talks of nothing, and asks (``recall
Alda``); the right answer repeats the name and tells what was noted last (``Alda Elton``). A person
may be noted beside another (``note Cami Alda``), and the answer takes two steps then (``Cami Alda
Elton``); of what was never noted, or is noted no more, the answer is ``unknown``. Small talk is a
chain of words in which each has four successors, so that a model can learn it and a perplexity
says something. As in real text, names and places have capitals, numbers are digits, and small talk
is in lower case: the rules of core's policies see the difference.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def _words(firsts: str, lasts: str) -> tuple[str, ...]:
    """Return every first syllable with every last one."""
    return tuple(first + last for first in firsts.split() for last in lasts.split())


NAMES = _words("Al Be Ca Da Ed Fa Gi Ha Jo Ka Li Ma", "bo da na ro la mi ne ta")
PLACES = _words("El Bur Har Kir Lang Mel Nor Os Pen Stan Tor Wes", "ton ford field by")
NUMBERS = tuple(str(117 + 17 * i) for i in range(48))
THINGS = (*PLACES, *NUMBERS)
TALK = _words("so ma lu pe ti ra no ki du we ha mo be zu fo ly", "ne rm st la")
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
    """What is noted of somebody: a place, a number, or another person."""

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


def story(rng: random.Random, people: int) -> tuple[list[Fact], list[str]]:
    """Return facts of `people` people in the order of their telling, and two nobody told of.

    A quarter is noted beside somebody else, of whom now and then nothing is noted. A quarter of
    the others is noted a second time, later on: what was noted last holds.
    """
    names = rng.sample(NAMES, people + 2)
    strangers, plain, told = names[people:], [names[0]], [Fact(names[0], rng.choice(THINGS))]
    for name in names[1:people]:
        if rng.random() < 0.25:
            told.append(Fact(name, strangers[0] if rng.random() < 0.2 else rng.choice(plain)))
        else:
            plain.append(name)
            told.append(Fact(name, rng.choice(THINGS)))
    rng.shuffle(told)
    for name in plain:
        if rng.random() < 0.25:
            first = next(i for i, fact in enumerate(told) if fact.name == name)
            told.insert(rng.randint(first + 1, len(told)), Fact(name, rng.choice(THINGS)))
    return told, strangers


def answer(told: Sequence[Fact], name: str) -> str:
    """Return the right reply to ``recall NAME`` where these facts were told, in this order."""
    noted = {fact.name: fact.thing for fact in told}
    said = [name]
    while said[-1] in noted and said[-1] not in said[:-1]:
        said.append(noted[said[-1]])
    if said[-1] in NAMES:
        said.append("unknown")
    return " ".join(said)


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
