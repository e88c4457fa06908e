"""Reading transcripts from files: OpenAI-chat JSON and JSONL, saved sessions, LoCoMo.

A file is read whole and every message is checked before anything is done with it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ..errors import MessageError
from ..messages import Message
from ..stores.memory import InMemoryStore
from . import locomo

FORMATS = ("auto", "json", "jsonl", "session", "locomo")
_SESSION = re.compile(r'\{"format": "finite-memory-session"')
_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


class Said(NamedTuple):
    """A message of a file, and where it stands there.

    Attributes:
        message: the message.
        place: such as ``"line 12"``.
    """

    message: Message
    place: str


class _Item(NamedTuple):
    """A JSON value of a file, and where it begins."""

    value: Any
    place: str


class Source(NamedTuple):
    """A file that was read.

    Attributes:
        name: what to call it.
        said: its messages, in order; at least one.
    """

    name: str
    said: tuple[Said, ...]


def refuse(name: str, place: str, why: object) -> NoReturn:
    """Raise `MessageError` for what stands at `place` of the file `name`."""
    raise MessageError(
        f"{name}, {place}: {why}. Nothing was replayed; mend or remove it and run again"
    )


def read(path: str, form: str = "auto") -> Source:
    """Return the messages of a file.

    Args:
        path: the file; ``"-"`` for standard input.
        form: one of `FORMATS`; ``"auto"`` tells JSON, JSONL and saved sessions apart.

    Raises:
        MessageError: it cannot be read, or something in it is no message; the error names the
            file, the place and what to do.
        StoreError: a saved session that is damaged.
    """
    name = "standard input" if path == "-" else path
    text = _text(path, name)
    if not text.strip():
        refuse(name, "line 1", "the file is empty")
    if form == "session" or (form == "auto" and _SESSION.match(text)):
        said = _session(path, name)
    elif form == "locomo":
        said = _locomo(text, name)
    else:
        said = _messages(text, name, form)
    if not said:
        refuse(name, "line 1", "there is no message in it")
    return Source(name, tuple(said))


def _text(path: str, name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MessageError(
            f"cannot read {name}: {reason}; give the path of a transcript, or '-' for standard "
            "input"
        ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"line {data.count(10, 0, error.start) + 1}"
        refuse(name, place, f"byte {error.start} is no UTF-8 ({error.reason}); save it as UTF-8")


def _messages(text: str, name: str, form: str) -> list[Said]:
    if form == "jsonl" or (form == "auto" and _has_lines(text)):
        items = _lines(text, name)
    else:
        items = _document(text, name)
    return [Said(_message(item, name), item.place) for item in items]


def _has_lines(text: str) -> bool:
    """Tell JSONL from JSON: its first line is an object by itself, and another one follows."""
    first, _, rest = text.strip().partition("\n")
    if not first.startswith("{"):
        return False
    try:
        opening = json.loads(first)
    except (ValueError, RecursionError):
        return bool(re.match(r"\s*\{", rest)) and first.rstrip().endswith("}")
    return "role" in opening or bool(rest.strip())


def _lines(text: str, name: str) -> Iterator[_Item]:
    for count, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _Item(_load(line, name, count), f"line {count}")


def _load(line: str, name: str, count: int) -> Any:
    with _refusing(name, count):
        return json.loads(line)


def _document(text: str, name: str) -> Iterator[_Item]:
    """Yield the elements of a list, or of the list under "messages" of an object."""
    with _refusing(name):
        yield from _elements(text, name)


@contextmanager
def _refusing(name: str, line: int | None = None) -> Iterator[None]:
    """Turn what the JSON reader raises into `MessageError`.

    Args:
        name: the file.
        line: the line that is read by itself; None where it is the whole file.
    """
    try:
        yield
    except MessageError:
        raise
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}"
        refuse(name, place, f"no JSON ({error.msg} at column {error.colno})")
    except RecursionError:
        refuse(name, f"line {line or 1}", "no JSON that can be read: it is nested too deeply")
    except ValueError as error:
        refuse(name, f"line {line or 1}", f"no JSON that can be read: {error}")


def _elements(text: str, name: str) -> Iterator[_Item]:
    start = _skip(text, 0)
    if text[start : start + 1] == "{":
        members = dict(_members(text, start))
        if "session_1" in members and "speaker_a" in members:
            refuse(name, "line 1", "a LoCoMo conversation; read it with --format locomo")
        if "messages" not in members:
            refuse(
                name,
                "line 1",
                'an object without "messages"; give a list of messages, an object with '
                '"messages", or one message a line (JSONL)',
            )
        start = members["messages"]
    if text[start : start + 1] != "[":
        place = f"line {text.count(chr(10), 0, start) + 1}"
        refuse(name, place, "a list of messages must stand here")
    line, counted = 1, 0
    for at, value in _array(text, start):
        line, counted = line + text.count("\n", counted, at), at
        yield _Item(value, f"line {line}")


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _array(text: str, start: int) -> Iterator[tuple[int, Any]]:
    """Yield where each element of the list at `start` begins, and the element."""
    at = _skip(text, start + 1)
    more = text[at : at + 1] != "]"
    while more:
        value, end = _decode(text, at)
        yield at, value
        at, more = _next(text, end, "]")
    if not text[:start].strip():
        _end(text, at)


def _members(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Yield the keys of the object at `start`, each with where its value begins."""
    at = _skip(text, start + 1)
    more = text[at : at + 1] != "}"
    while more:
        key, end = _decode(text, at)
        value = _skip(text, _after(text, _skip(text, end), ":"))
        yield str(key), value
        at, more = _next(text, _decode(text, value)[1], "}")
    _end(text, at)


def _next(text: str, end: int, closing: str) -> tuple[int, bool]:
    """Return where it goes on behind a value that ended at `end`, and whether another follows."""
    at = _skip(text, end)
    if text[at : at + 1] == closing:
        return at, False
    return _skip(text, _after(text, at, ",")), True


def _end(text: str, at: int) -> None:
    """Refuse what follows the value that should be the whole file."""
    rest = _skip(text, at + 1)
    if rest < len(text):
        raise json.JSONDecodeError("Extra data", text, rest)


def _after(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise json.JSONDecodeError(f"Expecting {mark!r}", text, at)
    return at + 1


def _message(item: _Item, name: str) -> Message:
    value = item.value
    if isinstance(value, dict) and "role" not in value and "messages" in value:
        refuse(
            name, item.place, "a whole conversation; a file must hold one, so take it out of here"
        )
    try:
        return Message.from_dict(value)
    except MessageError as error:
        refuse(name, item.place, error)
    except RecursionError:
        refuse(name, item.place, "a message that is nested too deeply")


def _session(path: str, name: str) -> list[Said]:
    """Return the messages of a file that `Memory.save` wrote."""
    from ..persistence import read as read_session

    if path == "-":
        refuse(name, "line 1", "a saved session is read from a file; give its path")
    store = InMemoryStore()
    messages = store.messages(read_session(path, store))
    return [Said(counted.message, f"message {i}") for i, counted in enumerate(messages)]


def _locomo(text: str, name: str) -> list[Said]:
    with _refusing(name):
        conversation = json.loads(text)
    try:
        return [Said(message, place) for place, message in locomo.messages(conversation)]
    except locomo.Malformed as error:
        refuse(name, error.place, error)
