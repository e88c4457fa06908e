"""What a reply becomes: text, calls, reasoning that goes back whole, usage, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from finite_memory_api import HTTPBackend
from finite_memory_api.errors import (
    ContentFilterError,
    NotFoundError,
    PromptTooLongError,
    RefusedError,
    UnreadableReplyError,
)
from finite_memory_core import (
    Chat,
    ContextOverflowError,
    Delta,
    Interrupted,
    Message,
    ToolCall,
    Usage,
)

from .checking import check
from .replies import WIRES, event
from .servers import JSON, Answer, Server
from .turns import DRIVES, context_of, memory_of, state_of

Serve = Callable[..., Server]
USER = Message.user("How is the weather in Turin?")


def ask(serve: Serve, api: str, events: Iterable[Any], **settings: Any) -> tuple[Any, Any]:
    """The reply to a stream of events, and the body of the request that sends it back."""
    server = serve(Answer([event(e, str(e.get("type", ""))) for e in events]))
    backend = WIRES[api].backend(server.url, prices=None, **settings)
    memory = memory_of()
    reply = Chat(backend, memory).send(USER)
    more = [Message.tool("Rain", tool_call_id=call.id) for call in reply.tool_calls]
    context = context_of(USER, reply.message, *(more or [Message.user("And in Asti?")]))
    return reply, check(api, backend._codec.body(context))


def choice(delta: Any, finish: str | None = None) -> Any:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_calls_of_chat_completions(serve: Serve) -> None:
    """Two parallel calls in pieces; what is not modelled goes along; arguments byte for byte."""
    reply, sent = ask(
        serve,
        "openai-chat",
        [
            choice({"role": "assistant", "content": None}),
            choice(
                {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": ""},
                        }
                    ]
                }
            ),
            choice({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":  '}}]}),
            choice({"tool_calls": [{"index": 0, "function": {"arguments": '"Turin"}'}}]}),
            choice(
                {
                    "tool_calls": [
                        {"index": 1, "id": "c2", "function": {"name": "time", "arguments": "{}"}}
                    ]
                }
            ),
            choice({}, "tool_calls"),
            {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}},
        ],
    )
    calls = (ToolCall("c1", "weather", '{"city":  "Turin"}'), ToolCall("c2", "time", "{}"))
    assert calls == reply.tool_calls
    assert reply.finish == "tool_calls"
    assert Usage(9, 3) == reply.usage
    assert '{"city":  "Turin"}' == sent["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert ["tool", "tool"] == [message["role"] for message in sent["messages"][2:]]


@pytest.mark.parametrize("place", [{}, {"index": 0}], ids=["no index", "the same index"])
def test_another_id_is_another_call(serve: Serve, place: dict[str, int]) -> None:
    """Servers that number nothing, or all calls alike, still mean several calls."""

    def piece(**said: Any) -> Any:
        return choice({"tool_calls": [{**place, **said}]})

    reply, _ = ask(
        serve,
        "openai-chat",
        [
            piece(id="c1", function={"name": "weather", "arguments": '{"city": '}),
            piece(function={"arguments": '"Turin"}'}),
            piece(id="c2", function={"name": "weather", "arguments": ""}),
            piece(id="c2", function={"name": "weather", "arguments": '{"city": '}),
            piece(function={"arguments": '"Asti"}'}),
            choice({}, "tool_calls"),
        ],
    )
    calls = (
        ToolCall("c1", "weather", '{"city": "Turin"}'),
        ToolCall("c2", "weather", '{"city": "Asti"}'),
    )
    assert calls == reply.tool_calls


def test_a_number_that_another_call_took_is_no_matter(serve: Serve) -> None:
    """Two calls at index 0, then one at index 1: three calls."""
    calls = [(0, "c1"), (0, "c2"), (1, "c3")]
    pieces = [
        {"index": index, "id": id, "function": {"name": "weather", "arguments": "{}"}}
        for index, id in calls
    ]
    events = [*(choice({"tool_calls": [piece]}) for piece in pieces), choice({}, "tool_calls")]
    reply, _ = ask(serve, "openai-chat", events)
    assert ["c1", "c2", "c3"] == [call.id for call in reply.tool_calls]


@pytest.mark.parametrize(("calls", "kept"), [(True, True), (False, False)])
def test_reasoning_of_deepseek_goes_back_with_its_calls(
    serve: Serve, calls: bool, kept: bool
) -> None:
    """And never without them: DeepSeek refuses the one and the other."""
    call = {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": "{}"}}
    events = [
        choice({"reasoning_content": "I should "}),
        choice({"reasoning_content": "look."}),
        choice({"tool_calls": [call]} if calls else {"content": "Fine."}),
        choice({}, "stop"),
    ]
    server = serve(Answer([*map(event, events), b"data: [DONE]\n\n"]))
    backend = HTTPBackend("deepseek-v4-pro", "deepseek", base_url=server.url, api_key="k")
    reply = Chat(backend, memory_of()).send(USER)
    assert reply.message.extra["reasoning_content"] == "I should look."
    more = [Message.tool("Rain", tool_call_id="c1")] if calls else [Message.user("And?")]
    sent = json.loads(backend._codec.body(context_of(USER, reply.message, *more)))
    assert kept == (sent["messages"][1].get("reasoning_content") == "I should look.")


def test_thinking_of_anthropic_goes_back_whole(serve: Serve) -> None:
    """Signatures and redacted blocks, in order, before the call they led to."""
    reply, sent = ask(
        serve,
        "anthropic-messages",
        [
            {"type": "message_start", "message": {"usage": {"input_tokens": 9}}},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "thinking", "thinking": "", "signature": ""},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "thinking_delta", "thinking": "Look."},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "signature_delta", "signature": "c2ln"},
            },
            {"type": "content_block_stop", "index": 0},
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "redacted_thinking", "data": "ZGF0YQ=="},
            },
            {
                "type": "content_block_start",
                "index": 2,
                "content_block": {"type": "text", "text": ""},
            },
            {
                "type": "content_block_delta",
                "index": 2,
                "delta": {"type": "text_delta", "text": "Let me see."},
            },
            {
                "type": "content_block_start",
                "index": 3,
                "content_block": {"type": "tool_use", "id": "t1", "name": "weather", "input": {}},
            },
            {
                "type": "content_block_delta",
                "index": 3,
                "delta": {"type": "input_json_delta", "partial_json": '{"city": '},
            },
            {
                "type": "content_block_delta",
                "index": 3,
                "delta": {"type": "input_json_delta", "partial_json": '"Turin"}'},
            },
            {"type": "something_new", "index": 3},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use"},
                "usage": {
                    "output_tokens": 7,
                    "output_tokens_details": {"thinking_tokens": 4},
                },
            },
            {"type": "message_stop"},
        ],
    )
    assert reply.text == "Let me see."
    assert (ToolCall("t1", "weather", '{"city": "Turin"}'),) == reply.tool_calls
    assert Usage(9, 7, None, None, 4) == reply.usage
    assert [
        {"type": "thinking", "thinking": "Look.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Turin"}},
    ] == sent["messages"][1]["content"]


@pytest.mark.parametrize(
    ("used", "result"),
    [
        ("server_tool_use", "web_search_tool_result"),
        ("server_tool_use", "tool_search_tool_result"),
        ("mcp_tool_use", "mcp_tool_result"),
        ("something_new", "something_newer"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_tools_of_the_server_go_back_whole(
    serve: Serve, used: str, result: str, streamed: bool
) -> None:
    """With the input that came in pieces, and whatever kinds of block there will be."""
    query = {"query": "weather in Turin"}
    blocks: list[dict[str, Any]] = [
        {"type": used, "id": "srv_1", "name": "search", "input": query},
        {"type": result, "tool_use_id": "srv_1", "content": []},
        {"type": "text", "text": "Rain."},
    ]
    end = {"stop_reason": "end_turn"}
    if streamed:
        said = json.dumps(query)
        events: list[Any] = [{"type": "message_start", "message": {"usage": {}}}]
        for index, block in enumerate(blocks):
            begun = {**block, "input": {}} if "input" in block else block
            events.append({"type": "content_block_start", "index": index, "content_block": begun})
        for piece in (said[:9], said[9:]):
            delta = {"type": "input_json_delta", "partial_json": piece}
            events.append({"type": "content_block_delta", "index": 0, "delta": delta})
        events += [{"type": "message_delta", "delta": end}, {"type": "message_stop"}]
        answer = Answer([event(e, e["type"]) for e in events])
    else:
        body = {"type": "message", "content": blocks, "usage": {}, **end}
        answer = Answer([json.dumps(body).encode()], kind=JSON)
    backend = WIRES["anthropic-messages"].backend(serve(answer).url)
    reply = Chat(backend, memory_of()).send(USER)
    assert reply.text == "Rain."
    sent = backend._codec.body(context_of(USER, reply.message, Message.user("And in Asti?")))
    assert blocks == json.loads(sent)["messages"][1]["content"]


def test_usage_of_anthropic_adds_up(serve: Serve) -> None:
    """Its ``input_tokens`` is only the rest; what was read and written belongs to the prompt."""
    server = serve(WIRES["anthropic-messages"].answer("Rain."))
    backend = HTTPBackend("claude-sonnet-5", "anthropic", base_url=server.url, api_key="k")
    usage = Chat(backend, memory_of()).send(USER).usage
    assert usage is not None
    assert (30, 10, 15) == (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens)
    dollars = (5 * 2 + 10 * 0.2 + 15 * 2.5 + 5 * 10) / 1e6
    assert usage.cost == pytest.approx(dollars)


@pytest.mark.parametrize("cache_ttl", [None, "1h"])
def test_what_is_written_for_an_hour_costs_more(serve: Serve, cache_ttl: str | None) -> None:
    """Anthropic says how much of each there was; an hour's costs twice the input."""
    minutes = 0 if cache_ttl else 9
    usage = {
        "input_tokens": 5,
        "output_tokens": 5,
        "cache_creation_input_tokens": 6 + minutes,
        "cache_creation": {
            "ephemeral_1h_input_tokens": 6,
            "ephemeral_5m_input_tokens": minutes,
        },
    }
    content = [{"type": "text", "text": "Rain."}]
    body = {"type": "message", "content": content, "stop_reason": "end_turn", "usage": usage}
    backend = HTTPBackend(
        "claude-sonnet-5",
        "anthropic",
        base_url=serve(Answer([json.dumps(body).encode()], kind=JSON)).url,
        api_key="k",
        instructions_ttl="1h",
        cache_ttl=cache_ttl,
    )
    told = Chat(backend, memory_of()).send(USER).usage
    assert told is not None
    dollars = (5 * 2 + 6 * 4 + minutes * 2.5 + 5 * 10) / 1e6
    assert told.cost == pytest.approx(dollars)


