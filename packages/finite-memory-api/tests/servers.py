"""A small server that does wrong what servers do wrong: the faults are in its answers."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, TypeAlias

EVENTS = "text/event-stream"
JSON = "application/json"
SIP = 65_536
"""The most bytes that are read at once."""


@dataclass(frozen=True)
class Answer:
    """What is sent for one request.

    Attributes:
        chunks: the body, one write and one HTTP chunk each.
        end: ``"clean"`` ends the body as HTTP wants it; ``"fin"`` closes inside a chunk;
            ``"abort"`` resets the connection; ``"stall"`` sends nothing more until the client
            has gone or the server is closed; ``"silent"`` does so before the first byte;
            ``"drip head"`` and ``"drip chunk"`` go on for ever, in the header and in a chunk's;
            ``"sip"`` reads the request a little at a time, and ends the answer cleanly.
    """

    chunks: Sequence[bytes] = ()
    status: int = 200
    kind: str = EVENTS
    headers: Mapping[str, str] = field(default_factory=dict)
    end: str = "clean"


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answering: TypeAlias = Answer | Callable[[Asked], Answer]


class Server:
    """Listens on a port of its own until it is closed."""

    def __init__(self, answers: Sequence[Answering]) -> None:
        self.answers = list(answers)
        self._sips = any(isinstance(a, Answer) and a.end == "sip" for a in answers)
        self.asked: list[Asked] = []
        self.hung_up = Event()
        self._closing = Event()
        self._lock = Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._threads = [Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Stop listening and end what is under way."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(10)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                asked = self._sip(connection) if self._sips else _read(connection)
            except OSError:
                asked = None
            if asked is None:
                self.hung_up.set()
                return
            with self._lock:
                number = len(self.asked)
                self.asked.append(asked)
            answer = self.answers[min(number, len(self.answers) - 1)]
            try:
                self._send(connection, answer if isinstance(answer, Answer) else answer(asked))
            except OSError:
                self.hung_up.set()

    def _sip(self, connection: socket.socket) -> Asked | None:
        """Read a request as one who has other things to do."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIP)
        return _read(connection, lambda: self._closing.wait(0.01))

    def _send(self, connection: socket.socket, answer: Answer) -> None:
        if answer.end == "silent":
            self._wait(connection)
            return
        if answer.end == "drip head":
            connection.sendall(b"HTTP/1.1 200 Told\r\n")
            self._wait(connection, b"x-more: 1\r\n")
            return
        headers = {
            "content-type": answer.kind,
            "transfer-encoding": "chunked",
            "connection": "close",
            **answer.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"HTTP/1.1 {answer.status} Told\r\n{head}\r\n".encode())
        for chunk in answer.chunks:
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self._end(connection, answer.end)

    def _end(self, connection: socket.socket, end: str) -> None:
        if end in ("clean", "sip"):
            connection.sendall(b"0\r\n\r\n")
        elif end == "fin":
            connection.sendall(b"ff\r\ndata: {")
        elif end == "abort":
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif end == "drip chunk":
            connection.sendall(b"ff;")
            self._wait(connection, b"a")
        else:
            self._wait(connection)

    def _wait(self, connection: socket.socket, drop: bytes = b"") -> None:
        """Send nothing, or a drop now and then, until the client hangs up or this server closes."""
        connection.settimeout(0.05)
        while not self._closing.is_set():
            try:
                if not connection.recv(1_024):
                    self.hung_up.set()
                    return
            except TimeoutError:
                connection.sendall(drop)
            except OSError:
                self.hung_up.set()
                return


def _read(connection: socket.socket, pause: Callable[[], object] = lambda: None) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (text.partition(": ") for text in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        pause()
        more = connection.recv(SIP)
        if not more:
            return None
        body += more
    return Asked(line, headers, body)
