"""Messages: what they take, what they refuse, and that nothing is lost on the way."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import Message, MessageError, Role, ToolCall

from .strategies import CORE, messages, tool_calls


@CORE
@given(message=messages)
def test_a_message_survives_its_dict(message: Message) -> None:
    """A message read from its dict, through JSON text too, is equal, and so are its bytes."""
    data = message.to_dict()
    text = json.dumps(data, ensure_ascii=False)
    again = Message.from_dict(json.loads(text))
    assert message == again
    assert hash(message) == hash(again)
    assert text == json.dumps(again.to_dict(), ensure_ascii=False)


@CORE
@given(call=tool_calls)
def test_a_tool_call_survives_its_dict(call: ToolCall) -> None:
    """A tool call read from its dict is equal."""
    assert call == ToolCall.from_dict(json.loads(json.dumps(call.to_dict())))
    assert call == copy.copy(call) == pickle.loads(pickle.dumps(call))
    assert hash(call) == hash(ToolCall.from_dict(call.to_dict()))


@CORE
@given(message=messages)
def test_copies_are_equal(message: Message) -> None:
    """Copying, deep copying and replacing nothing give an equal message."""
    assert message == copy.copy(message) == copy.deepcopy(message) == replace(message)
    assert message == pickle.loads(pickle.dumps(message))


@CORE
@given(message=messages)
def test_the_wire_has_nothing_of_ours(message: Message) -> None:
    """What is sent to a provider lacks our own fields and nothing else."""
    data = message.to_dict()
    wire = message.to_dict(wire=True)
    assert {k: v for k, v in data.items() if k not in ("timestamp", "pinned", "metadata")} == wire


def test_the_openai_shape_comes_back_as_it_was() -> None:
    """A provider's message with fields we do not model is read and written without loss."""
    data = {
        "role": "assistant",
        "content": [{"type": "text", "text": "Wait.", "annotations": []}],
        "name": "bot",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "f", "arguments": "{}", "parsed_arguments": {"a": [1]}},
                "index": 0,
            },
            {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "free text"}},
        ],
        "reasoning_content": "First I ...",
        "audio": {"id": "a1"},
    }
    assert data == Message.from_dict(data).to_dict()


def test_null_fields_count_as_absent() -> None:
    """A null field is the same as none, in a dict and in `extra`."""
    bare = Message.assistant("hi")
    nulls = dict.fromkeys(["name", "tool_calls", "tool_call_id", "refusal", "timestamp", "pinned"])
    assert bare == Message.from_dict({"role": "assistant", "content": "hi", **nulls})
    assert bare == Message.assistant("hi", extra={"refusal": None})
    call = {"id": "c", "type": None, "function": {"name": "f", "arguments": "{}"}}
    assert ToolCall("c", "f") == ToolCall.from_dict(call)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-01-02T03:04:05", datetime(2024, 1, 2, 3, 4, 5)),
        ("2024-01-02T03:04:05Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (0.5, datetime(1970, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_timestamps_are_read(value: object, expected: datetime) -> None:
    """ISO 8601 text and seconds since 1970 are times."""
    data = {"role": "user", "content": "hi", "timestamp": value}
    assert expected == Message.from_dict(data).timestamp


def test_a_message_is_immutable_all_the_way_down() -> None:
    """Neither a field nor anything inside one can be changed."""
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": "a"}}]
    message = Message.user(parts, metadata={"k": [1]})
    parts[0]["type"] = "text"
    assert message.content is not None
    assert "image_url" == message.content[0]["type"]  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        message.content = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        message.content[0]["type"] = "text"  # type: ignore[index]
    with pytest.raises(TypeError):
        message.metadata["k"] = 1  # type: ignore[index]
    assert (1,) == message.metadata["k"]


def test_roles_compare_equal_to_their_strings() -> None:
    """A role is its string, and a message may be made with either."""
    assert {"user": 1} == {Role.USER: 1}
    assert Message("user", "x") == Message(Role.USER, "x") == Message.user("x")
    assert [Role.SYSTEM, Role.DEVELOPER] == [role for role in Role if role.instructs]


def test_the_text_of_parts_is_their_texts() -> None:
    """`text` joins text parts of every provider and leaves the rest out."""
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "input_text", "text": "b"},
    ]
    assert "a\nb" == Message.user(parts).text
    assert "" == Message.assistant(tool_calls=[ToolCall("c", "f")]).text


def test_arguments_may_be_a_mapping() -> None:
    """Arguments given as a mapping are written as JSON; text is kept byte for byte."""
    assert '{"q": "où"}' == ToolCall("c", "f", {"q": "où"}).arguments
    assert "{ not json" == ToolCall("c", "f", "{ not json").arguments


def test_plain_text_of_a_subclass_is_kept_as_text() -> None:
    """A string of some other class becomes a plain one."""

    class Markup(str):
        __slots__ = ()

    content = Message.user(Markup("hi")).content
    assert str is type(content)


LOOP: list[Any] = []
LOOP.append(LOOP)
HI = {"role": "user", "content": "hi"}

