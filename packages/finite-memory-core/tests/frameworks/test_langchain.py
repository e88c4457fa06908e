"""LangChain and LangGraph: a middleware, a hook and a trimmer; nothing lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ..examples import some
from . import require

require("langchain")

from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from finite_memory_core import BackendSummarizer, CallableBackend, Context, Memory, Message
from finite_memory_core.integrations.history import HistoryError
from finite_memory_core.integrations.langchain import MemoryMiddleware, MessageTrimmer
from finite_memory_core.stores import InMemoryStore

from .driving import Heard, Resending, hold, mark, memory, wander

# -- both directions ----------------------------------------------------------------------------

TEXTS = st.text(max_size=12)
NAMES = st.text("abc_", min_size=1, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
PARTS = st.one_of(
    TEXTS,
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.just({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
    st.just({"type": "image", "base64": "iVBORw==", "mime_type": "image/png"}),
    st.just({"type": "file", "base64": "JVBERg==", "mime_type": "application/pdf"}),
    st.just({"type": "audio", "base64": "UklGRg==", "mime_type": "audio/wav"}),
    st.builds(lambda t, s: {"type": "thinking", "thinking": t, "signature": s}, TEXTS, NAMES),
    st.builds(lambda value: {"type": "hologram", "value": value}, JSON),
)
CONTENT = TEXTS | st.lists(PARTS, max_size=3)
ARGUMENTS = st.dictionaries(NAMES, JSON, max_size=2)
CALLS = st.builds(lambda i, n, a: {"id": i, "name": n, "args": a}, NAMES, NAMES, ARGUMENTS)
MORE = st.dictionaries(NAMES, JSON, max_size=2)
MESSAGES = st.one_of(
    st.builds(HumanMessage, CONTENT, name=st.none() | NAMES, id=st.none() | NAMES),
    st.builds(SystemMessage, CONTENT),
    st.builds(AIMessage, CONTENT, tool_calls=st.lists(CALLS, max_size=2), additional_kwargs=MORE),
    st.builds(ToolMessage, CONTENT, tool_call_id=NAMES, artifact=JSON),
    st.builds(FunctionMessage, CONTENT, name=NAMES),
    st.builds(ChatMessage, CONTENT, role=st.sampled_from(["user", "assistant", "oracle"])),
)


@given(st.lists(MESSAGES, max_size=6))
@settings(max_examples=some(60), deadline=None)
def test_every_history_comes_back_identical(items: list[BaseMessage]) -> None:
    """Whatever was said comes back as it was, from this process and from a store."""
    store = InMemoryStore()
    mine = memory(100_000, store=store, session_id="s")
    history = MessageTrimmer(mine).history
    history.append(items)
    assert items == history.everything()
    again = MessageTrimmer(Memory.resume(store, "s", counter=mine.accountant.counter))
    assert items == again.history.everything()


# -- the conformance fuzz -----------------------------------------------------------------------


def tell(message: Message) -> BaseMessage:
    """Return the message as LangChain says it."""
    content: Any = message.text
    if message.role == "assistant":
        calls: Any = [
            {"id": c.id, "name": c.name, "args": json.loads(c.arguments)}
            for c in message.tool_calls
        ]
        return AIMessage(content, tool_calls=calls)
    if message.role == "tool":
        return ToolMessage(content, tool_call_id=message.tool_call_id or "")
    return (SystemMessage if message.role == "system" else HumanMessage)(content)


def show(items: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return LangChain's messages in the OpenAI shape."""
    roles = {"human": "user", "ai": "assistant"}
    shown = []
    for item in items:
        one: dict[str, Any] = {"role": roles.get(item.type, item.type), "content": item.content}
        calls = getattr(item, "tool_calls", ())
        if calls:
            one["content"] = item.content or None
            one["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
                }
                for call in calls
            ]
        if isinstance(item, ToolMessage):
            one["tool_call_id"] = item.tool_call_id
        shown.append({**one, **mark(item.content)})
    return shown


