"""What 1,000 turns cost by the providers' price tables, beside LangChain's `trim_messages`.

Both are given the same transcripts, the same budget and the same counter, and both are charged by
the published rules of each cache (`providers`). Ours is charged for the requests that
finite-memory-api really makes, breakpoints included. The peer is charged for its messages with a
breakpoint behind the instructions and one at the end, or without a cache, whichever is cheaper.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from finite_memory_api import AnthropicBackend, HTTPBackend, OpenAIBackend, prices_of
from finite_memory_core import (
    Backend,
    Chat,
    Context,
    Delta,
    Memory,
    Message,
    Prices,
    Role,
    Usage,
)

from ..peers import all_peers
from ..peers.remote import Remote, worker
from ..policies import locomo
from ..tables import Table
from .providers import Automatic, Breakpoints, Charged, Piece, Provider

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "docs" / "sample" / "conversation.jsonl"
BUDGETS = (4_096, 8_192)
INSTRUCTIONS = Message.system("You are a helpful companion. Answer briefly and truthfully. " * 8)
MARKS = ("cache_control", "prompt_cache_breakpoint")

Turn: TypeAlias = tuple[list[Piece], int]
"""A request, and the tokens of the reply to it."""


class Case(NamedTuple):
    """One way to be charged."""

    title: str
    prices: Prices
    backend: HTTPBackend
    provider: Callable[[], Provider]


def quarter(text: str) -> int:
    """Count a token for every four characters, as all are counted here."""
    return len(text) // 4


def cases() -> list[Case]:
    """Anthropic, OpenAI where writing costs and where it does not, DeepSeek."""
    claude, new, old = "claude-sonnet-4-5", "gpt-5.6-terra", "gpt-5.4"
    deepseek = HTTPBackend("deepseek-v4-flash", "deepseek", api_key="none")
    anthropic = AnthropicBackend(claude, api_key="none")
    return [
        Case(f"Anthropic {claude}", _prices("anthropic", claude), anthropic, _anthropic),
        Case(f"OpenAI {new}", _prices("openai", new), OpenAIBackend(new, api_key="none"), _openai),
        Case(f"OpenAI {old}", _prices("openai", old), OpenAIBackend(old, api_key="none"), _free),
        Case("DeepSeek v4-flash", _prices("deepseek", "deepseek-v4-flash"), deepseek, _deepseek),
    ]


def _prices(profile: str, model: str) -> Prices:
    found = prices_of(profile, model)
    if found is None:
        raise RuntimeError(f"no price for {model}")
    return found


def _anthropic() -> Provider:
    return Breakpoints(minimum=1_024)


def _openai() -> Provider:
    return Breakpoints(minimum=1_024, lookback=1, marks_end=True)


def _free() -> Provider:
    return Automatic(minimum=1_024, step=128)


def _deepseek() -> Provider:
    return Automatic(minimum=64, step=64)


def tables(folder: Path) -> list[Table]:
    """Measure on the sample conversation, and on LoCoMo's where they are at hand."""
    talks = {"the sample conversation of this repository": [_sample()]}
    real = locomo.load(folder) if folder.is_dir() else []
    if real:
        talks[f"{len(real)} LoCoMo conversations"] = [list(talk.messages) for talk in real]
    else:
        print(f"no LoCoMo conversations in {folder}: the sample alone")
    return [
        _table(title, transcripts, budget)
        for title, transcripts in talks.items()
        for budget in BUDGETS
    ]


def _sample() -> list[Message]:
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    return [Message.from_dict(json.loads(line)) for line in lines]


def _table(title: str, transcripts: Sequence[Sequence[Message]], budget: int) -> Table:
    plain = [[INSTRUCTIONS, *(_plain(m) for m in talk if _counts(m))] for talk in transcripts]
    theirs = [list(_theirs(talk, budget)) for talk in plain]  # the same for all, and slow
    rows = [_row(case, plain, theirs, budget) for case in cases()]
    note = (
        f"Dollars for 1,000 turns, replies included, at a budget of {budget:,} tokens (characters "
        "/ 4), the turns before the first eviction included. Peer: langchain-core's "
        "`trim_messages` with `start_on='human'` and `include_system=True`, charged with or "
        "without a prompt cache, whichever is cheaper for it. Ours: `policy='sliding'`, "
        "`low_water='auto'`. Entries are taken to live from turn to turn. Target: at most 0.25."
    )
    heads = ("", "trim_messages", "ours", "ours / theirs", "cached share, ours", "mean context")
    return Table(f"Cost of 1,000 turns at {budget:,} tokens, {title}", heads, rows, [note])


