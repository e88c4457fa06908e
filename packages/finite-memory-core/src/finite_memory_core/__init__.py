"""Finite Memory: a bounded memory for conversations with language models.

The public names of `finite-memory-core`. Each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .accounting import Accountant as Accountant
    from .backend_summary import BackendSummarizer as BackendSummarizer
    from .backends import (
        CallableBackend as CallableBackend,
        ReaderBackend as ReaderBackend,
        available_backends as available_backends,
        load_backend as load_backend,
    )
    from .backends.base import (
        Backend as Backend,
        Delta as Delta,
        Prices as Prices,
        Usage as Usage,
    )
    from .blocks import Block as Block
    from .chat import Chat as Chat, Reply as Reply
    from .context import Context as Context
    from .counting import EstimatingCounter as EstimatingCounter, TokenCounter as TokenCounter
    from .counting_extras import (
        TiktokenCounter as TiktokenCounter,
        TokenizersCounter as TokenizersCounter,
    )
    from .embedding import Embedder as Embedder
    from .errors import (
        BackendError as BackendError,
        BudgetError as BudgetError,
        BusyError as BusyError,
        ConfigError as ConfigError,
        ConflictError as ConflictError,
        ContextOverflowError as ContextOverflowError,
        CorruptError as CorruptError,
        CounterError as CounterError,
        EmbedderError as EmbedderError,
        FiniteMemoryError as FiniteMemoryError,
        Interrupted as Interrupted,
        MessageError as MessageError,
        MissingExtraError as MissingExtraError,
        PolicyError as PolicyError,
        StoreError as StoreError,
        ToolCallError as ToolCallError,
        VersionError as VersionError,
    )
    from .events import (
        Appended as Appended,
        CacheCollapsed as CacheCollapsed,
        Clipped as Clipped,
        ContextBuilt as ContextBuilt,
        Evicted as Evicted,
        FactsDropped as FactsDropped,
        FellBack as FellBack,
        Forgotten as Forgotten,
        MemoryEvent as MemoryEvent,
        Observer as Observer,
        Overflowed as Overflowed,
        Recalled as Recalled,
        Summarized as Summarized,
        TurnEnded as TurnEnded,
        TurnFailed as TurnFailed,
        Unanswered as Unanswered,
    )
    from .eviction import Decision as Decision, Eviction as Eviction
    from .memory import Memory as Memory
    from .messages import Message as Message, Role as Role, ToolCall as ToolCall
    from .policies import (
        Hybrid as Hybrid,
        Importance as Importance,
        RollingSummary as RollingSummary,
        Semantic as Semantic,
        SlidingWindow as SlidingWindow,
    )
    from .policies.base import (
        MUST_LEAVE as MUST_LEAVE,
        CannotDecide as CannotDecide,
        Deadline as Deadline,
        Policy as Policy,
        View as View,
    )
    from .recall import Hit as Hit, Recall as Recall
    from .recall.tool import SearchTool as SearchTool
    from .spending import Spent as Spent
    from .stats import MemoryStats as MemoryStats
    from .stores import (
        InMemoryStore as InMemoryStore,
        PostgresStore as PostgresStore,
        SQLiteStore as SQLiteStore,
    )
    from .stores.base import Store as Store
    from .summarizing import ExtractiveSummarizer as ExtractiveSummarizer
    from .summary import Summarizer as Summarizer
    from .transcript import Transcript as Transcript
    from .turn import Turn as Turn

_HOME = {
    "Accountant": "accounting",
    "BackendSummarizer": "backend_summary",
    "CallableBackend": "backends",
    "ReaderBackend": "backends",
    "available_backends": "backends",
    "load_backend": "backends",
    "Backend": "backends.base",
    "Delta": "backends.base",
    "Prices": "backends.base",
    "Usage": "backends.base",
    "Block": "blocks",
    "Chat": "chat",
    "Reply": "chat",
    "Context": "context",
    "EstimatingCounter": "counting",
    "TokenCounter": "counting",
    "TiktokenCounter": "counting_extras",
    "TokenizersCounter": "counting_extras",
    "Embedder": "embedding",
    "BackendError": "errors",
    "BudgetError": "errors",
    "BusyError": "errors",
    "ConfigError": "errors",
    "ConflictError": "errors",
    "ContextOverflowError": "errors",
    "CorruptError": "errors",
    "CounterError": "errors",
    "EmbedderError": "errors",
    "FiniteMemoryError": "errors",
    "Interrupted": "errors",
    "MessageError": "errors",
    "MissingExtraError": "errors",
    "PolicyError": "errors",
    "StoreError": "errors",
    "ToolCallError": "errors",
    "VersionError": "errors",
    "Appended": "events",
    "CacheCollapsed": "events",
    "Clipped": "events",
    "ContextBuilt": "events",
    "Evicted": "events",
    "FactsDropped": "events",
    "FellBack": "events",
    "Forgotten": "events",
    "MemoryEvent": "events",
    "Observer": "events",
    "Overflowed": "events",
    "Recalled": "events",
    "Summarized": "events",
    "TurnEnded": "events",
    "TurnFailed": "events",
    "Unanswered": "events",
    "Decision": "eviction",
    "Eviction": "eviction",
    "Memory": "memory",
    "Turn": "turn",
    "Message": "messages",
    "Role": "messages",
    "ToolCall": "messages",
    "Hybrid": "policies",
    "Importance": "policies",
    "RollingSummary": "policies",
    "Semantic": "policies",
    "SlidingWindow": "policies",
    "CannotDecide": "policies.base",
    "Deadline": "policies.base",
    "MUST_LEAVE": "policies.base",
    "Policy": "policies.base",
    "View": "policies.base",
    "Hit": "recall",
    "Recall": "recall",
    "Spent": "spending",
    "MemoryStats": "stats",
    "InMemoryStore": "stores",
    "PostgresStore": "stores",
    "SQLiteStore": "stores",
    "SearchTool": "recall.tool",
    "Store": "stores.base",
    "ExtractiveSummarizer": "summarizing",
    "Summarizer": "summary",
    "Transcript": "transcript",
}

__all__ = [
    "MUST_LEAVE",
    "Accountant",
    "Appended",
    "Backend",
    "BackendError",
    "BackendSummarizer",
    "Block",
    "BudgetError",
    "BusyError",
    "CacheCollapsed",
    "CallableBackend",
    "CannotDecide",
    "Chat",
    "Clipped",
    "ConfigError",
    "ConflictError",
    "Context",
    "ContextBuilt",
    "ContextOverflowError",
    "CorruptError",
    "CounterError",
    "Deadline",
    "Decision",
    "Delta",
    "Embedder",
    "EmbedderError",
    "EstimatingCounter",
    "Evicted",
    "Eviction",
    "ExtractiveSummarizer",
    "FactsDropped",
    "FellBack",
    "FiniteMemoryError",
    "Forgotten",
    "Hit",
    "Hybrid",
    "Importance",
    "InMemoryStore",
    "Interrupted",
    "Memory",
    "MemoryEvent",
    "MemoryStats",
    "Message",
    "MessageError",
    "MissingExtraError",
    "Observer",
    "Overflowed",
    "Policy",
    "PolicyError",
    "PostgresStore",
    "Prices",
    "ReaderBackend",
    "Recall",
    "Recalled",
    "Reply",
    "Role",
    "RollingSummary",
    "SQLiteStore",
    "SearchTool",
    "Semantic",
    "SlidingWindow",
    "Spent",
    "Store",
    "StoreError",
    "Summarized",
    "Summarizer",
    "TiktokenCounter",
    "TokenCounter",
    "TokenizersCounter",
    "ToolCall",
    "ToolCallError",
    "Transcript",
    "Turn",
    "TurnEnded",
    "TurnFailed",
    "Unanswered",
    "Usage",
    "VersionError",
    "View",
    "available_backends",
    "load_backend",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value  # found at once from now on
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