def test_no_history_is_invalid() -> None:
    """The fuzz finds nothing."""
    hold(lambda held: Resending(MessageTrimmer(held), tell, show))


def test_a_resumed_memory_goes_on() -> None:
    """From its store it knows what was said, whether the history comes whole or as it was cut."""
    store = InMemoryStore()
    held = memory(store=store, session_id="s", policy="rolling_summary")
    said: list[BaseMessage] = [SystemMessage("Be brief.")]
    for turn in range(30):
        said += [HumanMessage(f"Question {turn}? " * 20), AIMessage(f"Answer {turn}. " * 10)]
    cut = MessageTrimmer(held)([*said, HumanMessage("And now?")])
    assert len(cut) < 40
    more = [AIMessage("This."), HumanMessage("Why?")]
    for history in ([*said, HumanMessage("And now?"), *more], [*cut, *more]):
        again = Memory.resume(store, "s", counter=held.accountant.counter)
        before = again.stats.messages
        assert history[-3:] == MessageTrimmer(again)(history)[-3:]
        assert again.stats.messages - before in (2, 0)  # the second has it from the first


# -- real agents and chains ---------------------------------------------------------------------


class Scripted(BaseChatModel):
    """A model that calls a tool once a question, and keeps what it was sent."""

    sent: list[list[BaseMessage]] = []  # noqa: RUF012  # pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Take any tools."""
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.sent.append(messages)
        message = AIMessage("It is found.")
        if not isinstance(messages[-1], ToolMessage):
            call: Any = {"id": f"c{len(self.sent)}", "name": "look_up", "args": {"what": "x" * 50}}
            message = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"found {what} " * 5


def test_an_agent_with_tools_stays_in_its_budget() -> None:
    """40 turns with a tool each: the budget holds, the agent's state stays whole."""
    model, held = Scripted(), memory()
    agent: Any = create_agent(
        model, [look_up], system_prompt="Be brief.", middleware=[MemoryMiddleware(held)]
    )
    said: list[BaseMessage] = []
    for turn in range(40):
        said = agent.invoke({"messages": [*said, HumanMessage(f"Question {turn}?")]})["messages"]
    assert len(said) == 160
    assert len(model.sent) == 80
    assert max(len(json.dumps(show(messages))) for messages in model.sent) < 12_000
    assert held.stats.evictions > 2
    assert "Be brief." in str(held.tools)
    assert "look_up" in str(held.tools)


def test_a_trimmer_stands_in_a_chain() -> None:
    """Plain LCEL: whole history in, the model sees a context."""
    model, held = Scripted(), memory()
    chain = RunnableLambda(MessageTrimmer(held)) | model
    said: list[BaseMessage] = [SystemMessage("Be brief.")]
    for turn in range(30):
        said += [HumanMessage(f"Question {turn}? " * 30), AIMessage("Noted. " * 20)]
    chain.invoke([*said, ToolMessage("left over", tool_call_id="gone"), HumanMessage("And now?")])
    sent = model.sent[0]
    assert sent[0] is said[0]
    assert len(sent) < 40
    assert sent[-1].content == "And now?"
    assert not any(isinstance(message, ToolMessage) for message in sent)


def test_a_hook_leaves_the_state_whole() -> None:
    """`pre_model_hook` says only what the model sees."""
    trim = MessageTrimmer(memory())
    state = {"messages": [HumanMessage("Hello.")]}
    assert {"llm_input_messages": state["messages"]} == trim.pre_model_hook(state)


# -- what is odd --------------------------------------------------------------------------------


class Hologram(BaseMessage):
    """A message of a release that is yet to come."""

    type: str = "hologram"


