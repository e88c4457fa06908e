"""What eviction inside the cache does to answers, by the small model that `train` made."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from itertools import pairwise
from math import exp
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch.nn.functional import cross_entropy, kl_div

from benchmarks.kv import sinks, world
from benchmarks.tables import Table
from finite_memory_core import Chat, Context, Importance, Memory, Message
from finite_memory_local import HuggingFaceBackend
from finite_memory_local.attention import Recorder, recording
from finite_memory_local.generating import attending
from finite_memory_local.importance import _weights
from finite_memory_local.ledger import Piece
from finite_memory_local.session import Session

MODEL = Path(__file__).resolve().parent / "model"
BUDGET = 256
_NOTED = re.compile(r"\bnote (\w+) (\w+)")
POLICIES = ("sliding", "importance", "semantic", "rolling_summary", "hybrid", "attention")


def backend(kv: str, model: Path = MODEL, **options: Any) -> HuggingFaceBackend:
    """Return a small model behind the backend."""
    return HuggingFaceBackend(model, kv=kv, do_sample=False, max_new_tokens=4, **options)


def tables(seeds: int, budgets: int) -> Iterator[Table]:
    """Measure all: conversations of each kind, and the length of a stream in budgets."""
    yield by_policy(seeds)
    yield from by_evictions(2 * seeds)
    yield by_distance(2 * seeds)
    yield perplexity(budgets, MODEL, "the model of the tables above")
    yield perplexity(budgets, sinks.MODEL, "a model that leans on its first token")


def _facts(messages: Sequence[Message]) -> list[world.Fact]:
    """Return what is noted in messages, and in summaries of them."""
    noted = (_NOTED.findall(message.text) for message in messages)
    return [world.Fact(name, thing) for found in noted for name, thing in found]


def _copied(session: Session) -> Session:
    """Return a session to try something on."""
    made = copy(session)
    made.cache = deepcopy(session.cache)
    made._phases, made.replies = session._phases.clone(), dict(session.replies)
    made.recorder = None
    return made


# ---------------------------------------------------------------- recall by policy


@dataclass(frozen=True, slots=True)
class _Told:
    """An answer in a conversation at a full budget.

    Attributes:
        third: where the fact was told last; None where nobody told of it.
        shown: whether the context shows all that the answer takes.
        right: whether it is right by all that was said.
        follows: whether it is right by what the context shows, be it ``unknown``.
    """

    third: int | None
    shown: bool
    right: bool
    follows: bool


def by_policy(seeds: int) -> Table:
    """Return how many planted facts are told rightly, by where they were planted."""
    rows = []
    for policy in POLICIES:
        for kv in ("exact", "shift"):
            found = [told for seed in range(seeds) for told in _one(policy, kv, seed)]
            rows.append([policy, f'`kv="{kv}"`', *_shares(found)])
    return Table(
        "Recall of planted facts, by policy",
        ["policy", "mode", "early", "middle", "late", "shown in the context", "right, of those",
         "right by the context, of all", "told though gone"],
        rows,
        [(f"{seeds} conversations of 16 people and 320 words of small talk in a budget of {BUDGET} "
         "tokens, without recall from the archive; early, middle and late thirds, by where a fact "
         "was told last. Answers take two steps where somebody is noted beside somebody else. "
         "Right by the context: what a reader of the context alone would say, `unknown` where it "
         "does not tell. Told though gone: right answers of which the context does not show all. "
         "`attention` is `Importance` with the backend's scorer.")],
    )  # fmt: skip


def _one(policy: str, kv: str, seed: int) -> list[_Told]:
    """Ask for everybody at the end of a conversation."""
    rng = random.Random(seed)
    made = backend(kv)
    how: Any = Importance(made.scorer()) if policy == "attention" else policy
    memory = Memory(BUDGET, policy=how, recall=None, reserve=8,
                    counter=lambda text: len(text.split()))  # fmt: skip
    chat = Chat(made, memory)
    told, strangers = world.story(rng, 16)
    for said, _ in world.turns(rng, told, 320):
        chat.send(said)
    last = {fact.name: i * 3 // len(told) for i, fact in enumerate(told)}
    outcome = []
    for name in [*last, *strangers]:
        shown, answer = _asked(chat, made, name)
        truth, by_context = world.answer(told, name), world.answer(shown, name)
        outcome.append(_Told(last.get(name), by_context == truth, answer == truth,
                             answer == by_context))  # fmt: skip
    return outcome


def _asked(chat: Chat, made: HuggingFaceBackend, name: str) -> tuple[list[world.Fact], str]:
    """Ask a question that leaves no trace; return the facts that were shown, and the answer."""
    before = {key: _copied(session) for key, session in made._sessions.items()}
    staged = chat.memory.turn()
    try:
        staged.append(Message.user(f"recall {name}"))
        shown = staged.context()
        return _facts(shown.messages), "".join(piece.text for piece in made.stream(shown))
    finally:
        staged.rollback()
        made._sessions.clear()
        made._sessions.update(before)


def _shares(found: Sequence[_Told]) -> list[str]:
    known = [told for told in found if told.third is not None]
    shown = [told for told in known if told.shown]
    gone = [told for told in known if not told.shown]
    return [
        *(_share([told.right for told in known if told.third == i]) for i in range(3)),
        _share([told.shown for told in known]),
        _share([told.right for told in shown]),
        _share([told.follows for told in found]),
        _share([told.right for told in gone]),
    ]


def _share(them: Sequence[bool]) -> str:
    return f"{mean(map(float, them)):.1%}" if them else "-"


# ---------------------------------------------------------------- shift against exact


def _context(messages: Sequence[Message]) -> Context:
    return Context(
        tuple(messages), session_id="s", token_count=1, counted_tokens=1, stable_tokens=0,
        stable_messages=0, budget=10**6, reserve=0, tools=(), query=None, question=messages[-1],
        recalled=(), eviction=None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Compared:
    """A question about a context whose cache was moved, beside a fresh forward over the same.

    Attributes:
        kind: of the question.
        distance: tokens from what was noted last, of what the answer takes, to the question.
        exact, shift: whether the answer of each is right by the context.
        same: whether both like the same tokens best, all along the answer.
        divergence: KL(exact, shift) over all next tokens, on average along the answer, in nats.
        leaks: whether shift tells what left with the small talk.
    """

    kind: str
    distance: int
    exact: bool
    shift: bool
    same: bool
    divergence: float
    leaks: bool


KINDS = ("noted once", "noted twice", "two steps", "second step gone", "not noted, or gone")
_COLUMNS = ["recall, exact", "recall, shift", "same first choice", "KL (nats)"]
_AGAINST = (
    "Exact is a fresh forward over the same tokens. First choice and KL(exact, shift) are over all "
    "next tokens, along the whole right answer and its end."
)


def by_evictions(seeds: int) -> Iterator[Table]:
    """Return recall and agreement after so many evictions in a row, and by kind of question."""
    marks = (0, 1, 2, 5, 10, 20, 50)
    found: dict[int, list[_Compared]] = {mark: [] for mark in marks}
    for seed in range(seeds):
        for mark, outcome in _evicting(random.Random(seed), marks, 12):
            found[mark] += outcome
    yield Table(
        "Shift against exact, by evictions in a row",
        ["after", *_COLUMNS, "told though gone"],
        [[f"{mark} evictions", *_agreement(found[mark]),
          _share([one.leaks for one in found[mark] if one.kind in KINDS[-2:]])]
         for mark in marks],
        [(f"{seeds} conversations of 8 people of whom everything stays, and 4 of whom everything "
         "leaves, in 12 turns of small talk; each eviction takes half of the small talk between "
         f"them out, and as much follows. {_AGAINST} Told though gone: answers by shift with what "
         "left, of the questions about it.")],
    )  # fmt: skip
    after = [one for mark in marks if mark >= 5 for one in found[mark]]
    yield Table(
        "Shift against exact, by kind of question",
        ["asked for", *_COLUMNS, "questions"],
        [[kind, *_agreement(those), f"{len(those):,}"]
         for kind in KINDS if (those := [one for one in after if one.kind == kind])],
        ["The same conversations after 5 evictions and more."],
    )  # fmt: skip


def by_distance(seeds: int) -> Table:
    """Return recall by how far back what was noted stands."""
    marks, edges = (0, 1, 10), (0, 100, 200, 400, 800, 1_600)
    found: dict[int, list[_Compared]] = {mark: [] for mark in marks}
    for seed in range(seeds):
        for turns in (24, 120):
            for mark, outcome in _evicting(random.Random(seed), marks, turns):
                found[mark] += outcome
    rows = []
    for low, high in pairwise(edges):
        cells = []
        for mark in marks:
            those = [one for one in found[mark]
                     if low <= one.distance < high and one.kind in KINDS[:3]]  # fmt: skip
            cells += [_share([one.exact for one in those])] if mark != 1 else []
            cells += [_share([one.shift for one in those])] if mark else []
        rows.append([f"{low:,} to {high:,} tokens", *cells])
    return Table(
        "Recall by distance",
        ["from the fact to the question", "exact", "shift, after 1 eviction",
         "exact, 10 evictions later", "shift, after 10"],
        rows,
        [(f"{seeds} conversations as above with 24 turns of small talk and {seeds} with 120; only "
         "what the context tells is asked for. Distances are those in the context as it is then; "
         "the model was trained on chats of some 600 tokens at most.")],
    )  # fmt: skip


def _agreement(found: Sequence[_Compared]) -> list[str]:
    return [
        _share([one.exact for one in found]),
        _share([one.shift for one in found]),
        _share([one.same for one in found]),
        f"{mean(one.divergence for one in found):.1e}",
    ]


def _evicting(
    rng: random.Random, marks: Sequence[int], turns: int
) -> Iterator[tuple[int, list[_Compared]]]:
    """Evict small talk, and at first the facts about four people, while others stay."""
    made = backend("shift")
    told, _ = world.story(rng, 12)
    order = list(dict.fromkeys(fact.name for fact in told))
    leaving = set(rng.sample(order, 4))
    held = [Message.user(fact.planted) for fact in told]
    for _ in range(turns):
        held.insert(rng.randrange(len(held) + 1), Message.user(world.talk(rng, 8)))
    list(made.stream(_context(held)))
    for count in range(max(marks) + 1):
        if count in marks:
            yield count, [_compare(made, held, told, name) for name in order]
        talk = [m for m in held if not m.text.startswith("note ")]
        gone = {id(m) for m in rng.sample(talk, len(talk) // 2)}
        new = [Message.user(world.talk(rng, 8)) for _ in gone]
        gone |= {id(m) for m in held if m.text.startswith("note ") and m.text.split()[1] in leaving}
        held[:] = [m for m in held if id(m) not in gone]
        held.extend(new)
        list(made.stream(_context(held)))


@torch.no_grad()
def _compare(
    made: HuggingFaceBackend, held: list[Message], told: Sequence[world.Fact], name: str
) -> _Compared:
    """Ask for somebody, in the moved cache and in a fresh forward."""
    asked = [*held, Message.user(f"recall {name}")]
    session = _copied(made._sessions["s"])
    rendered = made._renderer.render(asked, (), session.replies)
    plan = session.plan([*rendered.pieces, rendered.opening], True, 0)
    _follow(made, session, plan)
    ids = [i for piece in plan.pieces for i in piece.ids]
    shown = _facts(held)
    answer, truth = world.answer(shown, name), world.answer(told, name)

    def logits(text: str, fresh: bool) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = [*(world.IDS[word] for word in text.split()), world.END]
        if fresh:
            whole = torch.tensor([[*ids, *wanted[:-1]]])
            out = made.model(input_ids=whole, use_cache=False).logits
        else:
            rest = torch.tensor([[*ids[session.held :], *wanted[:-1]]])
            out = made.model(input_ids=rest, cache=deepcopy(session.cache)).logits
        return out[0, -len(wanted) :], torch.tensor(wanted)

    (fresh, wanted), (shifted, _) = logits(answer, fresh=True), logits(answer, fresh=False)
    leaks = False
    if truth != answer:
        would, leaked = logits(truth, fresh=False)
        leaks = bool((would.argmax(-1) == leaked).all())
    divergence = kl_div(
        shifted.log_softmax(-1), fresh.log_softmax(-1), log_target=True, reduction="batchmean"
    )
    return _Compared(
        _kind(shown, name),
        _distance(plan.pieces, answer),
        bool((fresh.argmax(-1) == wanted).all()),
        bool((shifted.argmax(-1) == wanted).all()),
        bool((fresh.argmax(-1) == shifted.argmax(-1)).all()),
        max(0.0, float(divergence)),  # rounding
        leaks,
    )


def _kind(shown: Sequence[world.Fact], name: str) -> str:
    steps = world.answer(shown, name).split()
    if steps[-1] == "unknown":
        return KINDS[4] if len(steps) == 2 else KINDS[3]
    if len(steps) > 2:
        return KINDS[2]
    return KINDS[1] if sum(fact.name == name for fact in shown) > 1 else KINDS[0]


def _distance(pieces: Sequence[Piece], answer: str) -> int:
    """Return how far from the end the nearest note stands that the answer takes."""
    steps, distance = answer.split(), 0
    for piece in reversed(pieces):
        distance += len(piece.ids)
        if piece.message is not None and piece.message.text == f"note {steps[0]} {steps[1]}":
            break
    return distance


def _follow(made: HuggingFaceBackend, session: Session, plan: Any) -> None:
    def reads(ids: Sequence[int]) -> None:
        made.model(input_ids=torch.tensor([list(ids)]), cache=session.cache)

    session.follow(plan, reads)


# ---------------------------------------------------------------- perplexity of a stream

TURN = 13
"""Tokens of a turn of small talk."""


def perplexity(times: int, model: Path, which: str) -> Table:
    """Return the perplexity of small talk over a stream of `times` budgets."""
    rows = []
    for name, kept, read_again in (
        ("moved, 4 sinks", 4, False), ("moved, no sinks", 0, False), ("read anew", 0, True),
    ):  # fmt: skip
        losses = stream(model, times * BUDGET, kept, read_again)
        tenth = len(losses) // 10
        parts = [exp(mean(losses[i * tenth : (i + 1) * tenth])) for i in (0, 4, 9)]
        rows.append([name, *(f"{part:.2f}" for part in parts)])
    return Table(
        f"Perplexity of small talk over {times} budgets of {BUDGET} tokens, {which}",
        ["cache", "first tenth", "fifth", "last"],
        rows,
        [("Turns of small talk behind the token that begins every text; the oldest quarter leaves "
         "whenever the budget is full, the first token of all with it unless it is a sink. `read "
         "anew` reads what stays, behind the first token. That token gets, layer by layer, "
         f"{', '.join(f'{share:.0%}' for share in first_token(model))} of the attention in this "
         f"model; evenly shared it would be {1 / BUDGET:.1%}.")],
    )  # fmt: skip


@torch.no_grad()
def first_token(model: Path) -> list[float]:
    """Return the share of attention that the first token gets in a full budget, by layer."""
    made, rng, recorder = backend("shift", model), random.Random(1), Recorder(64)
    talk = [world.IDS[word] for word in world.talk(rng, BUDGET - 1).split()]
    cache: Any = made.capability.new_cache(made.model)
    with attending(made.model, is_ours=True), recording(recorder):
        made.model(input_ids=torch.tensor([[world.IDS["<s>"], *talk]]), cache=cache)
    return [
        float(_weights(seen.queries, cache.layers[i].keys[0], seen.scaling, None)[..., 0].mean())
        for i, seen in sorted(recorder.queries.items())
    ]


@torch.no_grad()
def stream(model: Path, tokens: int, kept: int, read_again: bool) -> list[float]:
    """Return the loss of each turn of a stream, by a cache that is moved or read again."""
    made = backend("exact" if read_again else "shift", model, sinks=kept)
    session = made._session("s")
    rng = random.Random(0)
    begins = [Piece((world.IDS["<s>"],))]
    pieces: list[Piece] = []
    losses: list[float] = []
    last: torch.Tensor | None = None
    session.cache = made.capability.new_cache(made.model)
    for _ in range(0, tokens, TURN):
        said = [world.IDS[word] for word in world.talk(rng, 8).split()]
        ids = [world.USER, *said, world.END, world.BOT, world.IDS["ok"], world.END]
        if 1 + sum(len(p.ids) for p in pieces) + TURN > BUDGET:
            pieces = pieces[BUDGET // 4 // TURN :]
            begins = begins if read_again else []
        pieces.append(Piece(tuple(ids)))
        plan = session.plan([*begins, *pieces], not read_again, 0)
        _follow(made, session, plan)
        rest = [i for p in plan.pieces for i in p.ids][session.held :]
        out = made.model(input_ids=torch.tensor([rest]), cache=session.cache)
        logits = out.logits[0]
        if last is not None:
            before = torch.cat([last[None], logits[-len(ids) : -1]])
            losses.append(float(cross_entropy(before, torch.tensor(ids))))
        last = logits[-1]
        session.commit(plan.pieces, 0)
    return losses
