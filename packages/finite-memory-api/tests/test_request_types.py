"""Whatever was said and however it was trimmed, providers' own types accept the request."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from finite_memory_api import PROFILES, BadRequestError, HTTPBackend
from finite_memory_core import BudgetError, Context, Memory, Message, Recall, ToolCall
from finite_memory_core.policies import POLICIES
from finite_memory_core.testing.streams import Shape, stream

from .checking import check, knows_breakpoints
from .replies import WIRES, Wire
from .turns import context_of

TOOL = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Searches.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
    },
}
EACH_WIRE = pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))


def backend(wire: Wire, model: str = "gpt-4o", **more: Any) -> HTTPBackend:
    """A backend of `wire` that will not be asked anything."""
    return HTTPBackend(model, wire.profile, api=wire.api, api_key="k", **more)


def models_of(wire: Wire) -> list[str]:
    """Models with and without breakpoints."""
    if wire.profile == "openai":
        return ["gpt-4o", "gpt-5.6-sol"] if knows_breakpoints() else ["gpt-4o"]
    return ["claude-sonnet-5"] if wire.profile == "anthropic" else ["gemini-2.5-flash"]


BACKENDS = [backend(wire, model) for wire in WIRES.values() for model in models_of(wire)]
PLAIN = [
    HTTPBackend("m", name, base_url="http://host/v1", api_key="k", cache=False)
    for name in ("deepseek", "mistral", "vllm", "ollama")
]


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from(["chat", "agent", "rough"]),
    policy=st.sampled_from(sorted(POLICIES)),
    budget=st.sampled_from([700, 1_500, 4_000]),
    recall=st.booleans(),
    tools=st.booleans(),
)
def test_any_trimmed_transcript_is_accepted(
    seed: int, shape: Shape, policy: str, budget: int, recall: bool, tools: bool
) -> None:
    """Five policies, three shapes of traffic, with recall and tools or without."""
    memory = Memory(
        budget,
        policy,
        oversize="clip",
        recall=Recall() if recall else None,
        tools=[TOOL] if tools else (),
    )
    turns = 12
    for step in stream(shape, seed, turns, budget):
        try:
            memory.append(*step.messages)
        except BudgetError:  # a round that cannot fit is core's to refuse
            return
        if step.calls_model and step.turn >= turns - 2:
            accept(memory.context())


def accept(context: Context) -> None:
    """Hold the requests of every backend for `context` against their types."""
    for one in BACKENDS:
        data = check(one._codec.name, one._codec.body(context))
        require_all_said(data, context)
        require_few_marks(data)
    for one in PLAIN:
        data = check("openai-chat", one._codec.body(context))
        require_alternation(data["messages"], one.name)


def require_all_said(data: Any, context: Context) -> None:
    """Nothing that the context holds is missing from the request."""
    sent = json.dumps(data, ensure_ascii=False)
    for message in context.messages:
        for word in message.text.split()[:50]:
            assert json.dumps(word, ensure_ascii=False)[1:-1] in sent or word in sent
        for call in message.tool_calls:
            assert f'"{call.name}"' in sent


def require_few_marks(data: Any) -> None:
    """No more breakpoints than providers take."""
    sent = json.dumps(data)
    assert sent.count('"cache_control"') <= 4
    assert sent.count('"prompt_cache_breakpoint"') <= 3


def require_alternation(messages: list[Any], name: str) -> None:
    """Servers with strict templates get one system message, then users and assistants in turn."""
    if name.startswith("deepseek"):
        return
    roles = [message["role"] for message in messages]
    assert "system" not in roles[1:]
    spoken = [role for role in roles if role != "tool"]
    assert all(a != b for a, b in pairwise(roles) if a != "tool"), roles
    assert spoken[0] in ("system", "user")


CALL = ToolCall("call_1.x|y", "search", '{"query":  "Turin",\n "n": 1e2}')
SAID: dict[str, list[Message]] = {
    "a name": [Message.user("Hello", name="Ada Lovelace <x>")],
    "a developer": [Message("developer", "Be brief."), Message.user("Hello")],
    "instructions in the middle": [
        Message.user("Hello"),
        Message.assistant("Hi."),
        Message.system("Now be brief."),
        Message.user("Who are you?"),
    ],
    "blank text": [Message.user(" "), Message.assistant("\n"), Message.user("x")],
    "a call and its result": [
        Message.user("Where?"),
        Message.assistant("Let me see.", tool_calls=[CALL]),
        Message.tool("Rain", tool_call_id=CALL.id),
    ],
    "a call with arguments that are no object": [
        Message.user("Where?"),
        Message.assistant(None, tool_calls=[ToolCall("a", "search", "[1, NaN"), CALL]),
        Message.tool("", tool_call_id="a"),
        Message.tool('{"ok": true}', tool_call_id=CALL.id),
        Message.user("And?"),
    ],
    "an image of OpenAI": [
        Message.user(
            [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                {"type": "image_url", "image_url": {"url": "https://host/x.png", "detail": "low"}},
            ]
        )
    ],
    "an image of Responses": [
        Message.user([{"type": "input_image", "image_url": "data:image/png;base64,aGk="}])
    ],
    "an image of Anthropic": [
        Message.user(
            [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
                }
            ]
        )
    ],
    "a file of OpenAI": [
        Message.user(
            [
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
                }
            ]
        )
    ],
    "a document of Anthropic": [
        Message.user(
            [
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                }
            ]
        )
    ],
    "thinking of Anthropic": [
        Message.user("Hello"),
        Message.assistant(
            [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                {"type": "text", "text": "Hi."},
            ],
            tool_calls=[CALL],
        ),
        Message.tool("Rain", tool_call_id=CALL.id),
    ],
    "reasoning of Responses": [
        Message.user("Hello"),
        Message.assistant(
            [
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
                {"type": "output_text", "text": "Hi.", "item_id": "msg_1"},
            ],
            tool_calls=[ToolCall("call_9", "search", "{}", extra={"item_id": "fc_1"})],
        ),
        Message.tool("Rain", tool_call_id="call_9"),
    ],
    "signatures of Gemini": [
        Message.user("Hello"),
        Message.assistant(
            [{"type": "text", "text": "Hi.", "thought_signature": "c2ln"}],
            tool_calls=[ToolCall("call_0", "search", "{}", extra={"thought_signature": "c2ln"})],
        ),
        Message.tool("Rain", tool_call_id="call_0"),
    ],
    "reasoning of DeepSeek": [
        Message.user("Hello"),
        Message.assistant("Hi.", extra={"reasoning_content": "Hm."}),
        Message.user("And?"),
    ],
    "a custom call": [
        Message.user("Hello"),
        Message.assistant(None, tool_calls=[ToolCall("c", "sql", "SELECT 1", type="custom")]),
        Message.tool("1", tool_call_id="c"),
    ],
}


@EACH_WIRE
@pytest.mark.parametrize("what", list(SAID))
def test_what_one_provider_said_another_accepts(wire: Wire, what: str) -> None:
    """A conversation may go on at another provider: what only its maker reads is left out."""
    context = context_of(*SAID[what])
    for model in models_of(wire):
        one = backend(wire, model)
        check(wire.api, one._codec.body(context))


@EACH_WIRE
def test_tools_of_either_shape_are_accepted(wire: Wire) -> None:
    """OpenAI's nested shape, Responses' flat one, Anthropic's: all are written as the API's own."""
    function: dict[str, Any] = TOOL["function"]  # type: ignore[assignment]
    flat = {"type": "function", **function}
    anthropic = {k: function[k] for k in ("name", "description")}
    anthropic["input_schema"] = function["parameters"]
    written = set()
    for tool in (TOOL, flat, anthropic):
        context = context_of(Message.user("Hello"), tools=[tool])
        data = check(wire.api, backend(wire)._codec.body(context))
        written.add(json.dumps(data["tools"], sort_keys=True))
    assert len({text.replace(', "strict": false', "") for text in written}) == 1


@EACH_WIRE
def test_a_limit_of_the_reply_is_accepted(wire: Wire) -> None:
    """`max_tokens` is written in each API's word for it."""
    body = backend(wire, max_tokens=77, streaming=False)._codec.body(context_of(Message.user("x")))
    assert "77" in json.dumps(check(wire.api, body))


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_makes_a_request(name: str) -> None:
    """Each row of the table works for every shape of conversation."""
    made = HTTPBackend("m", name, base_url="http://host/v1", api_key="k")
    for messages in SAID.values():
        media = any(not isinstance(m.content, str | None) and m.role == "user" for m in messages)
        if not media:
            assert json.loads(made._codec.body(context_of(*messages)))


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "file-1"}}
LINK = {"type": "input_file", "file_url": "https://host/a.pdf"}
ODD = {"type": "hologram", "data": "x"}
RESULT = [
    Message.user("x"),
    Message.assistant(None, tool_calls=[ToolCall("c", "search", "{}")]),
    Message.tool([IMAGE], tool_call_id="c"),
]
REFUSED = [
    ("openai-chat", [Message.user([ODD])], "hologram"),
    ("openai-chat", [Message.user([LINK])], "file by this kind of reference"),
    ("openai-chat", RESULT, "'image'"),
    ("openai-responses", [Message.user([AUDIO])], "'audio'"),
    ("openai-responses", [Message.user([ODD])], "hologram"),
    ("openai-responses", [Message.user("x"), Message.assistant([IMAGE])], "image_url"),
    ("anthropic-messages", [Message.user([AUDIO])], "'audio'"),
    ("anthropic-messages", [Message.user([IMAGE])], "image/tiff"),
    ("anthropic-messages", [Message.user([FILE])], "another provider's id"),
    ("anthropic-messages", [Message.user("x"), Message.assistant([IMAGE])], "image"),
    ("gemini", [Message.user([ODD])], "hologram"),
    ("gemini", [Message.user([FILE])], "another provider's id"),
]


@pytest.mark.parametrize(("api", "messages", "said"), REFUSED)
def test_what_a_format_cannot_carry_is_refused(
    api: str, messages: list[Message], said: str
) -> None:
    """It is an error that names the part, never a silent gap."""
    with pytest.raises(BadRequestError, match=said):
        backend(WIRES[api])._codec.body(context_of(*messages))


@pytest.mark.parametrize(
    ("api", "part"),
    [
        ("openai-chat", AUDIO),
        ("openai-chat", FILE),
        ("openai-responses", FILE),
        ("openai-responses", LINK),
        ("openai-responses", {"type": "input_image", "file_id": "file-1"}),
        ("anthropic-messages", LINK),
        ("gemini", AUDIO),
        ("gemini", LINK),
    ],
)
def test_media_by_data_by_address_and_by_name(api: str, part: dict[str, Any]) -> None:
    """Each as far as the format has a place for it."""
    context = context_of(Message.user([{"type": "text", "text": "What is this?"}, part]))
    check(api, backend(WIRES[api])._codec.body(context))