def _counts(message: Message) -> bool:
    """Return whether a message is one that both libraries treat alike: something a person said."""
    return bool(message.text) and message.role in (Role.USER, Role.ASSISTANT)


def _plain(message: Message) -> Message:
    """Return what both libraries carry alike: role and text."""
    return Message(message.role, message.text)


def _row(
    case: Case,
    transcripts: Sequence[Sequence[Message]],
    peers: Sequence[Sequence[Turn]],
    budget: int,
) -> list[str]:
    theirs = ours = 0.0
    turns = cached = total = 0
    for talk, shown in zip(transcripts, peers, strict=True):
        ask, no_cache = case.provider(), 0.0
        with_cache = 0.0
        for pieces, reply in shown:
            charged = ask.ask(pieces)
            with_cache += _dollars(case.prices, charged, reply)
            sent = sum(charged)
            no_cache += _dollars(case.prices, Charged(0, 0, sent), reply)
        theirs += min(with_cache, no_cache)
        for charged, reply in _ours(case, talk, budget):
            ours += _dollars(case.prices, charged, reply)
            turns, cached, total = turns + 1, cached + charged.cached, total + sum(charged)
    return [
        case.title,
        f"${1_000 * theirs / turns:.2f}",
        f"${1_000 * ours / turns:.2f}",
        f"{ours / theirs:.2f}",
        f"{cached / total:.1%}",
        f"{total / turns:,.0f}",
    ]


def _dollars(prices: Prices, charged: Charged, reply: int) -> float:
    parts = (
        charged.cached * prices.cached,
        charged.written * prices.written,
        charged.plain * prices.input,
        reply * prices.output,
    )
    return sum(parts) / 1e6


def _replies(talk: Sequence[Message]) -> Iterator[tuple[int, int]]:
    """Yield where a model would be called, and the tokens of what it says."""
    for i, message in enumerate(talk[:-1]):
        if message.role is Role.USER and talk[i + 1].role is Role.ASSISTANT:
            yield i, quarter(talk[i + 1].text)


class _Charging(Backend):
    """Says what the transcript says next, and charges for the request that would be made."""

    name = "charging"

    def __init__(self, case: Case) -> None:
        self.prices = case.prices
        self._case = case
        self._provider = case.provider()
        self.charged: list[Charged] = []
        self.reply = ""

    def stream(self, context: Context) -> Iterator[Delta]:
        """See `Backend.stream`."""
        body = json.loads(self._case.backend._codec.body(context))
        charged = self._provider.ask(list(_pieces(body)))
        self.charged.append(charged)
        tokens = quarter(self.reply)
        dollars = _dollars(self._case.prices, charged, tokens)
        yield Delta(
            self.reply,
            finish="stop",
            usage=Usage(sum(charged), tokens, charged.cached, charged.written, cost=dollars),
        )


def _ours(case: Case, talk: Sequence[Message], budget: int) -> Iterator[tuple[Charged, int]]:
    """Yield how each of our requests is charged, and the tokens of the reply to it."""
    backend = _Charging(case)
    chat = Chat(backend, Memory(budget, low_water="auto", counter=quarter))
    said = 0
    for place, reply in _replies(talk):
        backend.reply = talk[place + 1].text
        chat.send(*talk[said : place + 1])
        said = place + 2
        yield backend.charged[-1], reply


def _pieces(body: Any) -> Iterator[Piece]:
    """Yield the parts of a request in the order in which a provider reads them."""
    for block in body.get("system", ()):
        yield _piece("system", block)
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"text": content}] if isinstance(content, str) else content
        for block in blocks:
            yield _piece(message["role"], block)


def _piece(role: str, block: Any) -> Piece:
    text = str(block["text"])
    return Piece(f"{role}:{text}", quarter(text) + 4, any(mark in block for mark in MARKS))


def _theirs(talk: Sequence[Message], budget: int) -> Iterator[Turn]:
    peer = next(peer for peer in all_peers() if peer.key == "langchain")
    said = 0
    with worker(peer) as process:
        remote = Remote(process, peer, budget)
        for place, reply in _replies(talk):
            remote.append(*talk[said : place + 1])
            said = place + 1
            shown = remote.context()
            last = len(shown) - 1
            yield (
                [
                    Piece(
                        f"{m['role']}:{m['content']}",
                        quarter(m["content"]) + 4,
                        m["role"] == "system" or i == last,
                    )
                    for i, m in enumerate(shown)
                ],
                reply,
            )
