"""Counting: everything counts, by the stated rules, and a bad counter is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from finite_memory_core import Accountant, CounterError, Message, ToolCall
from finite_memory_core.accounting import IMAGE, IMAGE_LOW, REFERENCE

from .checks import as_json
from .strategies import CORE, characters, messages


@CORE
@given(message=messages)
def test_every_field_costs_something(message: Message) -> None:
    """A message costs at least its overhead and, a token a character, its text and its fields."""
    count = Accountant(characters).message(message)
    assert count >= 4 + len(message.text.replace("\n", ""))
    if message.name or message.extra or message.tool_calls:
        named = 0 if message.name is None else 1 + len(message.name)
        calls = sum(8 + len(c.id + c.name + c.arguments) for c in message.tool_calls)
        extra = len(as_json(message.extra)) if message.extra else 0
        assert count >= 4 + named + calls + extra


PARTS: list[tuple[int, dict[str, Any]]] = [
    (5, {"type": "text", "text": "12345"}),
    (IMAGE, {"type": "image_url", "image_url": {"url": "x"}}),
    (IMAGE, {"type": "image_url", "image_url": {"url": "x", "detail": "high"}}),
    (IMAGE, {"type": "image_url", "image_url": "x"}),
    (IMAGE_LOW, {"type": "image_url", "image_url": {"url": "x", "detail": "low"}}),
    (IMAGE_LOW, {"type": "input_image", "image_url": "x", "detail": "low"}),
    (IMAGE, {"type": "image", "source": {"type": "base64", "data": "x"}}),
    (10, {"type": "input_audio", "input_audio": {"data": "A" * 400}}),
    (31, {"type": "input_audio", "input_audio": {"data": "A" * 128_000}}),
    (100, {"type": "file", "file": {"file_data": "A" * 4}}),
    (1_501, {"type": "document", "source": {"type": "base64", "data": "A" * 8_000}}),
    (REFERENCE, {"type": "file", "file": {"file_id": "f1"}}),
    (len('{"type": "thinking", "thinking": "hm"}'), {"type": "thinking", "thinking": "hm"}),
    (len('{"type": "text", "text": 5}'), {"type": "text", "text": 5}),
    (1 + len('{"cache": true}'), {"type": "text", "text": "1", "cache": True}),
]


@pytest.mark.parametrize(("expected", "part"), PARTS)
def test_parts_cost_what_is_stated(expected: int, part: dict[str, Any]) -> None:
    """Each kind of part has its price."""
    assert 4 + expected == Accountant(characters).message(Message.user([part]))


def test_a_tool_round_counts_ids_names_and_arguments() -> None:
    """A call costs 8 and its texts; a result its text and the id of its call."""
    accountant = Accountant(characters)
    call = ToolCall("abc", "find", '{"q":1}')
    assert 4 + 8 + 3 + 4 + 7 == accountant.message(Message.assistant(tool_calls=[call]))
    extra = ToolCall("abc", "find", '{"q":1}', extra={"i": 1})
    assert 4 + 22 + len('{"i": 1}') == accountant.message(Message.assistant(tool_calls=[extra]))
    assert 4 + 2 + 3 == accountant.message(Message.tool("ok", tool_call_id="abc"))


def test_names_and_unmodelled_fields_count_and_metadata_does_not() -> None:
    """What a model sees is counted, what it does not see is not."""
    accountant = Accountant(characters)
    assert 4 + 2 + 1 + 3 == accountant.message(Message.user("hi", name="Ada"))
    assert 6 + len('{"a": "é"}') == accountant.message(Message.user("hi", extra={"a": "é"}))
    assert 6 == accountant.message(Message.user("hi", metadata={"a": 1}, pinned=True))


def test_tool_schemas_cost_their_json() -> None:
    """A schema costs 8 and its JSON text."""
    assert 8 + len('{"name": "f"}') == Accountant(characters).tools([{"name": "f"}])
    assert 0 == Accountant(characters).tools([])


class Whole:
    """A counter that knows a chat template."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __call__(self, text: str) -> int:
        return len(text)

    def count_message(self, message: Message) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_counter_may_count_whole_messages() -> None:
    """`count_message` takes the place of the rules."""
    assert 77 == Accountant(Whole(77)).message(Message.user("hi"))


@pytest.mark.parametrize("answer", [-1, 1.5, None, KeyError("template")], ids=repr)
def test_a_count_message_that_breaks_its_contract(answer: Any) -> None:
    """What it raises or returns is told."""
    with pytest.raises(CounterError, match=r"returned|count_message of .* failed: 'template'"):
        Accountant(Whole(answer)).message(Message.user("hi"))


class Integer:
    """A whole number that is no `int`, as numpy's are."""

    def __index__(self) -> int:
        return 3


def test_numbers_of_other_libraries_count() -> None:
    """Anything with `__index__` is a whole number."""
    counter: Any = lambda text: Integer()  # noqa: E731
    assert 3 == Accountant(counter).text("hi")


def test_a_counter_must_be_callable() -> None:
    """Something that cannot be called is refused at once."""
    with pytest.raises(CounterError, match="must be callable with a text, got int: 5"):
        Accountant(5)  # type: ignore[arg-type]
