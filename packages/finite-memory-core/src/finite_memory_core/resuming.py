"""Resuming: from a stored session to a fold that goes on as if it had never stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import checkpoint, reported as reporting
from .configuration import Configuration
from .errors import ConfigError, StoreError
from .fold import Fold
from .limits import Limits
from .low_water import LowWater
from .messages import Message, freeze
from .policies import build_policy
from .recall import Recall
from .settings import Settings, check_limits
from .spending import Spent
from .stores.base import Counted, Event, Session, Store
from .summarizing import ExtractiveSummarizer
from .summary import Vetted

_STORED = ("budget", "low_water", "reserve", "oversize", "max_policy_ms")
_PASSED = (*_STORED, "policy", "recall", "counter", "summarizer", "embedder", "observers", "tools")


def find(store: Store, session_id: str) -> tuple[Session, Settings]:
    """Return a session's head and its settings as they were last.

    Raises:
        StoreError: no such session.
    """
    session = store.session(session_id)
    if session is None:
        known = [s.id for s in store.sessions()[-5:]]
        latest = f"the latest are {', '.join(map(repr, known))}" if known else "it is empty"
        raise StoreError(f"the store has no session {session_id!r}; {latest}")
    changed = store.last_event(session_id, "settings")
    return session, Settings.loads(session.settings if changed is None else changed[1].body)


def configuration(stored: Settings, overrides: Mapping[str, Any]) -> Configuration:
    """Return the configuration of a memory with `stored` settings, changed by `overrides`.

    Raises:
        ConfigError: an unknown argument, or the session needs something that must be passed.
    """
    unknown = set(overrides) - set(_PASSED)
    if unknown:
        raise ConfigError(
            f"{', '.join(sorted(unknown))} cannot be changed here; what can is {', '.join(_PASSED)}"
        )
    embedder = overrides.get("embedder")
    if "policy" in overrides:
        policy = build_policy(overrides["policy"], embedder=embedder)
    else:
        known = embedder if "embedder" in stored.policy_settings else None  # or it is recall's
        policy = build_policy(stored.policy, stored.policy_settings, known)
    return Configuration(
        **{name: overrides.get(name, getattr(stored, name)) for name in _STORED},
        policy=policy,
        recall=overrides.get("recall", _recall(stored)),
        embedder=embedder,
        counter=overrides.get("counter"),
        summarizer=_summarizer(stored, overrides),
    )


def _recall(stored: Settings) -> Recall | None:
    if stored.recall is None:
        return None
    return Recall(**{name: v for name, v in stored.recall.items() if name != "embedder"})


def _summarizer(stored: Settings, overrides: Mapping[str, Any]) -> Any:
    if "summarizer" in overrides or "policy" in overrides:
        return overrides.get("summarizer")
    if stored.summarizer in (None, ExtractiveSummarizer.__qualname__):
        return ExtractiveSummarizer() if stored.summarizer else None
    raise ConfigError(
        f"this session was summarized by {stored.summarizer!r}, which no store can hold; pass it "
        "again as summarizer=..., or summarizer=None to go on with the policy's own, if it has one"
    )


def replay(fold: Fold, store: Store, session: Session, stored: Settings, now: Settings) -> None:
    """Bring the fresh `fold` to the end of `session`, from its last checkpoint on.

    It is brought there within the limits that held when it was said, so that nothing is decided
    anew; after that its own hold.
    """
    limits = fold.state.limits
    fold.bound(_limits(stored, fold))
    _replay(fold, store, session)
    if now.budget != stored.budget:
        fold.state = fold.state._replace(ceiling=None)  # another budget is for another model
    if now.low_water != stored.low_water:
        fold.state = fold.state._replace(chosen=None)
    fold.bound(limits)
    if limits != _limits(stored, fold):
        fold.ask_anew()


def _limits(stored: Settings, fold: Fold) -> Limits:
    return check_limits(
        stored.budget,
        stored.low_water,
        stored.reserve,
        stored.oversize,
        stored.max_policy_ms,
        fold.policy,
        _recall(stored),
    )


def _replay(fold: Fold, store: Store, session: Session) -> None:
    found = store.last_event(session.id, "checkpoint")
    start, seq = 0, 0
    if found is not None:
        start, seq = found[1].at, found[0] + 1
        checkpoint.load(fold, start, found[1].body, lambda wanted: store.pick(session.id, wanted))
    events = store.events(session.id, seq)
    event = next(events, None)
    stop = session.version.messages
    for index, counted in enumerate(store.messages(session.id, start, stop), start):
        while event is not None and event.at <= index:
            _take_in(fold, event)
            event = next(events, None)
        fold.push(counted.message, counted.tokens)
    while event is not None:
        _take_in(fold, event)
        event = next(events, None)
    fold.journal.clear()


def _take_in(fold: Fold, event: Event) -> None:
    """Take in an event that stands behind the last checkpoint."""
    body = json.loads(event.body)
    if event.kind == "clip":
        fold.stored_clips[event.at] = Counted(Message.from_dict(body[0]), body[1])
    elif event.kind == "usage":
        counted, reported, *spent = body
        reporting.learn(fold, counted, reported, *(Spent(*sums) for sums in spent))
    elif event.kind == "low_water":
        reporting.choose_low_water(fold, LowWater(*body))
    elif event.kind == "tools":
        fold.set_tools(freeze(body, "stored tools"))
    elif event.kind == "summary":
        fold.set_running(fold.summaries.take(fold.state.running, Vetted(*body[:2]), body[2]))


def note_changes(fold: Fold, stored: Settings, now: Settings, overrides: Mapping[str, Any]) -> None:
    """Write down settings that differ from the stored ones, and that a counter was lost."""
    if stored.counter is not None and "counter" not in overrides:
        now = replace(now, counter=stored.counter)
        fold.journal.fall_back(
            "counter",
            f"the session was counted with {stored.counter!r}, which was not passed; what it "
            "counted stands, and new messages are estimated",
        )
    lost = (stored.recall or {}).get("embedder")
    if now.recall and lost and not {"embedder", "recall"} & {*overrides}:
        now = replace(now, recall={**now.recall, "embedder": lost})
        fold.journal.fall_back(
            "embedder",
            f"the session recalled with the embedder {lost!r}, which was not passed; words alone "
            "are searched",
        )
    if now != stored:
        fold.note("settings", now.dumps())
        fold.note("checkpoint", checkpoint.dump(fold))
