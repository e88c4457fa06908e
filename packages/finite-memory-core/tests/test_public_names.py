"""The public list of core: nothing gets in by accident, nothing heavy comes with it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

import finite_memory_core

PUBLIC = frozenset(
    """
    Accountant Appended Backend BackendError BackendSummarizer Block BudgetError BusyError
    CacheCollapsed CallableBackend CannotDecide Chat Clipped ConfigError ConflictError Context
    ContextBuilt ContextOverflowError CorruptError CounterError Deadline Decision Delta Embedder
    EmbedderError EstimatingCounter Evicted Eviction ExtractiveSummarizer FactsDropped FellBack
    FiniteMemoryError Forgotten Hit Hybrid Importance InMemoryStore Interrupted MUST_LEAVE
    Memory MemoryEvent MemoryStats Message MessageError MissingExtraError Observer Overflowed
    Policy PolicyError PostgresStore Prices ReaderBackend Recall Recalled Reply Role
    RollingSummary SQLiteStore SearchTool Semantic SlidingWindow Spent Store StoreError
    Summarized Summarizer TiktokenCounter TokenCounter TokenizersCounter ToolCall
    ToolCallError Transcript Turn TurnEnded TurnFailed Unanswered Usage VersionError View
    available_backends load_backend
    """.split()  # noqa: SIM905  # a hundred quotes are no easier to read
)

HEAVY = frozenset(
    """
    argparse asyncio concurrent.futures ctypes difflib email html http importlib.metadata
    logging multiprocessing pathlib pickle psycopg shutil socket sqlite3 ssl subprocess tempfile
    tiktoken tokenizers unittest urllib.request uuid xml zipfile
    """.split()  # noqa: SIM905  # a hundred quotes are no easier to read
)

IMPORT = "import finite_memory_core"
REMEMBER = """
from finite_memory_core import Memory, Message
memory = Memory(budget=100)
for i in range(20):
    memory.append(Message.user(f"question {i}"), Message.assistant(f"answer {i}"))
assert memory.context().token_count <= 100 and memory.stats.evictions
"""
TALK = """
from finite_memory_core import CallableBackend, Chat, Memory
assert Chat(CallableBackend(lambda context: "Hi."), Memory(budget=100)).send("Hello").text == "Hi."
"""


def test_the_list() -> None:
    """The public names are these, and a change to them is a change to this test."""
    assert sorted(PUBLIC) == sorted(finite_memory_core.__all__)


def test_the_list_is_the_table() -> None:
    """Every public name says in which module it lives, once."""
    assert sorted(finite_memory_core.__all__) == sorted(finite_memory_core._HOME)
    assert len(set(finite_memory_core.__all__)) == len(finite_memory_core.__all__)
    assert set(finite_memory_core.__all__) <= set(dir(finite_memory_core))


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_name_resolves_and_is_documented(name: str) -> None:
    """A public name is what its module has under it, with a docstring of its own."""
    found = getattr(finite_memory_core, name)
    home = import_module(f"finite_memory_core.{finite_memory_core._HOME[name]}")
    assert getattr(home, name) is found
    if inspect.isclass(found) or inspect.isroutine(found):
        assert found.__name__ == name
        doc = found.__doc__ or ""
        assert doc, f"{name} has no docstring"
        assert not doc.startswith(f"{name}("), f"{name} has the docstring of its decorator"


def _own_methods(cls: type) -> list[Any]:
    members = [member for name, member in vars(cls).items() if not name.startswith("_")]
    return [m for m in members if inspect.isfunction(m) or isinstance(m, property | classmethod)]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_methods_are_documented(name: str) -> None:
    """What a public class can do is described where it is done."""
    found = getattr(finite_memory_core, name)
    for member in _own_methods(found) if inspect.isclass(found) else ():
        assert inspect.getdoc(member), f"{name}.{getattr(member, '__name__', member)}"


def test_other_names_are_none() -> None:
    """A name that is not on the list is an ordinary AttributeError."""
    with pytest.raises(AttributeError, match="has no attribute 'FiniteMemory'"):
        finite_memory_core.FiniteMemory  # noqa: B018


def test_the_subpackages_resolve_their_lists() -> None:
    """The same holds for the rooms that are lazy too."""
    for room in ("backends", "policies"):
        module = import_module(f"finite_memory_core.{room}")
        assert all(getattr(module, name) is not None for name in module.__all__)
        with pytest.raises(AttributeError, match=f"{room}' has no attribute 'NoSuchName'"):
            module.NoSuchName  # noqa: B018


def test_a_star_import_brings_the_list() -> None:
    """`from finite_memory_core import *` gives what is public and nothing else."""
    names: dict[str, object] = {}
    exec("from finite_memory_core import *", names)
    assert sorted(PUBLIC) == sorted(names.keys() - {"__builtins__"})


@pytest.mark.parametrize("code", [IMPORT, REMEMBER, TALK], ids=["import", "remember", "talk"])
def test_nothing_heavy_is_imported(code: str) -> None:
    """Neither the import nor a plain conversation loads what only other uses need."""
    report = (
        f"import sys; before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", report],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(done.stdout.split())
    assert "finite_memory_core" in loaded
    assert set() == loaded & HEAVY


def test_the_import_loads_no_module_of_ours() -> None:
    """Names are looked up when they are used, so the import costs next to nothing."""
    code = (
        "import sys, finite_memory_core as f; print(*(m for m in sys.modules if f.__name__ in m))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True
    )
    assert ["finite_memory_core"] == done.stdout.split()
