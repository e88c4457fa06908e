"""``finite-memory replay``: a transcript through a memory, and what became of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ConfigError, StoreError
from ..policies import POLICIES
from . import plotting
from .options import add_memory_options, memory_from
from .reading import FORMATS, Source, read
from .replaying import Replay, TurnRecord, replay
from .showing import eviction_as_dict, low_water_of, print_context, print_eviction, print_stats
from .terminal import clean, counted, number, percent, print_table, progress


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("file", metavar="FILE", help="a transcript; '-' for standard input")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="auto",
        help='how FILE is written: a JSON list of messages or object with "messages", one '
        "message a line, a session saved by Memory.save, or a LoCoMo conversation (default: "
        "found out, LoCoMo excepted)",
    )
    add_memory_options(parser)
    parser.add_argument(
        "--compare", action="store_true", help="run all five policies, side by side"
    )
    parser.add_argument("--turns", action="store_true", help="print every turn")
    parser.add_argument(
        "--show-context", action="store_true", help="print what is in the context at the end"
    )
    parser.add_argument(
        "--explain", action="store_true", help="print the last eviction: who stayed, who left, why"
    )
    parser.add_argument("--plot", metavar="FILE.svg", help="draw it into this file")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Replay, then print; nothing is printed or written if a message is refused."""
    _check(options)
    source = read(options.file, options.format)
    replays = [_replay(source, options, policy) for policy in _policies(options)]
    if options.plot is not None:
        _write(Path(options.plot), plotting.draw(replays, Path(source.name).name))
    if options.json:
        json.dump(_as_json(source, replays, options), sys.stdout, ensure_ascii=False, indent=2)
        print()
    else:
        _print(source, replays, options)
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.compare and options.policy is not None:
        raise ConfigError("--compare runs all five policies; leave out --policy")
    if options.plot is not None:
        place = Path(options.plot)
        if not place.parent.is_dir():
            raise ConfigError(f"--plot {options.plot}: there is no directory {place.parent}")
        if place.is_dir():
            raise ConfigError(f"--plot {options.plot} is a directory; name a file in it")


def _policies(options: argparse.Namespace) -> tuple[str | None, ...]:
    return POLICIES if options.compare else (options.policy,)


def _replay(source: Source, options: argparse.Namespace, policy: str | None) -> Replay:
    named = {} if policy is None else {"policy": policy}
    make = partial(memory_from, options, session_id="replay", **named)
    return replay(source, make, partial(progress, label=f"{policy or 'replaying':<16}"))


def _write(place: Path, text: str) -> None:
    try:
        place.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StoreError(f"cannot write {place}: {error.strerror or error}") from error


# -- as JSON ------------------------------------------------------------------------------------


def _as_json(
    source: Source, replays: Iterable[Replay], options: argparse.Namespace
) -> dict[str, Any]:
    return {
        "file": source.name,
        "messages": len(source.said),
        "replays": [_replay_as_json(done, options) for done in replays],
    }


def _replay_as_json(done: Replay, options: argparse.Namespace) -> dict[str, Any]:
    data = done.to_dict()
    if options.turns:
        data["turns"] = [turn.to_dict() for turn in done.turns]
    if options.show_context:
        data["context"] = done.context.to_dict()
    if options.explain:
        data["eviction"] = eviction_as_dict(done.context.explain())
    return data


# -- as text ------------------------------------------------------------------------------------


def _print(source: Source, replays: list[Replay], options: argparse.Namespace) -> None:
    first = replays[0]
    said, turns = counted(len(source.said), "message"), counted(len(first.turns), "turn")
    tokens = number(first.stats.tokens_seen)
    print(f"{clean(source.name)}: {said}, {turns}, {tokens} tokens (estimated)")
    if options.compare:
        _print_comparison(replays)
    for done in replays:
        if not options.compare:
            _print_figures(done)
        _print_details(done, options)
    if options.plot is not None:
        print(f"drawn into {clean(options.plot)}")


def _print_figures(done: Replay) -> None:
    most = number(done.most_tokens)
    print_stats(
        done.settings,
        done.stats,
        [
            ("mean use", f"{percent(done.mean_use)} of the budget, {most} tokens at most"),
            ("sent", f"{percent(done.sent_share)} of what the full history would have cost"),
        ],
    )


def _print_comparison(replays: list[Replay]) -> None:
    settings = replays[0].settings
    print(f"budget {number(settings.budget)} tokens, low water {low_water_of(settings)}\n")
    headers = ["policy", *_COLUMNS]
    print_table(headers, ([done.settings.policy, *_comparison(done)] for done in replays))
    print(f"\nfull history in the last turn: {number(replays[0].turns[-1].full_tokens)} tokens")


_COLUMNS = (
    "evictions", "blocks left", "summaries", "at most", "mean use", "stable prefix", "sent",
    "policy ms", "longest ms",
)  # fmt: skip


def _comparison(done: Replay) -> list[str]:
    stats = done.stats
    return [
        number(stats.evictions),
        number(stats.blocks_evicted),
        number(stats.summaries),
        number(done.most_tokens),
        percent(done.mean_use),
        percent(stats.stable_share),
        percent(done.sent_share),
        f"{stats.policy_ms:.1f}",
        f"{stats.policy_ms_max:.1f}",
    ]


def _print_details(done: Replay, options: argparse.Namespace) -> None:
    name = done.settings.policy
    if options.turns:
        print(f"\nturns under {name}")
        _print_turns(done.turns)
    if options.show_context:
        print(f"\ncontext under {name} at the end: ", end="")
        print_context(done.memory, done.context)
    if options.explain:
        print()
        print_eviction(done.memory, done.context.explain(), f"last eviction under {name}")


def _print_turns(turns: Iterable[TurnRecord]) -> None:
    headers = ("turn", "messages", "tokens", "stable", "full history", "blocks left", "policy ms")
    print_table(headers, map(_turn_row, turns))


def _turn_row(turn: TurnRecord) -> list[str]:
    return [
        number(turn.number),
        number(turn.messages),
        number(turn.tokens),
        percent(turn.stable_tokens / turn.tokens if turn.tokens else 0.0),
        number(turn.full_tokens),
        number(turn.blocks_left) if turn.evictions else "",
        f"{turn.policy_ms:.1f}" if turn.evictions else "",
    ]
