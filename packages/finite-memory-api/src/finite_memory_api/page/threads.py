"""Threads of the page's own: however long it reads, the server's work waits for none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

MOST_THREADS = 8
_P = ParamSpec("_P")
_T = TypeVar("_T")
_EXECUTOR = ThreadPoolExecutor(MOST_THREADS, "finite-memory-page")


async def apart(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call `function` in one of the threads, and return what it returns."""
    call = asyncio.get_running_loop().run_in_executor
    return await call(_EXECUTOR, lambda: function(*args, **kwargs))