def test_reasoning_of_responses_goes_back_whole(serve: Serve) -> None:
    """Encrypted, with the ids that tie items together."""
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    said = {
        "type": "message",
        "id": "msg_1",
        "phase": "commentary",
        "content": [{"type": "output_text", "text": "Let me see."}],
    }
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "weather",
        "arguments": "{}",
    }
    done = [{"type": "response.output_item.done", "item": item} for item in (reasoning, said, call)]
    usage = {
        "input_tokens": 9,
        "output_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3},
        "output_tokens_details": {"reasoning_tokens": 4},
    }
    reply, sent = ask(
        serve,
        "openai-responses",
        [
            {"type": "response.output_text.delta", "delta": "Let me see."},
            *done,
            {"type": "response.completed", "response": {"status": "completed", "usage": usage}},
        ],
    )
    assert reply.text == "Let me see."
    assert Usage(9, 7, 2, 3, 4) == reply.usage
    assert reply.tool_calls[0].id == "c1"
    assert [reasoning["id"], "msg_1", "fc_1"] == [item["id"] for item in sent["input"][1:4]]
    assert sent["input"][1]["encrypted_content"] == "gAAA"
    assert sent["input"][2]["phase"] == "commentary"
    assert ("function_call_output", "c1") == (sent["input"][4]["type"], sent["input"][4]["call_id"])
    assert sent["store"] is False


