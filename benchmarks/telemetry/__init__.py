"""What telemetry costs a turn: where nobody listens, and with each observer.

CPU time of `Chat.send` with a backend that answers at once. Two variants take turns in one
process, block by block, so that they meet the same machine. What a turn pays where nobody listens
is found by leaving every line that asks for a watch out of a copy of the package.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time_ns
from types import ModuleType
from typing import Any, NamedTuple

import finite_memory_core

from ..options import Options
from ..tables import Table

TURNS = 40
"""Turns of one block; each block begins with an empty memory."""
BLOCKS = 1_000
PAIRS = 10
LIMIT_NS = 1_000

_CONDITIONS = (
    "A turn is one `Chat.send`: a question of two words and an answer of one, in a memory that is "
    "empty every {turns} turns. Each figure is the median of blocks in which two variants take "
    "turns; what is more is the median of their differences. For the first two rows that is the "
    "median of {pairs} pairs of copies of the package, {blocks} blocks all together."
)


class Talk(NamedTuple):
    """What takes turns: `reset` empties the memory, `send` takes one turn."""

    reset: Callable[[], None]
    send: Callable[[str], object]


def tables(options: Options) -> list[Table]:
    """Measure everything."""
    blocks = BLOCKS // 8 if options.quick else BLOCKS
    with tempfile.TemporaryDirectory() as scratch:
        pairs = [_pair(Path(scratch), i) for i in range(PAIRS)]
        found = [_compared(bare, kept, blocks // PAIRS) for bare, kept in pairs]
    base, took, more = map(median, zip(*found, strict=True))
    silent = _talk(finite_memory_core)
    rows = [["without the lines for telemetry", _us(base), ""]]
    rows.append(["nobody listens", _us(took), f"{more / 1e3:+.2f}"])
    for title, observer in _observers().items():
        talk = _talk(finite_memory_core, observer)
        _, took, above = _compared(silent, talk, blocks // 4)
        rows.append([title, _us(took), f"{above / 1e3:+.2f} than nobody"])
    verdict = "met" if more <= LIMIT_NS else "missed"
    target = f"Target: nobody listens, <= 1 µs a turn. Here: {more / 1e3:+.2f} ({verdict})."
    conditions = _CONDITIONS.format(turns=TURNS, pairs=PAIRS, blocks=blocks)
    columns = ["", "CPU of a turn, µs", "more, µs"]
    return [Table("Telemetry: CPU of a turn", columns, rows, [conditions, target])]


def _us(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e3:.1f}"


def _compared(one: Talk, other: Talk, blocks: int) -> tuple[float, float, float]:
    """Return medians, in nanoseconds a turn: of `one`, of `other`, and of what it takes more."""
    pairs = []
    gc.disable()
    try:
        for i in range(blocks + 1):
            order = (one, other) if i % 2 else (other, one)
            took = {talk: _block(talk) for talk in order}
            pairs.append((took[one], took[other]))
    finally:
        gc.enable()
    del pairs[0]  # it warms up
    first, second = zip(*pairs, strict=True)
    return median(first), median(second), median(b - a for a, b in pairs)


def _block(talk: Talk) -> float:
    talk.reset()
    talk.send("Hello there")
    start = process_time_ns()
    for _ in range(TURNS):
        talk.send("Hello there")
    return (process_time_ns() - start) / TURNS


def _talk(package: ModuleType, observer: object = None) -> Talk:
    """Return what takes turns in a memory of `package`."""
    observers = [] if observer is None else [observer]
    memory = package.Memory(100_000, observers=observers)
    chat = package.Chat(package.CallableBackend(lambda _: "Fine."), memory)
    return Talk(memory.reset, chat.send)


def _observers() -> dict[str, object]:
    """Return the observers that can be made here."""
    from finite_memory_core.telemetry import (
        OpenTelemetryObserver,
        PrometheusObserver,
        TurnRecorder,
    )

    made: dict[str, object] = {"a function that does nothing": lambda _: None}
    made["`TurnRecorder`"] = TurnRecorder()
    try:
        from prometheus_client import CollectorRegistry
    except ImportError:
        print("prometheus_client is not installed", file=sys.stderr)
    else:
        made["`PrometheusObserver`"] = PrometheusObserver(CollectorRegistry())
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        print("opentelemetry-sdk is not installed", file=sys.stderr)
    else:
        meters = MeterProvider([InMemoryMetricReader()])
        made["`OpenTelemetryObserver`, SDK without exporters"] = OpenTelemetryObserver(
            tracer_provider=TracerProvider(), meter_provider=meters
        )
    return made


# -- a copy without telemetry -------------------------------------------------------------------


def _pair(scratch: Path, number: int) -> tuple[Talk, Talk]:
    """Return talks in two copies of the package: without the lines for telemetry, and with them.

    Where in memory a copy lies is worth as much as what is measured, so each pair is loaded anew,
    and in the other order than the one before.
    """
    kinds = (True, False) if number % 2 else (False, True)
    made = {bare: _talk(_copy(scratch, f"copy_{number}_{bare}", bare=bare)) for bare in kinds}
    return made[True], made[False]


def _copy(scratch: Path, name: str, *, bare: bool) -> ModuleType:
    """Return a copy of the package under another name."""
    source = Path(finite_memory_core.__file__).parent
    copy = scratch / name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if bare and ".watch" in text:
            stripped = _Bare().visit(ast.parse(text))
            path.write_text(ast.unparse(ast.fix_missing_locations(stripped)), "utf-8")
    spec = importlib.util.spec_from_file_location(
        name, copy / "__init__.py", submodule_search_locations=[str(copy)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    for public in module.__all__:  # what is imported late is imported while the copy is there
        getattr(module, public)
    return module


def _is_watch(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "watch"


def _asks(node: ast.AST) -> type[ast.cmpop] | None:
    """Return whether a test asks for the watch: `Is` for none, `IsNot` for one, None if neither."""
    for part in ast.walk(node):
        if isinstance(part, ast.Compare) and _is_watch(part.left):
            return type(part.ops[0])
    return None


class _Bare(ast.NodeTransformer):
    """Drops what sets a watch, and of each question for one the branch for those who listen."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_If(self, node: ast.If) -> Any:
        asks = _asks(node.test)
        self.generic_visit(node)
        if asks is None:
            return node if node.body else None
        return (node.body if asks is ast.Is else node.orelse) or None

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        asks = _asks(node.test)
        self.generic_visit(node)
        if asks is None:
            return node
        return node.body if asks is ast.Is else node.orelse

    def visit_Assign(self, node: ast.Assign) -> Any:
        node.targets = [target for target in node.targets if not _is_watch(target)]
        return node if node.targets else None

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        return None if _is_watch(node.target) else node

    def visit_Try(self, node: ast.Try) -> Any:
        self.generic_visit(node)
        return node if node.handlers or node.finalbody else node.body
