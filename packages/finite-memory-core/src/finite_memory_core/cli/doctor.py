"""``finite-memory doctor``: whether this installation works, and what it could use besides."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import NamedTuple

from .terminal import clean

_OLDEST = (3, 11)
_EXTRAS = {
    "tiktoken": "tiktoken",
    "tokenizers": "tokenizers",
    "rich": "rich",
    "postgres": "psycopg",
}


class Check(NamedTuple):
    """What was looked at.

    Attributes:
        name: what it is.
        state: ``"ok"``; ``"missing"`` for something that can be done without; ``"broken"``.
        detail: what was found, and what to do about it.
    """

    name: str
    state: str
    detail: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Check everything; 1 if something is broken that is needed."""
    checks = [check for group in _GROUPS for check in group()]
    broken = [check for check in checks if check.state == "broken"]
    if options.json:
        found = {"ok": not broken, "checks": [check._asdict() for check in checks]}
        json.dump(found, sys.stdout, ensure_ascii=False, indent=2)
        print()
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{check.state:<8} {check.name:<{width}}  {clean(check.detail)}")
        print("everything that is needed works" if not broken else f"{len(broken)} broken")
    return 1 if broken else 0


def _python() -> Iterator[Check]:
    found = f"{platform.python_version()} ({platform.python_implementation()}, {sys.platform})"
    state = "ok" if sys.version_info[:2] >= _OLDEST else "broken"
    yield Check("python", state, found)


def _distributions() -> Iterator[Check]:
    found: dict[str, str] = {}
    for each in distributions():
        name = (each.metadata["Name"] or "").lower().replace("_", "-")
        if name.startswith("finite-memory-"):
            found.setdefault(name, each.version)  # of several the first on the path is imported
    if "finite-memory-core" not in found:
        yield Check("finite-memory-core", "broken", "no metadata: install it with pip")
    agree = len(set(found.values())) <= 1
    for name, number in sorted(found.items()):
        advice = "" if agree else "; versions differ: install the same version of all of them"
        yield Check(name, "ok" if agree else "broken", number + advice)


def _sqlite() -> Iterator[Check]:
    try:
        import sqlite3
    except ImportError as error:
        yield Check("sqlite", "broken", f"{error}; Python was built without it")
        return
    yield Check("sqlite", "ok", sqlite3.sqlite_version)
    with sqlite3.connect(":memory:") as db:
        options = {row[0] for row in db.execute("PRAGMA compile_options")}
    has_search = "ENABLE_FTS5" in options
    yield Check("sqlite FTS5", "ok" if has_search else "missing", "full-text search")
    db.close()
    yield _write_ahead_log()


def _write_ahead_log() -> Check:
    """Keep a message in a store, and read it again."""
    from ..errors import FiniteMemoryError
    from ..memory import Memory
    from ..messages import Message
    from ..stores.sqlite import SQLiteStore

    try:
        with tempfile.TemporaryDirectory() as folder, SQLiteStore(Path(folder, "s.db")) as store:
            Memory(1_000, store=store, session_id="doctor").append(Message.user("Hello."))
            kept = len(Memory.resume(store, "doctor").transcript)
    except (FiniteMemoryError, OSError) as error:
        return Check("store", "broken", str(error))
    return Check("store", "ok" if kept == 1 else "broken", "a store was written and read again")


def _extras() -> Iterator[Check]:
    for name, package in _EXTRAS.items():
        try:
            yield Check(f"extra {name}", "ok", version(package))
        except PackageNotFoundError:
            advice = f"optional: pip install 'finite-memory-core[{name}]'"
            yield Check(f"extra {name}", "missing", advice)


def _directories() -> Iterator[Check]:
    for name, folder in (("current folder", "."), ("temporary folder", tempfile.gettempdir())):
        place = str(Path(folder).absolute())
        if os.access(folder, os.W_OK):
            free = shutil.disk_usage(folder).free / (1 << 30)
            yield Check(name, "ok", f"{place} can be written, {free:.1f} GiB free")
        else:
            yield Check(name, "missing", f"{place} cannot be written; stores cannot be kept there")


def _terminal() -> Iterator[Check]:
    encoding = sys.stdout.encoding or "unknown"
    kind = "a terminal" if sys.stdout.isatty() else "no terminal (piped)"
    size = shutil.get_terminal_size()
    state = "ok" if encoding.lower().replace("-", "") == "utf8" else "missing"
    advice = "" if state == "ok" else "; set PYTHONUTF8=1 to see every script"
    yield Check("output", state, f"{kind}, {size.columns} columns, {encoding}{advice}")


_GROUPS: tuple[Callable[[], Iterator[Check]], ...] = (
    _python,
    _distributions,
    _sqlite,
    _extras,
    _directories,
    _terminal,
)