def test_what_is_not_known_is_kept_counted_and_said() -> None:
    """It goes back as the object that it is; so does what JSON cannot carry."""
    heard = Heard()
    held = memory(observers=[heard])
    thing = object()
    items: list[BaseMessage] = [
        Hologram(content="x" * 400),
        AIMessage("", tool_calls=[{"id": "c", "name": "f", "args": {}}]),
        ToolMessage("ok", tool_call_id="c", artifact=thing),
        AIMessage("done"),
    ]
    shown = MessageTrimmer(held)(items)
    assert all(one is other for one, other in zip(items, shown, strict=True))
    assert any("hologram" in why for why in heard.fallbacks)
    assert any("object" in why for why in heard.fallbacks)
    assert held.stats.fallbacks["foreign message"] == 2
    assert held.stats.tokens_held > 100


# -- what goes wrong ----------------------------------------------------------------------------


def _asks(number: int) -> AIMessage:
    return AIMessage("", tool_calls=[{"id": f"c{number}", "name": "look_up", "args": {}}])


def test_a_run_that_failed_between_its_tools_is_taken_back() -> None:
    """Its steps were recorded; the history without them goes on, again and after a resume."""
    store = InMemoryStore()
    held = memory(store=store, session_id="s")
    trim = MessageTrimmer(held)
    before: list[BaseMessage] = [HumanMessage("one"), AIMessage("uno")]
    run: list[BaseMessage] = [HumanMessage("two"), _asks(1), ToolMessage("r", tool_call_id="c1")]
    trim([*before, *run])
    assert held.stats.messages == 4
    assert [*before, HumanMessage("three")] == trim([*before, HumanMessage("three")])
    assert ["one", "uno"] == [message.text for message in held.transcript][:2]
    assert held.stats.forgotten == 2
    again = MessageTrimmer(Memory.resume(store, "s", counter=held.accountant.counter))
    whole = [*before, HumanMessage("three"), AIMessage("tres"), HumanMessage("four")]
    assert whole == again(whole)
    assert whole[:4] == again.history.everything()


def test_a_first_run_that_failed_is_taken_back() -> None:
    """Its instructions too: they come again."""
    trim = MessageTrimmer(memory())
    system, asked = SystemMessage("Be brief."), HumanMessage("Look.")
    trim([system, asked, _asks(1), ToolMessage("r", tool_call_id="c1")])
    assert [system, asked] == trim([system, asked])


def test_what_was_answered_is_not_taken_back() -> None:
    """A run that ended is no failed one, though the newest has failed."""
    trim = MessageTrimmer(memory())
    said = [HumanMessage("one"), AIMessage("uno"), HumanMessage("two"), AIMessage("dos")]
    trim([*said, HumanMessage("three"), _asks(1), ToolMessage("r", tool_call_id="c1")])
    with pytest.raises(HistoryError):
        trim([said[0], AIMessage("other"), HumanMessage("three")])
    assert trim.history.memory.stats.forgotten == 0


def test_another_way_from_equal_answers_is_refused() -> None:
    """The beginning of what is held is not its end, though both end with equal words."""
    trim = MessageTrimmer(memory())
    said = [HumanMessage("one"), AIMessage("ok"), HumanMessage("two"), AIMessage("ok")]
    trim([*said, HumanMessage("three")])
    with pytest.raises(HistoryError, match="part after 2"):
        trim([*said[:2], HumanMessage("other")])
    assert [*said, HumanMessage("three")] == trim([*said[2:], HumanMessage("three")])


def test_what_goes_beside_messages_is_counted_once() -> None:
    """By each adapter on one memory, and after each resume."""
    store = InMemoryStore()
    held = memory(store=store, session_id="s", tools=[{"name": "given"}])
    beside = [{"instructions": "Be brief."}]
    for _ in range(3):
        MessageTrimmer(held).history.context([HumanMessage("a")], beside=beside, keep=False)
        assert len(held.tools) == 2
        held = Memory.resume(store, "s", counter=held.accountant.counter)
    held.set_tools([{"name": "other"}])
    MessageTrimmer(held).history.context([HumanMessage("a")], beside=beside, keep=False)
    assert "other" in str(held.tools)
    assert "Be brief." in str(held.tools)
    MessageTrimmer(held)([HumanMessage("a")])
    assert len(held.tools) == 1


