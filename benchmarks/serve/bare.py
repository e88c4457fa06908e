"""A pass-through with nothing in it, on the same parts: what the server is compared with.

``python bare.py PORT UPSTREAM``
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

LIMITS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=1_000)


def app(upstream: str) -> Starlette:
    """Return the application."""
    client = httpx2.AsyncClient(base_url=upstream, limits=LIMITS, timeout=60, trust_env=False)

    async def forward(request: Request) -> StreamingResponse:
        body = await request.body()
        headers = {"content-type": "application/json"}
        asked = client.build_request("POST", request.url.path, content=body, headers=headers)
        answer = await client.send(asked, stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            finally:
                await answer.aclose()

        return StreamingResponse(pieces(), answer.status_code, media_type="text/event-stream")

    return Starlette(routes=[Route("/{path:path}", forward, methods=["POST"])])


if __name__ == "__main__":
    port, url = sys.argv[1:]
    quiet = {"access_log": False, "log_level": "error"}
    uvicorn.run(app(url), host="127.0.0.1", port=int(port), http="h11", **quiet)  # type: ignore[arg-type]
