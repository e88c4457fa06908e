"""What the tests of recall share: small chats with an archive, and stores that count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from finite_memory_core import InMemoryStore, Memory, Message
from finite_memory_core.recall import Recall
from finite_memory_core.recall.analysis import Document
from finite_memory_core.recall.index import Facts, InMemoryIndex
from finite_memory_core.stores.base import Counted

from .strategies import quarter_bytes

START = datetime(2023, 5, 8, 13, 56)
FACTS = (
    "My sister Ada lives in Turin, near the river.",
    "The boiler was repaired by Mr Rossi for 240 euros.",
    "We adopted a greyhound called Biscuit last weekend.",
    "My flight to Lisbon leaves on 3 July at 06:40.",
    "I am allergic to walnuts, so no pesto for me.",
)
FILLER = (
    "The weather was quite nice again.",
    "Did you sleep well?",
    "Work has been busy, as ever.",
    "I cooked soup and read a little.",
)


def chat(turns: int, *, names: bool = True) -> list[Message]:
    """Return a chat of `turns` turns, one each hour, a fact in every fifth."""
    said = []
    for i in range(turns):
        at = START + timedelta(hours=i)
        text = FACTS[i // 5 % len(FACTS)] if i % 5 == 0 else f"{i}. {FILLER[i % 4]}"
        user, assistant = ("Bob", "Ann") if names else (None, None)
        said.append(Message.user(text, name=user, timestamp=at))
        said.append(Message.assistant(f"I see, number {i}.", name=assistant, timestamp=at))
    return said


def talked(turns: int = 60, **settings: object) -> Memory:
    """Return a memory with recall in which something has left."""
    defaults = {"budget": 400, "recall": Recall(), "counter": quarter_bytes, "session_id": "s"}
    memory = Memory(**{**defaults, **settings})  # type: ignore[arg-type]
    memory.append(*chat(turns))
    return memory


def recalled_text(memory: Memory, query: str | None = None) -> str:
    """Return the message that quotes what is recalled; "" where nothing is."""
    marked = [m for m in memory.context(query).messages if m.metadata.get("finite_memory")]
    return "".join(m.text for m in marked if m.metadata["finite_memory"] == "recalled")


class CountingStore(InMemoryStore):
    """Counts the messages that are read from it."""

    read = 0

    def messages(
        self, session_id: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Counted]:
        for counted in super().messages(session_id, start, stop):
            self.read += 1
            yield counted


class CountingIndex(InMemoryIndex):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.lookups = self.places = self.facts_read = self.added = 0

    def add(self, documents: Iterable[Document]) -> None:
        documents = list(documents)
        self.added += len(documents)
        super().add(documents)

    def postings(self, term: str, stop: int, limit: int) -> Sequence[int]:
        found = super().postings(term, stop, limit)
        self.lookups += 1
        self.places += len(found)
        return found

    def facts(self, places: Sequence[int]) -> list[Facts]:
        found = super().facts(places)
        self.facts_read += len(found)
        return found


class IndexedStore(CountingStore):
    """Offers an index of its own for every session."""

    def __init__(self) -> None:
        super().__init__()
        self.counting = CountingIndex()

    def index(self, session_id: str) -> CountingIndex:
        return self.counting
