"""All tests here need the page's server, and no browser."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from ..pages import chat_page
from ..serving import proxy

__all__ = ["chat_page", "proxy"]
