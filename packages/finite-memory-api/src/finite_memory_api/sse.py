"""Server-sent events, from bytes that may be cut anywhere. No I/O.

Follows the HTML standard, section 9.2: lines end with LF, CR or CRLF, comments begin with a
colon, several ``data`` lines are joined by a line end, and an empty line ends an event.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

MAX_EVENT = 64 * 1024 * 1024
"""Characters; the last event of the Responses API repeats the whole reply."""


class EventTooLarge(ValueError):
    """An event that never ends."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is "" where the stream gave none."""

    name: str
    data: str


class EventDecoder:
    """Turns chunks of bytes into events. An event that is not ended when the bytes end is none."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._max = max_event
        self._rest: list[str] = []
        self._held = 0
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []
        self.comments = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that are complete with `chunk`.

        Raises:
            EventTooLarge: one has more than `max_event` characters.
        """
        text = self._utf8.decode(chunk)
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        if "\n" not in text and "\r" not in text:
            self._hold(text)
            return []
        self._after_cr = text.endswith("\r")
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines[0] = "".join([*self._rest, lines[0]])
        self._rest, self._held = [], sum(map(len, self._data))
        events = [event for line in lines if (event := self._line(line)) is not None]
        self._hold(rest)
        return events

    def _hold(self, text: str) -> None:
        if text:
            self._rest.append(text)
            self._held += len(text)
        if self._held > self._max:
            raise EventTooLarge(f"an event of more than {self._max:,} characters")

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not field:
            self.comments += 1
        elif field == "data":
            self._data.append(value)
            self._held += len(value)
        elif field == "event":
            self._name = value
        return None

    def _dispatch(self) -> Event | None:
        data, name = self._data, self._name
        self._data, self._name, self._held = [], "", 0
        return Event(name, "\n".join(data)) if data else None