def test_items_of_responses_go_back_in_their_order(serve: Serve) -> None:
    """Reasoning stands before the call that it led to, however many there are."""

    def reasoning(id: str) -> Any:
        return {"type": "reasoning", "id": id, "summary": [], "encrypted_content": "gAAA"}

    def call(id: str) -> Any:
        named = {"name": "weather", "arguments": "{}"}
        return {"type": "function_call", "id": id, "call_id": f"call_{id}", **named}

    text = {"type": "output_text", "text": "Let me see."}
    said = {"type": "message", "id": "msg_1", "content": [text]}
    items = [reasoning("rs_1"), call("fc_1"), said, reasoning("rs_2"), call("fc_2"), call("fc_3")]
    events = [
        {"type": "response.output_text.delta", "delta": "Let me see."},
        *({"type": "response.output_item.done", "item": item} for item in items),
        {"type": "response.completed", "response": {"status": "completed"}},
    ]
    reply, sent = ask(serve, "openai-responses", events)
    assert ["call_fc_1", "call_fc_2", "call_fc_3"] == [made.id for made in reply.tool_calls]
    assert [item["id"] for item in items] == [item.get("id") for item in sent["input"][1:7]]
    assert all(item["type"] == "function_call_output" for item in sent["input"][7:])
    assert "item_after" not in json.dumps(sent)


