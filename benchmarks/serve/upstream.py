"""An upstream that costs nearly nothing: it reads a request and streams the same events.

``python upstream.py PORT EVENTS``
"""

from __future__ import annotations

import asyncio
import sys

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" a word"}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def serve(port: int, events: int) -> None:
    """Serve for ever."""
    piece = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(HEAD)
                for _ in range(events):
                    writer.write(piece)
                    await asyncio.sleep(0)  # each event its own write
                writer.write(b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", port, limit=1 << 24, backlog=1_000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
