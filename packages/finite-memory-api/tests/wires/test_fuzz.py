"""The server, fuzzed by schemathesis from its description in ``docs/openapi.yaml``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

schemathesis: Any = pytest.importorskip("schemathesis", reason="needs schemathesis")
pytest.importorskip("starlette", reason="needs the extra [server]")

from ..servers import JSON, Answer, Server  # noqa: E402
from ..serving import Starter, proxy  # noqa: E402

__all__ = ["proxy"]

PLACE = Path(__file__).parents[4] / "docs" / "openapi.yaml"
if not PLACE.is_file():
    pytest.skip("the description is in the repository, not in an sdist", allow_module_level=True)
SCHEMA = schemathesis.openapi.from_path(str(PLACE))
Serve = Callable[..., Server]


@pytest.fixture
def url(serve: Serve, proxy: Starter) -> str:
    """A server whose budget many of the requests exceed."""
    return proxy(serve(Answer([b'{"id": "1"}'], kind=JSON)).url, 60).url


@SCHEMA.parametrize()  # type: ignore[untyped-decorator]
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[*HealthCheck],
)
def test_each_answer_is_as_described(case: Any, url: str) -> None:
    """Whatever is sent, by the description or against it: a described status, shape and type."""
    checks = (
        schemathesis.checks.not_a_server_error,
        schemathesis.specs.openapi.checks.status_code_conformance,
        schemathesis.specs.openapi.checks.content_type_conformance,
        schemathesis.specs.openapi.checks.response_schema_conformance,
    )
    case.call_and_validate(base_url=url, checks=checks, timeout=60)
