"""The frame of every command: arguments, exit status, and errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

from ..errors import BudgetError, ConfigError, FiniteMemoryError, MessageError, MissingExtraError
from .terminal import clean

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

COMMANDS = {
    "chat": "talk to a backend through a bounded memory",
    "replay": "run a transcript through a memory and see what stays",
    "inspect": "look into a store without changing it",
    "backends": "list the backends that can be used, and where to get others",
    "doctor": "check this installation",
}
_ELSEWHERE = {
    "serve": (
        "bound the context of programs that cannot be changed, as a proxy",
        "finite-memory-api[server]",
    ),
}
"""Commands of other distributions of ours, and what to install for them."""
_GROUP = "finite_memory.commands"
"""The entry points of others: modules with `PURPOSE`, `configure` and `run`."""
_ENDING = """exit status: 0 all went well, 1 something failed, 2 the arguments or the input are at \
fault, 130 interrupted. Start with: finite-memory replay --help"""


class _Version(argparse.Action):
    """Prints the installed version; looking it up is slow, so only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print("finite-memory", version("finite-memory-core"))
        parser.exit()


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser. Only commands that occur in `arguments` are loaded, so help is quick."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,  # or the command's default would undo what stands before it
        help="show a traceback when something fails",
    )
    parser = argparse.ArgumentParser(
        "finite-memory",
        description="A bounded memory for conversations with language models.",
        epilog=_ENDING,
        parents=[common],
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, purpose in COMMANDS.items():
        own = commands.add_parser(name, help=purpose, parents=[common])
        own.description = f"{purpose[0].upper()}{purpose[1:]}."
        if name in arguments:
            command = import_module(f".{name}", __package__)
            own.set_defaults(run=command.run)
            command.configure(own)
    asked = next((word for word in arguments if not word.startswith("-")), "")
    found = _registered(asked) if asked and asked not in COMMANDS else None
    for name, (purpose, _) in _ELSEWHERE.items():
        if name != asked:
            commands.add_parser(name, help=purpose, parents=[common])
    if found is not None:
        own = commands.add_parser(asked, help=found.PURPOSE, parents=[common])
        own.description = f"{found.PURPOSE[0].upper()}{found.PURPOSE[1:]}."
        own.set_defaults(run=found.run)
        found.configure(own)
    return parser


def _registered(name: str) -> Any:
    """Return the module of another distribution's command; None where there is none.

    Raises:
        ConfigError: two distributions claim the name.
        MissingExtraError: the distribution that has it is not installed.
    """
    from importlib.metadata import entry_points  # slow to import

    points = {point.value: point for point in entry_points(group=_GROUP, name=name)}
    if len(points) > 1:
        claims = ", ".join(points)
        raise ConfigError(f"command {name!r} is claimed twice: {claims}; uninstall one of them")
    for point in points.values():
        return point.load()
    if name in _ELSEWHERE:
        wanted = _ELSEWHERE[name][1]
        raise MissingExtraError(
            f"the command {name!r} is part of {wanted}, which is not installed; "
            f"pip install '{wanted}'"
        )
    return None


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command; see `main`."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _print_anything()
    try:
        options = _parse(arguments)
        if isinstance(options, int):
            return options
        return _guarded(options)
    except BrokenPipeError:  # whoever read our output has had enough
        _let_go_of_output()
        return FAILED


def _parse(arguments: Sequence[str]) -> argparse.Namespace | int:
    """Return the options, or the exit status where there is nothing to run."""
    try:
        parser = build_parser(arguments)
        options = parser.parse_args(arguments)
    except FiniteMemoryError as error:
        print(f"error: {told(error)}", file=sys.stderr)
        return BAD_INPUT
    except SystemExit as ending:
        sys.stdout.flush()
        return ending.code if isinstance(ending.code, int) else BAD_INPUT
    if not hasattr(options, "run"):
        parser.print_help(sys.stderr)
        return BAD_INPUT
    return options


def _guarded(options: argparse.Namespace) -> int:
    """Run the chosen command; say in one line what went wrong."""
    debug = getattr(options, "debug", False)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if debug:
            raise
        print(f"error: {told(error)}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, (BudgetError, ConfigError, MessageError)) else FAILED
    return status


def told(error: Exception) -> str:
    """Return what to tell the user of `error`, in one line."""
    text = clean(" ".join(str(error).split()))
    if isinstance(error, FiniteMemoryError | OSError):
        return text
    return f"unexpected {type(error).__name__}: {text}; --debug shows where it comes from"


def _print_anything() -> None:
    """Escape what the terminal's encoding cannot show, rather than fail."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _let_go_of_output() -> None:
    """Send what is still buffered nowhere, or the interpreter would complain while it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