def test_signatures_of_gemini_go_back_whole(serve: Serve) -> None:
    """With the text and the calls that they belong to."""
    call = {"name": "weather", "args": {"city": "Turin"}}
    parts = [
        {"text": "Thinking", "thought": True},
        {"text": "Let me "},
        {"text": "see.", "thoughtSignature": "c2ln"},
        {"functionCall": call, "thoughtSignature": "dHdv"},
    ]
    reply, sent = ask(
        serve,
        "gemini",
        [
            *({"candidates": [{"content": {"parts": [part]}}]} for part in parts),
            {
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": {
                    "promptTokenCount": 9,
                    "candidatesTokenCount": 3,
                    "thoughtsTokenCount": 4,
                },
            },
        ],
    )
    assert reply.text == "Let me see."
    assert Usage(9, 7, 0, None, 4) == reply.usage
    assert [
        {"text": "Let me see.", "thoughtSignature": "c2ln"},
        {"functionCall": call, "thoughtSignature": "dHdv"},
    ] == sent["contents"][1]["parts"]
    result = {"name": "weather", "response": {"result": "Rain"}}
    assert [{"functionResponse": result}] == sent["contents"][2]["parts"]


REFUSALS: dict[str, tuple[str, list[Any], type[Exception]]] = {
    "a refusal of OpenAI": (
        "openai-chat",
        [choice({"refusal": "I cannot "}), choice({"refusal": "do that."}), choice({}, "stop")],
        RefusedError,
    ),
    "a filter of OpenAI": (
        "openai-chat",
        [choice({"content": "Well"}), choice({}, "content_filter")],
        ContentFilterError,
    ),
    "a refusal of Responses": (
        "openai-responses",
        [
            {"type": "response.refusal.delta", "delta": "I cannot do that."},
            {"type": "response.completed", "response": {"status": "completed"}},
        ],
        RefusedError,
    ),
    "a filter of Responses": (
        "openai-responses",
        [
            {"type": "response.output_text.delta", "delta": "Well"},
            {
                "type": "response.incomplete",
                "response": {
                    "status": "incomplete",
                    "incomplete_details": {"reason": "content_filter"},
                },
            },
        ],
        ContentFilterError,
    ),
    "a refusal of Anthropic": (
        "anthropic-messages",
        [
            {"type": "message_start", "message": {"usage": {"input_tokens": 9}}},
            {"type": "message_delta", "delta": {"stop_reason": "refusal"}},
            {"type": "message_stop"},
        ],
        RefusedError,
    ),
    "a filter of Gemini": (
        "gemini",
        [{"candidates": [{"finishReason": "SAFETY"}]}],
        ContentFilterError,
    ),
    "a blocked prompt of Gemini": (
        "gemini",
        [{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}],
        ContentFilterError,
    ),
}


