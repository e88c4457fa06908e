"""What tests of your own code, and of your own policy, store or backend, can use.

Fakes: `ScriptedBackend`, `FailingStore`, `TickingClock`, `WordEmbedder`. Contracts, to be
inherited by a class of your tests: `PolicyContract`, `StoreContract` (`DurableStoreContract` for
one that outlives its process), `BackendContract`. The conformance fuzz: `fuzz_policy`; for what is
no policy see the modules `fuzz` and `violations`.

Nothing here needs pytest. To have its asserts explain themselves, a ``conftest.py`` calls
``pytest.register_assert_rewrite("finite_memory_core.testing")`` before anything is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backends import BackendContract as BackendContract
    from .fakes import (
        FailingStore as FailingStore,
        ScriptedBackend as ScriptedBackend,
        TickingClock as TickingClock,
        WordEmbedder as WordEmbedder,
    )
    from .fuzz import FuzzReport as FuzzReport, fuzz_policy as fuzz_policy
    from .policies import PolicyContract as PolicyContract
    from .stores import (
        DurableStoreContract as DurableStoreContract,
        StoreContract as StoreContract,
    )

_HOME = {
    "BackendContract": "backends",
    "DurableStoreContract": "stores",
    "FailingStore": "fakes",
    "FuzzReport": "fuzz",
    "PolicyContract": "policies",
    "ScriptedBackend": "fakes",
    "StoreContract": "stores",
    "TickingClock": "fakes",
    "WordEmbedder": "fakes",
    "fuzz_policy": "fuzz",
}

__all__ = [
    "BackendContract",
    "DurableStoreContract",
    "FailingStore",
    "FuzzReport",
    "PolicyContract",
    "ScriptedBackend",
    "StoreContract",
    "TickingClock",
    "WordEmbedder",
    "fuzz_policy",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
