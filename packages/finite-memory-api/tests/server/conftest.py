"""All tests here run the server."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from ..serving import proxy

__all__ = ["proxy"]
