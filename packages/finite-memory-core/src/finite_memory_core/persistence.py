"""One session in one file: JSON, versioned, checksummed, written atomically.

::

    {"format": "finite-memory-session", "version": 1, "id": "...", "settings": {...},
    "messages": [
    [tokens, {message}],
    ...
    ],
    "events": [
    ["kind", at, "body"],
    ...
    ],
    "sha256": "..."}

The checksum is of every byte before the line that holds it, so a file that was cut short or edited
is refused. There is no pickle and nothing in it is executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CorruptError, StoreError, VersionError
from .messages import Message
from .stores.base import Counted, Event, Store, Version

if TYPE_CHECKING:
    from os import PathLike

FORMAT = "finite-memory-session"
VERSION = 1
_SEAL = b'\n"sha256": "'
_BATCH = 1_000


def write(path: str | PathLike[str], store: Store, session_id: str) -> None:
    """Write the session to `path`; what stood there before stays until the new file is complete.

    Raises:
        StoreError: it cannot be written.
    """
    target = _file(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        try:
            with temporary.open("xb") as file:
                digest = sha256()
                for piece in _pieces(store, session_id):
                    data = piece.encode()
                    digest.update(data)
                    file.write(data)
                file.write(_SEAL + digest.hexdigest().encode() + b'"}\n')
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_directory(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot write the session to {str(target)!r}: {error.strerror or error}; what stood "
            "there before is unchanged. Check the directory, its permissions and the free space"
        ) from error


def _file(path: str | PathLike[str]) -> Path:
    """Return `path` if it can name a file."""
    try:
        file = Path(path)
    except TypeError as error:
        raise StoreError(f"a session is saved to a path, got {path!r:.80}") from error
    if not file.name or "\0" in str(file):
        raise StoreError(f"{str(path)!r:.80} names no file; give a path such as 'session.json'")
    return file


def _sync_directory(directory: Path) -> None:
    """Make the new name durable; not every system can open a directory."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _pieces(store: Store, session_id: str) -> Iterator[str]:
    session = store.session(session_id)
    if session is None:
        raise StoreError(f"session {session_id!r} is no longer in the store; nothing was written")
    head = {"format": FORMAT, "version": VERSION, "id": session_id}
    yield json.dumps(head, ensure_ascii=False)[:-1]
    yield f', "settings": {session.settings},\n"messages": ['
    stored = store.messages(session_id, 0, session.version.messages)
    yield from _rows([c.tokens, c.message.to_dict()] for c in stored)
    yield '\n],\n"events": ['
    yield from _rows(list(e) for e in islice(store.events(session_id), session.version.events))
    yield "\n],"


def _rows(rows: Iterable[list[Any]]) -> Iterator[str]:
    separator = "\n"
    for row in rows:
        yield separator + json.dumps(row, ensure_ascii=False)
        separator = ",\n"


def read(path: str | PathLike[str], store: Store) -> str:
    """Put the session in `path` into `store` and return its name.

    Raises:
        StoreError: the file cannot be read; `CorruptError` where it is not what was written,
            `VersionError` where a newer release wrote it.
    """
    try:
        data = _file(path).read_bytes()
    except OSError as error:
        raise StoreError(
            f"cannot read a session from {str(path)!r}: {error.strerror or error}"
        ) from error
    name = str(path)
    _check_version(data, name)
    document = _unsealed(data, name)
    try:
        return _restore(document, store)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptError(
            f"{name!r} has the right checksum but not the right content ({error!r}); it was "
            "not written by this package"
        ) from error


def _check_version(data: bytes, name: str) -> None:
    """Refuse what is no session, or a newer one, whose checksum may be made differently."""
    opening = f'{{"format": "{FORMAT}", "version": '.encode()
    if not data.startswith(opening):
        raise CorruptError(
            f"{name!r} does not begin as a session saved by Finite Memory does; give the path "
            "that was passed to Memory.save"
        )
    digits = data[len(opening) : len(opening) + 20].partition(b",")[0]
    if not digits.isdigit():
        raise CorruptError(f"{name!r} is damaged: its version reads {digits[:20]!r}")
    if int(digits) > VERSION:
        raise VersionError(
            f"{name!r} has format version {int(digits)}, this release reads up to {VERSION}; "
            "upgrade finite-memory-core"
        )


def _unsealed(data: bytes, name: str) -> dict[str, Any]:
    body, seal, rest = data.rpartition(_SEAL)
    if not seal or not rest.endswith(b'"}\n'):
        raise CorruptError(f"{name!r} was cut short: its end, with the checksum, is missing")
    if sha256(body).hexdigest().encode() != rest[:-3]:
        raise CorruptError(
            f"{name!r} was changed after it was saved: its checksum does not match. Restore it "
            "from a copy"
        )
    try:
        document: dict[str, Any] = json.loads(data)  # it opens with a brace
    except ValueError as error:
        raise CorruptError(f"{name!r} is not JSON: {error}") from error
    return document


def _restore(document: dict[str, Any], store: Store) -> str:
    session_id: str = document["id"]
    store.create(session_id, json.dumps(document["settings"]))
    messages = (Counted(Message.from_dict(m), int(tokens)) for tokens, m in document["messages"])
    written = 0
    while batch := list(islice(messages, _BATCH)):
        store.append(session_id, Version(written, 0), batch, ())
        written += len(batch)
    events = [Event(kind, at, body) for kind, at, body in document["events"]]
    store.append(session_id, Version(written, 0), (), events)
    return session_id