@pytest.mark.parametrize("what", list(REFUSALS))
@pytest.mark.parametrize("drive", DRIVES.values(), ids=list(DRIVES))
def test_a_refusal_is_never_recorded(serve: Serve, what: str, drive: Any) -> None:
    """It is an error of its own, and the memory is what it was."""
    api, events, kind = REFUSALS[what]
    server = serve(Answer([event(e, str(e.get("type", ""))) for e in events]))
    memory = memory_of(Message.system("Be brief."))
    before = state_of(memory)
    with pytest.raises(kind, match="nothing was recorded"):
        drive(Chat(WIRES[api].backend(server.url), memory), "Do it.")
    assert before == state_of(memory)


def openai_end(reason: str) -> list[Any]:
    """A reply of Chat Completions that stops for a reason."""
    return [choice({"content": "Half a "}), choice({"content": "reply"}), choice({}, reason)]


def gemini_end(reason: str) -> list[Any]:
    """A reply of Gemini that stops for a reason."""
    content = {"parts": [{"text": "Half a reply"}]}
    return [
        {"candidates": [{"content": content}]},
        {"candidates": [{"finishReason": reason}]},
    ]


@pytest.mark.parametrize(
    ("api", "events"),
    [
        *(
            pytest.param("openai-chat", openai_end(reason), id=reason)
            for reason in ("abort", "error", "insufficient_system_resource", "network_error")
        ),
        *(
            pytest.param("gemini", gemini_end(reason), id=reason)
            for reason in (
                "MALFORMED_FUNCTION_CALL",
                "MISSING_THOUGHT_SIGNATURE",
                "OTHER",
                "SOMETHING_NEW",
            )
        ),
    ],
)
@pytest.mark.parametrize("drive", DRIVES.values(), ids=list(DRIVES))
def test_a_reply_that_failed_midway_is_no_reply(
    serve: Serve, drive: Any, api: str, events: list[Any]
) -> None:
    """The provider says so in the reason it ended with; what had come is told, not recorded."""
    memory = memory_of(Message.system("Be brief."))
    before = state_of(memory)
    backend = WIRES[api].backend(serve(Answer([event(e) for e in events])).url)
    with pytest.raises(Interrupted, match="finished with") as caught:
        drive(Chat(backend, memory), "Do it.")
    assert caught.value.partial == "Half a reply"
    assert before == state_of(memory)


def anthropic_end(reason: str, *texts: str) -> list[bytes]:
    """A reply of Anthropic that stops for a reason."""
    whole = WIRES["anthropic-messages"].stream(list(texts))
    return [chunk.replace(b"end_turn", reason.encode()) for chunk in whole]


def test_a_full_window_is_an_overflow(serve: Serve) -> None:
    """Where no token of the reply fitted; a reply that was cut short is a reply."""
    reason = "model_context_window_exceeded"
    wire = WIRES["anthropic-messages"]
    with pytest.raises(ContextOverflowError, match="whole context window"):
        list(wire.backend(serve(Answer(anthropic_end(reason))).url).stream(context_of(USER)))
    server = serve(Answer(anthropic_end(reason, "It rai")))
    reply = Chat(wire.backend(server.url), memory_of()).send(USER)
    assert ("It rai", reason) == (reply.text, reply.finish)


def test_a_paused_turn_is_no_end(serve: Serve) -> None:
    """Anthropic's own tools pause a turn; half of it is not recorded."""
    server = serve(Answer(anthropic_end("pause_turn", "Let me")))
    with pytest.raises(Interrupted, match="paused"):
        Chat(WIRES["anthropic-messages"].backend(server.url), memory_of()).send(USER)


def test_a_silent_cut_is_noticed(serve: Serve) -> None:
    """A server that read far less than it was sent has cut it; nothing of the reply is shown."""
    server = serve(WIRES["openai-chat"].answer("Confident nonsense."))
    backend = WIRES["openai-chat"].backend(server.url, truncates=True)
    context = context_of(Message.user("word " * 3_000))
    shown: list[Delta] = []
    with pytest.raises(PromptTooLongError, match="silently left out") as caught:
        shown.extend(backend.stream(context))
    assert [] == shown
    assert (30, context.counted_tokens) == (caught.value.limit, caught.value.actual)
    short = list(backend.stream(context_of(USER)))
    assert short[0].text == "Confident nonsense."


