"""Prompt caches: the prefix stays the same to the byte, and breakpoints stand where they pay."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest

from finite_memory_api import HTTPBackend, OpenAIBackend, prices_of
from finite_memory_api.codecs.layout import Group, Layouts, Rules
from finite_memory_core import ConfigError, Context, Memory, Message, Recall, Role, ToolCall
from finite_memory_core.testing.streams import plain_chat

from .checking import knows_breakpoints
from .replies import WIRES, Wire
from .turns import context_of

EACH_WIRE = pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
LISTS = {
    "openai-chat": "messages",
    "openai-responses": "input",
    "anthropic-messages": "messages",
    "gemini": "contents",
}
MARKS = ("cache_control", "prompt_cache_breakpoint")


def made(wire: Wire, model: str = "gpt-4o", **settings: Any) -> HTTPBackend:
    """A backend of `wire` that will not be asked anything."""
    return HTTPBackend(model, wire.profile, api=wire.api, api_key="k", **settings)


def claude(**settings: Any) -> HTTPBackend:
    return made(WIRES["anthropic-messages"], "claude-sonnet-5", **settings)


@EACH_WIRE
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5.6-sol", "claude-sonnet-5", "gemini-2.5-pro"])
def test_what_was_sent_is_sent_again_to_the_byte(wire: Wire, model: str) -> None:
    """Between two evictions each request begins with the one before it, breakpoints aside."""
    backend, fresh = made(wire, model), made(wire, model)
    memory = Memory(2_000)
    before, evictions, grown = b"", -1, 0
    for step in plain_chat(1, 40, 2_000):
        memory.append(*step.messages)
        if not step.calls_model:
            continue
        context = memory.context()
        body = backend._codec.body(context)
        assert body == fresh._codec.body(context)  # remembering changes nothing
        bare = without_marks(body)
        if memory.stats.evictions == evictions:
            assert bare.startswith(before[: before.rindex(b"]")])
            grown += 1
        before, evictions = bare, memory.stats.evictions
        fresh = made(wire, model)
    assert grown > 25


def without_marks(body: bytes) -> bytes:
    """The request without breakpoints, its messages last."""
    for mark in (
        b',"cache_control":{"type":"ephemeral"}',
        b',"prompt_cache_breakpoint":{"mode":"explicit"}',
    ):
        body = body.replace(mark, b"")
    return body


def marked_texts(backend: HTTPBackend, context: Context) -> list[str]:
    """The texts with a breakpoint, in order."""
    found: list[str] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if any(mark in value for mark in MARKS):
                inner = value.get("content", [value])
                found.append(str(value.get("text") or value.get("name") or inner[-1].get("text")))
            for item in value.values():
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)

    look(json.loads(backend._codec.body(context)))
    return found


def talk(memory: Memory, *texts: str) -> Context:
    """Append questions and answers in turn, and show the context of the last question."""
    for text in texts[:-1]:
        role = Message.assistant if text.startswith("a") else Message.user
        memory.append(role(text))
        if not text.startswith("a"):
            memory.context()
    memory.append(Message.user(texts[-1]))
    return memory.context()


def test_breakpoints_stand_at_the_ends() -> None:
    """Behind the instructions, behind what the last request ended with, behind this one."""
    memory = Memory(2_000)
    memory.append(Message.system("Be brief."))
    context = talk(memory, "u1", "a1", "u2", "a2", "u3")
    assert ["Be brief.", "u2", "u3"] == marked_texts(claude(), context)


def test_the_first_request_is_marked_at_its_end() -> None:
    """There is nothing before it."""
    assert ["u1"] == marked_texts(claude(), context_of(Message.user("u1")))


def test_tools_are_marked_where_there_are_no_instructions() -> None:
    """They stand before everything else."""
    tool = {"name": "search", "description": "x", "input_schema": {"type": "object"}}
    context = context_of(Message.user("u1"), tools=[tool])
    assert sorted(["search", "u1"]) == sorted(marked_texts(claude(), context))


def recalling() -> Context:
    """A context with recalled text before its question."""
    memory = Memory(400, recall=Recall(gate=0.0), low_water=0.5)
    memory.append(Message.system("Be brief."), Message.user("My locker code is 4711, blue door."))
    memory.append(Message.assistant("Noted."))
    for number in range(12):
        memory.append(Message.user(f"Tell me of the garden, part {number}. " * 3))
        memory.append(Message.assistant(f"It is green, part {number}. " * 3))
    memory.append(Message.user("What was the locker code?"))
    context = memory.context()
    assert context.recalled
    return context


def test_recalled_text_stands_behind_the_breakpoint() -> None:
    """It changes with each question, so the last breakpoint stands before it."""
    marks = marked_texts(claude(), recalling())
    assert marks[0] == "Be brief."
    assert marks[-1].startswith("It is green, part 11.")


def test_recall_leaves_openrouter_its_breakpoints() -> None:
    """There an assistant's message has no place for one, so the one before it is marked."""
    backend = HTTPBackend("anthropic/claude-sonnet-5", "openrouter", api_key="k")
    marks = marked_texts(backend, recalling())
    assert marks[0] == "Be brief."
    assert marks[-1].startswith("Tell me of the garden, part 11.")


