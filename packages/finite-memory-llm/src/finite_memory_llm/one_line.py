"""A chat in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finite_memory_core import Backend, Chat, Memory, Message, Policy, load_backend

BUDGET = 8_000


class FiniteMemoryLLM(Chat):
    """A chat with a model that remembers within a budget.

    It is a `Chat`: `send`, `stream`, `asend` and `astream` take turns, `memory` holds the
    conversation, `backend` is what answers.

    Args:
        backend: ``"openai:…"``, ``"anthropic:…"``, ``"hf:…"`` or another name that `load_backend`
            knows, or a `Backend`.
        budget: the most tokens of a context, everything counted.
        policy: what decides who leaves; see `Memory`.
        system: instructions that always stay; None for none.
        options: passed on to the backend's loader.
        interrupted: what becomes of a turn that ends in the middle; see `Chat`.
        settings: all else that `Memory` takes: ``recall``, ``store``, ``reserve``, …

    Raises:
        ConfigError: a setting that cannot work, or a backend that nobody knows.
        MissingExtraError: the backend's distribution is not installed.
        BackendError: the backend cannot be loaded.
    """

    def __init__(
        self,
        backend: str | Backend,
        budget: int = BUDGET,
        policy: str | Policy = "hybrid",
        *,
        system: str | None = None,
        options: Mapping[str, Any] | None = None,
        interrupted: str = "discard",
        **settings: Any,
    ) -> None:
        memory = Memory(budget, policy, **settings)
        if system is not None:
            memory.append(Message.system(system))
        made = load_backend(backend, **(options or {})) if isinstance(backend, str) else backend
        super().__init__(made, memory, interrupted=interrupted)