def test_a_held_reply_is_shown_when_all_was_read(serve: Serve) -> None:
    """What was held back comes with the last piece."""
    context = context_of(Message.user("word " * 3_000))
    usage = {"prompt_tokens": context.counted_tokens, "completion_tokens": 2}
    events = [choice({"content": "Fine."}), choice({}, "stop"), {"choices": [], "usage": usage}]
    server = serve(Answer([*map(event, events), b"data: [DONE]\n\n"]))
    backend = WIRES["openai-chat"].backend(server.url, truncates=True)
    assert ["Fine."] == [delta.text for delta in backend.stream(context)]


def test_done_without_a_reason_is_accepted(serve: Serve) -> None:
    """Some servers never say why; the end is theirs to tell, and is marked as unstated."""
    events = [event(choice({"content": "Rain."})), b"data: [DONE]\n\n"]
    reply = Chat(WIRES["openai-chat"].backend(serve(Answer(events)).url), memory_of()).send(USER)
    assert ("Rain.", "unstated") == (reply.text, reply.finish)


def test_a_call_without_a_name_is_no_call(serve: Serve) -> None:
    """It is told, not recorded."""
    call = {"index": 0, "id": "c1", "function": {"arguments": "{}"}}
    events = [choice({"tool_calls": [call]}), choice({}, "tool_calls")]
    server = serve(Answer([event(e) for e in events]))
    with pytest.raises(UnreadableReplyError, match="without a name"):
        Chat(WIRES["openai-chat"].backend(server.url), memory_of()).send(USER)


def test_parts_and_odd_fields_of_other_servers(serve: Serve) -> None:
    """Lists of parts, numbers elsewhere, calls without an index, NUL in a text."""
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Ra\0in."}]
    call = {"id": "c1", "function": {"name": "weather", "arguments": {"city": "Turin"}}}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}
    body = {
        "choices": [{"message": {"content": parts, "tool_calls": [call]}, "finish_reason": "stop"}],
        "usage": {**usage, "cost": 0.25},
    }
    server = serve(Answer([json.dumps(body).encode()], kind=JSON))
    reply = Chat(WIRES["openai-chat"].backend(server.url), memory_of()).send(USER)
    assert reply.text == "Ra\ufffdin."
    assert (ToolCall("c1", "weather", '{"city": "Turin"}'),) == reply.tool_calls
    assert Usage(9, 1, 4, cost=0.25) == reply.usage


def test_counting_asks_the_provider(serve: Serve) -> None:
    """Each at its own path, with what a reply would be asked with."""
    answers = {
        "openai-responses": ("/v1/responses/input_tokens", {"input_tokens": 42}),
        "anthropic-messages": ("/v1/messages/count_tokens", {"input_tokens": 42}),
        "gemini": ("/v1/models/some-model:countTokens", {"totalTokens": 42}),
    }
    context = context_of(Message.system("Be brief."), USER)
    for api, (path, body) in answers.items():
        server = serve(Answer([json.dumps(body).encode()], kind=JSON))
        assert WIRES[api].backend(server.url).count_tokens(context) == 42
        assert f"POST {path} HTTP/1.1" == server.asked[0].line
    server = serve(Answer([b'{"count": 42, "max_model_len": 4096}'], kind=JSON))
    vllm = HTTPBackend("m", "vllm", base_url=server.url)
    assert vllm.count_tokens(context) == 42
    assert server.asked[0].line == "POST /tokenize HTTP/1.1"
    with pytest.raises(NotFoundError):
        HTTPBackend("m", "vllm", base_url=serve(Answer(status=404)).url).count_tokens(context)
    with pytest.raises(Exception, match="no service that counts"):
        WIRES["openai-chat"].backend("http://127.0.0.1:1/v1").count_tokens(context)