def test_what_was_added_to_the_memory_may_be_said_again() -> None:
    """In the same words, behind a history that the framework has cut."""
    held = memory()
    held.append(Message.user("yes"))
    trim = MessageTrimmer(held)
    said: list[BaseMessage] = [HumanMessage("one"), AIMessage("uno"), HumanMessage("two")]
    trim(said)
    shown = trim([*said[1:], AIMessage("dos"), HumanMessage("yes")])
    assert ["yes", "one", "uno", "two", "dos", "yes"] == [message.content for message in shown]


def test_what_others_do_to_the_memory_is_seen() -> None:
    """Two adapters on one memory, one after the other, and a reset behind their backs."""
    held = memory()
    one, two = MessageTrimmer(held), MessageTrimmer(held)
    said: list[BaseMessage] = [HumanMessage("one"), AIMessage("uno"), HumanMessage("two")]
    one(said)
    more = [*said, AIMessage("dos"), HumanMessage("three")]
    assert more == two(more)
    assert more == one(more)
    assert held.stats.messages == 4
    held.reset()
    assert said == one(said)
    assert held.stats.messages == 2


def test_two_threads_wait_for_each_other() -> None:
    """Calls at once are calls one after another: none is refused, nothing is recorded twice."""
    held = memory(20_000)
    trim = MessageTrimmer(held)
    said: list[BaseMessage] = []
    for turn in range(30):
        said += [HumanMessage(f"Question {turn}?"), AIMessage(f"Answer {turn}.")]
    with ThreadPoolExecutor(8) as pool:
        shown = list(pool.map(trim, [[*said, HumanMessage("And?")]] * 16))
    assert all(one == shown[0] for one in shown)
    assert held.stats.messages == 60


def test_objects_that_left_are_let_go() -> None:
    """The agent keeps its history; the adapter holds what stands in the context."""
    trim, shown = MessageTrimmer(memory(400)), list[BaseMessage]()
    said: list[BaseMessage] = []
    for turn in range(40):
        said += [HumanMessage(f"Question {turn}? " * 5), AIMessage(f"Answer {turn}. " * 5)]
        shown = trim([*said, HumanMessage("And?")])
    assert len(trim.history._wholes) <= len(shown) + 1


def test_a_summary_is_made_in_the_background() -> None:
    """A summarizer that asks a model begins where something has left, as after a chat's reply."""
    asked = Event()

    def summarize(_: Context) -> str:
        asked.set()
        return "They asked."

    summarizer = BackendSummarizer(CallableBackend(summarize))
    trim = MessageTrimmer(memory(600, summarizer=summarizer))
    said: list[BaseMessage] = []
    while not trim.history.memory.stats.evictions:
        said += [HumanMessage("Question? " * 10), AIMessage("Answer. " * 10)]
        trim([*said, HumanMessage("And?")])
    assert asked.wait(30)


def test_an_agent_on_an_event_loop_bounds_its_requests() -> None:
    """Asynchronously, and the shape of the answer is counted too."""
    model, held = Scripted(), memory()
    shape = {"title": "Place", "type": "object", "properties": {"shelf": {"type": "string"}}}
    agent: Any = create_agent(
        model,
        [look_up],
        middleware=[MemoryMiddleware(held)],
        response_format=ToolStrategy(shape, handle_errors=False),
    )
    asyncio.run(agent.ainvoke({"messages": [HumanMessage("Where?")]}))
    assert len(model.sent) == 2
    assert "shelf" in str(held.tools)


def test_runs_that_fail_and_words_that_recur_are_told_apart() -> None:
    """Whatever was said before, in this process and after resumes."""
    wander(lambda held: MessageTrimmer(held).history, tell, keep=False, resumes=True)