REFUSED: list[tuple[str, Any]] = [
    ("unknown role 'robot'; use one of system, developer", lambda: Message("robot", "x")),
    ("unknown role None", lambda: Message(None, "x")),  # type: ignore[arg-type]
    (r"unknown role \['user'\]", lambda: Message(["user"], "x")),  # type: ignore[arg-type]
    ("role 'user' has no content \\(''\\)", lambda: Message.user("")),
    ("role 'user' has no content \\(None\\)", lambda: Message.user(None)),
    ("role 'assistant' has no content", Message.assistant),
    ("no content", lambda: Message.user([])),
    ("text or a list of parts, got int: 5", lambda: Message.user(5)),  # type: ignore[arg-type]
    ("got bytes: b'x'", lambda: Message.user(b"x")),  # type: ignore[arg-type]
    ("got dict", lambda: Message.user({"type": "text"})),  # type: ignore[arg-type]
    (r"content\[0\] must be an object with a 'type'", lambda: Message.user(["x"])),  # type: ignore[list-item]
    (r"content\[0\]", lambda: Message.user([{"text": "x"}])),
    ("NUL character at index 1; remove it", lambda: Message.user("a\0b")),
    ("lone surrogate .* at index 2", lambda: Message.user("ab\ud83d")),
    ("a key of metadata has a NUL", lambda: Message.user("x", metadata={"\0": 1})),
    (
        r"metadata\['k'\]\[0\] has a lone surrogate",
        lambda: Message.user("x", metadata={"k": ["\udc00"]}),
    ),
    (r"content\[0\]\['text'\] has a NUL", lambda: Message.user([{"type": "text", "text": "\0"}])),
    ("metadata must be a mapping, got str", lambda: Message.user("x", metadata="m")),  # type: ignore[arg-type]
    (
        "number nan, which JSON cannot carry",
        lambda: Message.user("x", metadata={"k": float("nan")}),
    ),
    ("has a set, which JSON cannot carry", lambda: Message.user("x", metadata={"k": {1}})),
    ("has a bytes, which JSON", lambda: Message.user("x", metadata={"k": b""})),
    ("nested more than 100 levels", lambda: Message.user("x", metadata={"k": LOOP})),
    (
        "extra has 'content', which has its own argument",
        lambda: Message.user("x", extra={"content": "y"}),
    ),
    ("name must be text, got int", lambda: Message.user("x", name=5)),  # type: ignore[arg-type]
    ("name is empty", lambda: Message.user("x", name="")),
    ("name has a NUL", lambda: Message.user("x", name="\0")),
    ("timestamp must be a datetime, got '2024'", lambda: Message.user("x", timestamp="2024")),  # type: ignore[arg-type]
    ("pinned must be True or False, got 'no'", lambda: Message.user("x", pinned="no")),  # type: ignore[arg-type]
    ("takes ToolCall objects, got 5", lambda: Message.assistant("x", tool_calls=5)),  # type: ignore[arg-type]
    ("takes ToolCall objects, got {}", lambda: Message.assistant("x", tool_calls=[{}])),  # type: ignore[list-item]
    ("only an assistant calls tools", lambda: Message.user("x", tool_calls=[ToolCall("a", "f")])),
    ("needs the tool_call_id", lambda: Message.tool("x")),
    ("needs the tool_call_id", lambda: Message.tool("x", tool_call_id="")),
    ("tool_call_id must be text, got int", lambda: Message.tool("x", tool_call_id=7)),  # type: ignore[arg-type]
    ("result of tool call 'a' is None; give it text", lambda: Message.tool(None, tool_call_id="a")),
    ("'a' belongs to role 'tool', not 'user'", lambda: Message.user("x", tool_call_id="a")),
    ("id must be text, got NoneType", lambda: ToolCall(None, "f")),  # type: ignore[arg-type]
    ("a tool call's id is empty", lambda: ToolCall("", "f")),
    ("a tool call's name is empty", lambda: ToolCall("a", "")),
    ("arguments of tool call 'a' must be text", lambda: ToolCall("a", "f", None)),  # type: ignore[arg-type]
    ("arguments of tool call 'a' has a NUL", lambda: ToolCall("a", "f", "\0")),
    ("extra of tool call 'a' has 'id'", lambda: ToolCall("a", "f", extra={"id": "b"})),
    (
        r"extra of tool call 'a'\['function'\] has 'name'",
        lambda: ToolCall("a", "f", extra={"function": {"name": "g"}}),
    ),
    (r"\['function'\] must be a mapping", lambda: ToolCall("a", "f", extra={"function": 5})),
    ("must be an object with a role, got 'hi'", lambda: Message.from_dict("hi")),  # type: ignore[arg-type]
    (r"has no role; its keys are \['content'\]", lambda: Message.from_dict({"content": "x"})),
    ("tool_calls must be a list, got 'x'", lambda: Message.from_dict({**HI, "tool_calls": "x"})),
    ("a tool call must be an object, got 5", lambda: Message.from_dict({**HI, "tool_calls": [5]})),
    ("no 'function' object", lambda: Message.from_dict({**HI, "tool_calls": [{"id": "a"}]})),
    ("timestamp 'soon' is neither", lambda: Message.from_dict({**HI, "timestamp": "soon"})),
    ("timestamp True is neither", lambda: Message.from_dict({**HI, "timestamp": True})),
    ("timestamp 1e\\+300 is neither", lambda: Message.from_dict({**HI, "timestamp": 1e300})),
]


@pytest.mark.parametrize(("expected", "make"), REFUSED)
def test_what_no_provider_takes_is_refused(expected: str, make: Any) -> None:
    """Each bad message is refused with what was wrong and which value it was."""
    with pytest.raises(MessageError, match=expected):
        make()


any_text = st.text(st.sampled_from("a\0\ud83d\udc00é"), min_size=1, max_size=3)


@CORE
@given(text=st.text(st.characters(), min_size=1, max_size=20) | any_text)
def test_any_text_is_taken_or_refused_by_name(text: str) -> None:
    """Whatever a text holds, a message has it as it was or says why not."""
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        with pytest.raises(MessageError, match=r"NUL|surrogate"):
            Message.user(text)
    else:
        message = Message.user(text)
        assert text == message.content == message.text


def test_an_integer_that_no_json_reader_takes_is_refused() -> None:
    """A whole number of more than 4,300 digits would be written and never read again."""
    with pytest.raises(MessageError, match="write it as text"):
        Message.user("Hello", metadata={"n": 10**4400})