def test_a_pinned_beginning_gets_the_spare_breakpoint() -> None:
    """It outlives most evictions."""
    memory = Memory(2_000)
    memory.append(Message.system("Be brief."), Message.user("u0", pinned=True))
    context = talk(memory, "a0", "u1", "a1", "u2")
    assert ["Be brief.", "u0", "u1", "u2"] == marked_texts(claude(), context)


def test_a_turn_of_many_calls_is_found_again() -> None:
    """However many parts it has, the end of the request before it is marked."""
    memory = Memory(10_000)
    memory.append(Message.system("Be brief."), Message.user("u1"))
    memory.context()
    calls = [ToolCall(f"c{i}", "search", "{}") for i in range(30)]
    memory.append(Message.assistant(None, tool_calls=calls))
    memory.append(*(Message.tool(f"r{i}", tool_call_id=f"c{i}") for i in range(30)))
    assert ["Be brief.", "u1", "r29"] == marked_texts(claude(), memory.context())


def test_longer_lives_come_first() -> None:
    """Tools and instructions may live an hour while the rest lives five minutes."""
    memory = Memory(2_000)
    memory.append(Message.system("Be brief."))
    backend = claude(instructions_ttl="1h", cache_ttl="5m")
    data = json.loads(backend._codec.body(talk(memory, "u1")))
    assert data["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    last = data["messages"][-1]["content"][-1]
    assert last["cache_control"] == {"type": "ephemeral", "ttl": "5m"}


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_openai_is_marked_where_writing_costs(api: str) -> None:
    """From GPT-5.6 on; never on an assistant's message, and one fewer: the end is implicit."""
    memory = Memory(2_000)
    memory.append(Message.system("Be brief."))
    context = talk(memory, "u1", "a1", "u2", "a2", "u3")
    new = OpenAIBackend("gpt-5.6-sol", api=api, api_key="k")
    old = OpenAIBackend("gpt-5.4", api=api, api_key="k")
    assert ["Be brief.", "u2", "u3"] == marked_texts(new, context)
    assert [] == marked_texts(old, context)
    assert knows_breakpoints() in (True, False)
    for backend in (new, old):
        assert json.loads(backend._codec.body(context))["prompt_cache_key"] == context.session_id


def test_a_session_without_a_plain_name_gets_one() -> None:
    """Cache keys have at most 64 plain characters, the same ones every time."""
    keys = set()
    for session in ("ö" * 40, "x" * 65, "a\nb"):
        memory = Memory(2_000, session_id=session)
        memory.append(Message.user("u1"))
        body = OpenAIBackend("gpt-4o", api_key="k")._codec.body(memory.context())
        key = json.loads(body)["prompt_cache_key"]
        assert len(key) == 64
        assert key.isalnum()
        keys.add(key)
    assert len(keys) == 3


@EACH_WIRE
def test_no_cache_is_no_trace_of_one(wire: Wire) -> None:
    """`cache=False` sends neither breakpoints nor a session."""
    context = context_of(Message.system("Be brief."), Message.user("u1"))
    sent = made(wire, "gpt-5.6-sol", cache=False)._codec.body(context).decode()
    assert not any(mark in sent for mark in (*MARKS, "prompt_cache_key"))


def test_openrouter_is_marked_for_the_models_that_want_it() -> None:
    """Anthropic's behind it, and no others."""
    context = context_of(Message.system("Be brief."), Message.user("u1"))
    for model, marks in (("anthropic/claude-sonnet-5", ["Be brief.", "u1"]), ("meta/llama", [])):
        assert marks == marked_texts(HTTPBackend(model, "openrouter", api_key="k"), context)


def test_openrouters_responses_have_no_place_for_a_breakpoint() -> None:
    """Neither Anthropic's there nor OpenAI's, so none is written and no lifetime is taken."""
    context = context_of(Message.system("Be brief."), Message.user("u1"))
    given: dict[str, Any] = {"api": "openai-responses", "api_key": "k"}
    for model in ("anthropic/claude-sonnet-5", "openai/gpt-5.6-sol"):
        sent = HTTPBackend(model, "openrouter", **given)._codec.body(context).decode()
        assert not any(mark in sent for mark in MARKS)
        with pytest.raises(ConfigError, match="takes no lifetime"):
            HTTPBackend(model, "openrouter", cache_ttl="1h", **given)


class Counting:
    """Layouts that tell which groups they encode."""

    def __init__(self, most: int = 10**9, merge: bool = True) -> None:
        self.encoded: list[str] = []
        rules = Rules(hoist=True, merge=merge, results_are=Role.USER)
        self.layouts = Layouts(rules, self._encode, most)

    def _encode(self, group: Group, before: Group) -> bytes:
        self.encoded.append("+".join(message.text for message in group))
        return b"x" * 40


def test_old_messages_are_not_encoded_again() -> None:
    """Between two evictions the bytes of a message are made once."""
    counting, memory = Counting(), Memory(100_000)
    memory.append(Message.system("Be brief."))
    for number in range(20):
        memory.append(Message.user(f"u{number}"))
        counting.layouts.of(memory.context())
        memory.append(Message.assistant(f"a{number}"))
    assert [f"{role}{n}" for n in range(20) for role in "ua"][:-1] == counting.encoded


def test_a_group_that_grew_is_encoded_again() -> None:
    """Where a message joins the one before it, they are one wire message."""
    counting, memory = Counting(), Memory(100_000)
    memory.append(Message.user("u1"))
    counting.layouts.of(memory.context())
    memory.append(Message.user("u2"))
    laid = counting.layouts.of(memory.context())
    assert ["u1", "u1+u2"] == counting.encoded
    assert (2,) == laid.ends


def test_sessions_are_laid_out_apart_and_forgotten_in_turn() -> None:
    """No more bytes are held than allowed, the latest sessions stay, and nothing is mixed up."""
    counting = Counting(most=1_000)
    for name in ("a", "b", "c", "c", "a"):
        memory = Memory(1_000, session_id=name)
        memory.append(Message.user(name))
        assert counting.layouts.of(memory.context()).groups[0][0].text == name
    assert ["a", "b", "c", "a"] == counting.encoded


@pytest.mark.parametrize(
    ("profile", "model", "ttl", "expected"),
    [
        ("anthropic", "claude-sonnet-5-5-20260929", None, (2, 0.1, 2.5, 300)),
        ("anthropic", "claude-opus-4-8", "1h", (5, 0.5, 10, 3_600)),
        ("anthropic", "claude-opus-4-1", None, (15, 1.5, 18.75, 300)),
        ("openai", "gpt-5.6", None, (5, 0.5, 6.25, 1_800)),
        ("openai", "gpt-5.6-luna-2026-07-09", None, (1, 0.1, 1.25, 1_800)),
        ("openai", "gpt-4o-mini", "12h", (0.15, 0.075, 0.15, 43_200)),
        ("openai", "gpt-4o", "1h", (2.5, 1.25, 2.5, 1_800)),
        ("openai", "gpt-4o-2024-08-06", None, (2.5, 1.25, 2.5, 1_800)),
        ("anthropic", "claude-opus-4-20250514", None, (15, 1.5, 18.75, 300)),
        ("anthropic", "claude-sonnet-4-5@20250929", None, (3, 0.3, 3.75, 300)),
        ("anthropic", "claude-haiku-4-5", "12h", (1, 0.1, 1.25, 300)),
        ("gemini", "gemini-2.5-flash-preview-09-2025", None, (0.3, 0.03, 0.3, 300)),
        ("gemini", "models/gemini-2.5-flash", None, (0.3, 0.03, 0.3, 300)),
        ("openai", "text-embedding-3-small", None, (0.02, 0.02, 0.02, 1_800)),
        ("mistral", "mistral-embed-2312", None, (0.1, 0.1, 0.1, 0)),
    ],
)
def test_prices_are_of_the_longest_name(
    profile: str, model: str, ttl: str | None, expected: tuple[float, ...]
) -> None:
    """A dated model costs what its family costs; an hour's cache costs more to write."""
    prices = prices_of(profile, model, ttl)
    assert prices is not None
    assert expected == (prices.input, prices.cached, prices.written, prices.ttl)


@pytest.mark.parametrize(
    ("profile", "model"),
    [
        ("openai", "gpt-4.1-nano"),
        ("openai", "gpt-4o-audio-preview"),
        ("openai", "gpt-5.1"),
        ("openai", "gpt-5-pro"),
        ("anthropic", "claude-opus-4-9"),
        ("anthropic", "claude-opus-5-6-20270101"),
        ("gemini", "gemini-2.5-flash-image"),
    ],
)
def test_another_model_of_a_family_has_no_price(profile: str, model: str) -> None:
    """Only a date or a version may follow a name; a sister costs what it costs."""
    assert prices_of(profile, model) is None


@pytest.mark.parametrize(
    ("profile", "model", "ttl"),
    [
        ("openai", "gpt-4o", "1h"),
        ("anthropic", "claude-sonnet-5", "12h"),
        ("gemini", "gemini-2.5-pro", "5m"),
        ("groq", "llama", "30m"),
        ("openrouter", "meta/llama", "1h"),
    ],
)
@pytest.mark.parametrize("name", ["cache_ttl", "instructions_ttl"])
def test_a_lifetime_that_cannot_be_asked_for_is_refused(
    profile: str, model: str, ttl: str, name: str
) -> None:
    """Rather than left out of the request, and priced as if it were in it."""
    settings: dict[str, Any] = {name: ttl}
    with pytest.raises(ConfigError, match=name):
        HTTPBackend(model, profile, api_key="k", **settings)


def test_unknown_models_have_no_price() -> None:
    """Nothing is made up."""
    assert prices_of("openai", "gpt-99") is None
    assert prices_of("groq", "gpt-4o") is None
    assert OpenAIBackend("gpt-99", api_key="k").prices is None
    assert OpenAIBackend("gpt-4o", api_key="k", prices=None).prices is None


def _brief(group: Group, _: Group) -> bytes:
    return group[0].text.encode()


def test_the_cap_of_what_is_remembered_holds_for_short_messages_too() -> None:
    """Their objects take far more memory than their text."""
    most = 2_000_000
    layouts = Layouts(Rules(hoist=False, merge=False), _brief, most)

    def talk(session: int) -> None:
        memory = Memory(100_000, session_id=str(session))
        memory.append(*(Message.user(f"{session} {number}") for number in range(100)))
        layouts.of(memory.context())

    talk(0)
    gc.collect()
    tracemalloc.start()
    try:
        for session in range(1, 120):
            talk(session)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most / 4 < held < most * 1.5
