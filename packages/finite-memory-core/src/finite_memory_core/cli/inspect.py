"""``finite-memory inspect``: the sessions of a store, or one of them. Nothing is changed."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .. import resuming
from ..errors import ConfigError, FiniteMemoryError
from ..memory import Memory
from ..settings import Settings
from ..stores.base import Session, Store
from .showing import (
    described,
    eviction_as_dict,
    print_context,
    print_eviction,
    print_stats,
    said,
    speaker,
)
from .snapshot import open_snapshot
from .terminal import clean, counted, number, print_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "store",
        metavar="STORE",
        help="an SQLite file, postgresql://..., or a session saved by Memory.save",
    )
    parser.add_argument(
        "session", metavar="SESSION", nargs="?", help="a session in it (default: list them all)"
    )
    parser.add_argument("--transcript", action="store_true", help="print all that was said")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """List the sessions, or show one."""
    if options.transcript and options.session is None:
        raise ConfigError("--transcript prints one session; name it behind the store")
    with open_snapshot(options.store) as store:
        if options.session is None:
            show = _list_as_json if options.json else _list
            show(store)
        else:
            _require(store, options.session)
            show_one = _show_as_json if options.json else _show
            show_one(store, options)
    return 0


def _require(store: Store, session_id: str) -> None:
    if store.session(session_id) is None:
        known = ", ".join(repr(session.id) for session in store.sessions()[-5:]) or "none"
        raise ConfigError(f"there is no session {session_id!r} in this store; the latest: {known}")


# -- all of them --------------------------------------------------------------------------------


def _found(store: Store) -> list[tuple[Session, Settings]]:
    return [resuming.find(store, session.id) for session in store.sessions()]


def _list(store: Store) -> None:
    found = _found(store)
    if not found:
        print("no sessions")
        return
    rows = (
        [clean(session.id), number(session.version.messages), settings.policy,
         number(settings.budget)]
        for session, settings in found
    )  # fmt: skip
    print_table(("session", "messages", "policy", "budget"), rows)


def _list_as_json(store: Store) -> None:
    _dump(
        {
            "sessions": [
                {
                    "id": session.id,
                    "messages": session.version.messages,
                    "settings": json.loads(settings.dumps()),
                }
                for session, settings in _found(store)
            ]
        }
    )


# -- one of them --------------------------------------------------------------------------------


def _show(store: Store, options: argparse.Namespace) -> None:
    session, settings = resuming.find(store, options.session)
    print(f"session {clean(session.id)}: {counted(session.version.messages, 'message')}")
    if options.transcript:
        _print_transcript(store, session)
        return
    try:
        memory = Memory.resume(store, session.id)
    except FiniteMemoryError as error:
        print(f"policy  {described(settings)}")
        print(f"its context cannot be shown: {clean(str(error))}")
        return
    print_stats(memory.settings, memory.stats)
    print("\ncontext now: ", end="")
    print_context(memory, memory.context())
    print()
    print_eviction(memory, memory.dry_run(), "an eviction now")  # earlier ones are not stored


def _print_transcript(store: Store, session: Session) -> None:
    for i, (message, tokens) in enumerate(store.messages(session.id)):
        when = "" if message.timestamp is None else f", {message.timestamp:%Y-%m-%d %H:%M}"
        print(f"\n#{i} {speaker(message)}{when}, {counted(tokens, 'token')}")
        print(clean(said(message)))


def _show_as_json(store: Store, options: argparse.Namespace) -> None:
    session, settings = resuming.find(store, options.session)
    data: dict[str, Any] = {
        "id": session.id,
        "messages": session.version.messages,
        "settings": json.loads(settings.dumps()),
    }
    if options.transcript:
        data["transcript"] = [each.message.to_dict() for each in store.messages(session.id)]
    try:
        memory = Memory.resume(store, session.id)
    except FiniteMemoryError as error:
        data["problem"] = str(error)
    else:
        data["stats"] = memory.stats.to_dict()
        data["context"] = memory.context().to_dict()
        data["next_eviction"] = eviction_as_dict(memory.dry_run())
    _dump(data)


def _dump(data: dict[str, Any]) -> None:
    json.dump(data, sys.stdout, ensure_ascii=False, indent=2)
    print()
