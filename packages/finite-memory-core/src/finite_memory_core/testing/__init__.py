"""What tests of your own code, and of your own policy, store or backend, can use.

Fakes: `ScriptedBackend`, `FailingStore`, `TickingClock`. Contracts, to be inherited by a class of
your tests: `PolicyContract`, `StoreContract` (`DurableStoreContract` for one that outlives its
process), `BackendContract`. The conformance fuzz: `fuzz_policy`, `fuzz`, and `violations`, which
says what is wrong with one context.

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
    )
    from .fuzz import (
        Failure as Failure,
        FuzzReport as FuzzReport,
        Subject as Subject,
        fuzz as fuzz,
        fuzz_policy as fuzz_policy,
    )
    from .policies import PolicyContract as PolicyContract
    from .stores import (
        DurableStoreContract as DurableStoreContract,
        StoreContract as StoreContract,
    )
    from .violations import violations as violations

_HOME = {
    "BackendContract": "backends",
    "DurableStoreContract": "stores",
    "FailingStore": "fakes",
    "Failure": "fuzz",
    "FuzzReport": "fuzz",
    "PolicyContract": "policies",
    "ScriptedBackend": "fakes",
    "StoreContract": "stores",
    "Subject": "fuzz",
    "TickingClock": "fakes",
    "fuzz_policy": "fuzz",
}
_NAMED_AS_THEIR_MODULE = ("fuzz", "violations")

__all__ = [
    "BackendContract",
    "DurableStoreContract",
    "FailingStore",
    "Failure",
    "FuzzReport",
    "PolicyContract",
    "ScriptedBackend",
    "StoreContract",
    "Subject",
    "TickingClock",
    "fuzz",
    "fuzz_policy",
    "violations",
]
