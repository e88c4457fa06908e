"""Who is measured beside us at a full budget (`peers.toml`), each in its own environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers import Peer, all_peers
from benchmarks.peers.environment import NoEnvironment, python_of

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation at a full budget, in numbers that every library understands.

    Attributes:
        shape: fields of a Llama's configuration, as transformers names them.
        budget: tokens that the context may have.
        turn: tokens that a turn adds before its reply.
        reply: tokens of a reply.
        turns: how many of them.
        threads: of the CPU.
    """

    shape: dict[str, object]
    budget: int
    turn: int
    reply: int
    turns: int
    threads: int


class Found(NamedTuple):
    """What a peer's turns cost.

    Attributes:
        title: the peer.
        first: median milliseconds to the first token.
        whole: median milliseconds to read the whole context anew, by the same library.
        worst: the worst turn over the median one.
        note: what must be said of it.
        why_not: why there is nothing to tell, and all else is 0; None where there is.
    """

    title: str
    first: float = 0.0
    whole: float = 0.0
    worst: float = 0.0
    note: str = ""
    why_not: str | None = None


def measure(asked: Asked) -> Iterator[Found]:
    """Let each peer hold the conversation; one that cannot says why."""
    for peer in all_peers(_HERE / "peers.toml"):
        try:
            yield _measured(peer, asked)
        except NoEnvironment as error:
            yield Found(peer.title, why_not=_last_line(str(error)))


def _measured(peer: Peer, asked: Asked) -> Found:
    command = [str(python_of(peer)), str(_HERE / "adapters" / f"{peer.adapter}.py")]
    done = subprocess.run(
        command, input=json.dumps(asdict(asked)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        return Found(peer.title, why_not=_last_line(done.stderr))
    return Found(peer.title, **json.loads(done.stdout.splitlines()[-1]))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "it said nothing"
