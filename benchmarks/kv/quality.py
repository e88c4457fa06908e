"""What eviction inside the cache does to answers, by the small model that `train` made."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from copy import deepcopy
from math import exp
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch.nn.functional import cross_entropy, kl_div

from benchmarks.kv import world
from benchmarks.tables import Table
from finite_memory_core import Chat, Context, Importance, Memory, Message
from finite_memory_local import HuggingFaceBackend
from finite_memory_local.ledger import Piece
from finite_memory_local.session import Session

MODEL = Path(__file__).resolve().parent / "model"
BUDGET = 256
POLICIES = ("sliding", "importance", "semantic", "rolling_summary", "hybrid", "attention")


def backend(kv: str, **options: Any) -> HuggingFaceBackend:
    """Return the small model behind the backend."""
    return HuggingFaceBackend(MODEL, kv=kv, do_sample=False, max_new_tokens=4, **options)


def tables(quick: bool) -> Iterator[Table]:
    """Measure all."""
    yield by_policy(2 if quick else 6)
    yield by_evictions(2 if quick else 6)
    yield perplexity(20 if quick else 100)


# ---------------------------------------------------------------- recall by policy


def by_policy(seeds: int) -> Table:
    """Return how many planted facts are told rightly, by where they were planted."""
    rows = []
    for policy in POLICIES:
        for kv in ("exact", "shift"):
            found = [_one(policy, kv, seed) for seed in range(seeds)]
            rows.append([policy, f'`kv="{kv}"`', *_shares([f for one in found for f in one])])
    return Table(
        "Recall of planted facts, by policy",
        ["policy", "mode", "early", "middle", "late", "kept in the context", "right, of the kept"],
        rows,
        [(f"{seeds} conversations of 18 facts and 480 words of small talk in a budget of {BUDGET} "
         "tokens, without recall from the archive; early, middle and late thirds. `attention` is "
         "`Importance` with the backend's scorer.")],
    )  # fmt: skip


def _one(policy: str, kv: str, seed: int) -> list[tuple[int, bool, bool]]:
    """Return for each fact its third, whether it was kept, and whether it was told rightly."""
    rng = random.Random(seed)
    made = backend(kv)
    how: Any = Importance(made.scorer()) if policy == "attention" else policy
    memory = Memory(BUDGET, policy=how, recall=None, reserve=8,
                    counter=lambda text: len(text.split()))  # fmt: skip
    chat = Chat(made, memory)
    planted = world.facts(rng, 18)
    for said, _ in world.turns(rng, planted, 480):
        chat.send(said)
    outcome = []
    for i, fact in enumerate(planted):
        kept, answer = _asked(chat, made, fact)
        outcome.append((i * 3 // len(planted), kept, answer == fact.answer))
    return outcome


def _asked(chat: Chat, made: HuggingFaceBackend, fact: world.Fact) -> tuple[bool, str]:
    """Ask a question that leaves no trace; return whether the fact was shown, and the answer."""
    before = {name: deepcopy(session) for name, session in made._sessions.items()}
    staged = chat.memory.turn()
    try:
        staged.append(Message.user(fact.question))
        shown = staged.context()
        kept = any(message.text == fact.planted for message in shown)
        return kept, "".join(piece.text for piece in made.stream(shown))
    finally:
        staged.rollback()
        made._sessions.clear()
        made._sessions.update(before)


def _shares(found: Sequence[tuple[int, bool, bool]]) -> list[str]:
    thirds = [[right for third, _, right in found if third == i] for i in range(3)]
    kept = [right for _, was_kept, right in found if was_kept]
    parts = [mean(map(float, third)) for third in thirds]
    shares = [*parts, len(kept) / len(found), mean(map(float, kept)) if kept else 0.0]
    return [f"{share:.1%}" for share in shares]


# ---------------------------------------------------------------- shift against exact


def _context(messages: Sequence[Message]) -> Context:
    return Context(
        tuple(messages), session_id="s", token_count=1, counted_tokens=1, stable_tokens=0,
        stable_messages=0, budget=10**6, reserve=0, tools=(), query=None, question=messages[-1],
        recalled=(), eviction=None,
    )  # fmt: skip


def by_evictions(seeds: int) -> Table:
    """Return recall and agreement after so many evictions in a row, the facts always staying."""
    marks = (0, 1, 2, 5, 10, 20, 50)
    found: dict[int, list[tuple[bool, bool, bool, float]]] = {mark: [] for mark in marks}
    for seed in range(seeds):
        for mark, outcome in _evicting(random.Random(seed), marks):
            found[mark] += outcome
    rows = []
    for mark in marks:
        fresh, shifted, same, divergence = zip(*found[mark], strict=True)
        rows.append([f"{mark} evictions", f"{mean(fresh):.1%}", f"{mean(shifted):.1%}",
                     f"{mean(same):.1%}", f"{mean(divergence):.1e}"])  # fmt: skip
    return Table(
        "Shift against exact, by evictions in a row",
        ["after", "recall, exact", "recall, shift", "same first choice", "KL (nats)"],
        rows,
        [(f"{seeds} conversations with 10 facts that stay; each eviction takes half of the small "
         "talk between and before them out, and as much follows. Exact is a fresh forward over "
         "the same tokens. First choice and KL(exact, shift) are those of the two tokens of the "
         "right answer.")],
    )  # fmt: skip


def _evicting(
    rng: random.Random, marks: Sequence[int]
) -> Iterator[tuple[int, list[tuple[bool, bool, bool, float]]]]:
    made = backend("shift")
    planted = world.facts(rng, 10)
    held = [Message.user(fact.planted) for fact in planted]

    def chat_on() -> None:
        for _ in range(12):
            held.insert(rng.randrange(len(held) + 1), Message.user(world.talk(rng, 8)))

    chat_on()
    list(made.stream(_context(held)))
    for count in range(max(marks) + 1):
        if count in marks:
            yield count, [_compare(made, held, fact) for fact in planted]
        talk = [m for m in held if m.text.startswith("talk")]
        gone = {id(m) for m in rng.sample(talk, len(talk) // 2)}
        held[:] = [m for m in held if id(m) not in gone]
        held.extend(Message.user(world.talk(rng, 8)) for _ in gone)
        list(made.stream(_context(held)))


@torch.no_grad()
def _compare(
    made: HuggingFaceBackend, held: list[Message], fact: world.Fact
) -> tuple[bool, bool, bool, float]:
    """Return whether exact and shift are right, whether they agree, and their divergence."""
    asked = [*held, Message.user(fact.question)]
    session = deepcopy(made._sessions["s"])
    rendered = made._renderer.render(asked, (), session.replies)
    plan = session.plan([*rendered.pieces, rendered.opening], True, 0)
    _follow(made, session, plan)
    ids = [i for piece in plan.pieces for i in piece.ids]
    answer = [world.IDS[word] for word in fact.answer.split()]
    rest = torch.tensor([[*ids[session.held :], *answer[:-1]]])
    shifted = made.model(input_ids=rest, cache=session.cache).logits[0, -len(answer) :]
    whole = torch.tensor([[*ids, *answer[:-1]]])
    fresh = made.model(input_ids=whole, use_cache=False).logits[0, -len(answer) :]
    wanted = torch.tensor(answer)
    divergence = kl_div(
        shifted.log_softmax(-1), fresh.log_softmax(-1), log_target=True, reduction="batchmean"
    )
    return (
        bool((fresh.argmax(-1) == wanted).all()),
        bool((shifted.argmax(-1) == wanted).all()),
        bool((fresh.argmax(-1) == shifted.argmax(-1)).all()),
        float(divergence),
    )


def _follow(made: HuggingFaceBackend, session: Session, plan: Any) -> None:
    def reads(ids: Sequence[int]) -> None:
        made.model(input_ids=torch.tensor([list(ids)]), cache=session.cache)

    session.follow(plan, reads)


# ---------------------------------------------------------------- perplexity of a stream

TURN = 13
"""Tokens of a turn of small talk."""


def perplexity(times: int) -> Table:
    """Return the perplexity of small talk over a stream of `times` budgets."""
    rows = []
    for name, sinks, read_again in (
        ("moved, 4 sinks", 4, False), ("moved, no sinks", 0, False), ("read anew", 0, True),
    ):  # fmt: skip
        losses = _stream(times * BUDGET, sinks, read_again)
        tenth = len(losses) // 10
        parts = [exp(mean(losses[i * tenth : (i + 1) * tenth])) for i in (0, 4, 9)]
        rows.append([name, *(f"{part:.2f}" for part in parts)])
    return Table(
        f"Perplexity of small talk over {times} budgets of {BUDGET} tokens",
        ["cache", "first tenth", "fifth", "last"],
        rows,
        [
            (
                "Turns of small talk; the oldest quarter leaves whenever the budget is full, the "
                "first token of all with it unless it is a sink. `read anew` reads what stays."
            )
        ],
    )


@torch.no_grad()
def _stream(tokens: int, sinks: int, read_again: bool) -> list[float]:
    made = backend("exact" if read_again else "shift", sinks=sinks)
    session = made._session("s")
    rng = random.Random(0)
    pieces: list[Piece] = []
    losses: list[float] = []
    last: torch.Tensor | None = None
    session.cache = made.capability.new_cache(made.model)
    for start in range(0, tokens, TURN):
        said = [world.IDS[word] for word in world.talk(rng, 8).split()]
        ids = [world.USER, *said, world.END, world.BOT, world.IDS["ok"], world.END]
        if not start:
            ids = [world.IDS["<s>"], *ids]
        if sum(len(p.ids) for p in pieces) + TURN > BUDGET:
            pieces = pieces[BUDGET // 4 // TURN :]
        pieces.append(Piece(tuple(ids)))
        plan = session.plan(pieces, not read_again, 0)
        _follow(made, session, plan)
        rest = [i for p in plan.pieces for i in p.ids][session.held :]
        out = made.model(input_ids=torch.tensor([rest]), cache=session.cache)
        logits = out.logits[0]
        if last is not None:
            before = torch.cat([last[None], logits[-len(ids) : -1]])
            losses.append(float(cross_entropy(before, torch.tensor(ids))))
        last = logits[-1]
        session.commit(plan.pieces, 0)
        session._sink = plan.sink
    return losses
