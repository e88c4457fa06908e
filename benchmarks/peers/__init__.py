"""The peers: who they are (`peers.toml`), their environments, and how to speak to them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FILE = Path(__file__).resolve().parent.parent / "peers.toml"


@dataclass(frozen=True, slots=True)
class Peer:
    """One library in one configuration; the fields are those of `peers.toml`."""

    key: str
    title: str
    requires: tuple[str, ...]
    adapter: str
    options: Mapping[str, Any] = field(default_factory=dict)
    largest: int = 200_000
    budgeted: bool = True


def all_peers(file: Path = _FILE) -> list[Peer]:
    """Return the peers of `peers.toml`, or of a file like it, in its order."""
    entries = tomllib.loads(file.read_text(encoding="utf-8"))
    return [
        Peer(key=key, **{**entry, "requires": tuple(entry["requires"])})
        for key, entry in entries.items()
    ]


def ours(policy: str, **options: Any) -> Peer:
    """Return our own memory in the shape of a peer, so that it is measured by the same code."""
    return Peer(
        key=f"ours_{policy}",
        title=f"finite-memory-core {policy}",
        requires=(),
        adapter="finite_memory",
        options={"policy": policy, **options},
    )
