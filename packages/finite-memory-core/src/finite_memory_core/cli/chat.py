"""``finite-memory chat``: a conversation on the terminal, or through a pipe, one message a line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path

from ..backends.asking import title
from ..chat import Chat
from ..errors import ConfigError, FiniteMemoryError, StoreError
from ..events import Observer
from ..memory import Memory
from ..messages import Message
from .backend_spec import backend_from
from .options import add_memory_options, given, memory_from
from .pages import load_page
from .showing import described, print_context, print_eviction, print_stats, said
from .stores import open_store, place_of
from .terminal import clean, counted


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--backend",
        default="reader",
        metavar="SPEC",
        help="what replies: reader (the default; it quotes what the memory kept and is no language "
        "model), module:function for a function of yours, or a name of 'finite-memory backends'",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--store",
        metavar="STORE",
        help="keep the transcript in this SQLite file, or in the PostgreSQL database at this URL "
        "(postgresql://...)",
    )
    where.add_argument("--load", metavar="FILE", help="go on with a session that /save wrote")
    parser.add_argument(
        "--session",
        metavar="NAME",
        help="the session in the store; it is taken up where it stopped, or begun (default: a new "
        "one with a random name)",
    )
    parser.add_argument("--system", metavar="TEXT", help="instructions for a new conversation")
    parser.add_argument(
        "--ui",
        action="store_true",
        help="talk in a page in the browser, which shows the memory at work; it is served to this "
        "machine alone",
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="PORT", help="with --ui: the port (default: any)"
    )
    add_memory_options(parser)


def run(options: argparse.Namespace) -> int:
    """Talk until the input ends; 1 if a turn failed that nobody saw fail, which is in a pipe."""
    if options.session is not None and options.store is None:
        raise ConfigError("--session names a session of a store; give --store too")
    backend = backend_from(options.backend)
    page = load_page() if options.ui else None
    with ExitStack() as stack:
        memory = _memory(options, stack, () if page is None else (page,))
        chat = Chat(backend, memory, clock=lambda: datetime.now().astimezone())
        conversation = _Conversation(chat, options.system)
        conversation.open()
        if page is not None:
            page.run(chat, port=options.port, title=title(backend), told=_say_where)
            return 0
        interactive = sys.stdin.isatty()
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="strict")  # or bytes would come in as lone surrogates
        if interactive:
            _complete(list(_COMMANDS))
            _greet(chat, options)
        failed = _talk(conversation, _prompted() if interactive else _piped())
    return 1 if failed and not interactive else 0


def _memory(
    options: argparse.Namespace, stack: ExitStack, observers: tuple[Observer, ...]
) -> Memory:
    """Return the memory: new, from a file, or from a store that `stack` closes."""
    if options.load is not None:
        return Memory.load(options.load, observers=observers, **given(options))
    if options.store is None:
        return memory_from(options, observers=observers)
    store = stack.enter_context(open_store(options.store))
    options.store = place_of(store, options.store)
    if options.session is not None and store.session(options.session) is not None:
        return Memory.resume(store, options.session, observers=observers, **given(options))
    return memory_from(options, store=store, session_id=options.session, observers=observers)


def _say_where(address: str) -> None:
    print(f"The conversation is at {address}\nCtrl-C ends.", flush=True)


# -- what is typed ------------------------------------------------------------------------------


def _prompted() -> Iterator[str]:
    """Yield what is typed, until Ctrl-D. Ctrl-C only drops the line that is being typed."""
    while True:
        try:
            yield input("\n> ")
        except KeyboardInterrupt:
            print("\nCtrl-D or /quit ends the chat")
        except EOFError:
            print()
            return
        except UnicodeDecodeError as error:
            print(f"error: that was no {error.encoding}; say it again", file=sys.stderr)


def _piped() -> Iterator[str]:
    """Yield the lines of standard input."""
    try:
        for line in sys.stdin:
            yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is no {error.encoding}: {error.reason}") from error


def _complete(words: list[str]) -> None:
    """Let Tab complete commands, and the arrows bring lines back, where readline is at hand."""
    with suppress(ImportError):
        import readline

        def complete(text: str, state: int) -> str | None:
            found = [word for word in words if text and word.startswith(text)]
            return found[state] if state < len(found) else None

        readline.set_completer_delims(" ")
        readline.set_completer(complete)
        readline.parse_and_bind("tab: complete")


def _greet(chat: Chat, options: argparse.Namespace) -> None:
    memory = chat.memory
    print(f"{clean(title(chat.backend))} with {described(memory.settings)}")
    if options.backend == "reader":
        print("The reader is no language model: it quotes what matches in its context.")
    if options.store is not None:
        print(f"Session {clean(memory.session_id)} of {clean(options.store)}")
    if count := memory.stats.messages:
        print(f"{counted(count, 'message')} so far.")
    print("/help lists commands, Ctrl-C stops a reply, Ctrl-D ends.")


# -- what is done with it -----------------------------------------------------------------------


def _talk(conversation: _Conversation, lines: Iterator[str]) -> bool:
    """Take each line as a message or a command, until one says to end; tell whether any failed."""
    failed = False
    for line in lines:
        if not line.strip():
            continue
        try:
            if conversation.take(line, lines):
                break
        except FiniteMemoryError as error:
            failed = True
            print(f"error: {clean(str(error))}", file=sys.stderr)
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            print("\n[stopped; the turn was undone]")
    return failed


class _Conversation:
    """A chat, and the commands on it."""

    def __init__(self, chat: Chat, system: str | None) -> None:
        self._chat = chat
        self._memory = chat.memory
        self._system = system

    def open(self) -> None:
        """Give the instructions, if the conversation has not begun."""
        if self._system is not None and not self._memory.stats.messages:
            self._memory.append(Message.system(self._system))

    def take(self, line: str, lines: Iterator[str]) -> bool:
        """Answer a message, or do what a command says; return whether the chat is to end.

        A message that begins with a slash is written with two.
        """
        if not line.startswith("/") or line.startswith("//"):
            self._say(line[1:] if line.startswith("//") else line)
            return False
        name, _, rest = line.partition(" ")
        if name in ("/quit", "/exit"):
            return True
        if name not in _COMMANDS:
            raise ConfigError(f"there is no command {name}; /help lists those there are")
        _COMMANDS[name](self, rest.strip(), lines)
        return False

    def _say(self, text: str) -> None:
        with closing(self._chat.stream(text)) as pieces:  # type: ignore[type-var]
            written = False
            try:
                for piece in pieces:
                    print(clean(piece.text), end="", flush=True)
                    written = written or bool(piece.text)
                    if piece.reply is not None and piece.reply.tool_calls:
                        print(clean(said(Message.assistant(tool_calls=piece.reply.tool_calls))))
            finally:
                if written:
                    print()

    def stats(self, _: str, __: Iterator[str]) -> None:
        """What the memory has seen, holds and did."""
        print_stats(self._memory.settings, self._memory.stats)

    def context(self, _: str, __: Iterator[str]) -> None:
        """What a model would see now."""
        print_context(self._memory, self._memory.context())

    def explain(self, _: str, __: Iterator[str]) -> None:
        """Why blocks stayed and left at the last eviction."""
        print_eviction(self._memory, self._memory.context().explain(), "last eviction")

    def dry_run(self, _: str, __: Iterator[str]) -> None:
        """What an eviction would do now; nothing changes."""
        print_eviction(self._memory, self._memory.dry_run(), "an eviction now")

    def pin(self, rest: str, _: Iterator[str]) -> None:
        """Keep messages for good, by their numbers in /context; what left comes back."""
        self._memory.pin(*_numbers(rest, "/pin"))
        print("pinned")

    def unpin(self, rest: str, _: Iterator[str]) -> None:
        """Let pinned messages leave again."""
        self._memory.unpin(*_numbers(rest, "/unpin"))
        print("no longer pinned")

    def forget(self, rest: str, lines: Iterator[str]) -> None:
        """Delete messages for good, or the whole conversation, in the store too; asks first."""
        numbers = _numbers(rest, "/forget") if rest else []
        count = counted(len(numbers) or self._memory.stats.messages, "message")
        print(f"Delete {count} for good? Type yes:")
        if next(lines, "").strip().lower() != "yes":
            print("nothing was deleted")
            return
        if numbers:
            count = counted(len(self._memory.forget(*numbers)), "message")
        else:
            self._memory.reset()
            self.open()
        print(f"deleted {count}")

    def save(self, rest: str, _: Iterator[str]) -> None:
        """Write the session to a file; 'finite-memory chat --load FILE' goes on with it."""
        if not rest:
            raise ConfigError("/save needs the path of the file to write")
        place = Path(rest).expanduser()
        if place.exists() and not _is_session(place):
            raise StoreError(f"{place} exists and is no saved session; give another name")
        self._memory.save(place)
        print(f"saved to {clean(str(place))}")

    def help(self, _: str, __: Iterator[str]) -> None:
        """This list."""
        for name, command in _COMMANDS.items():
            arguments = _ARGUMENTS.get(name, "")
            print(f"{f'{name} {arguments}':<17} {(command.__doc__ or '').splitlines()[0]}")
        print(f"{'/quit':<17} End, as Ctrl-D does.")
        print(f"{'//text':<17} Say text that begins with a slash.")


def _is_session(place: Path) -> bool:
    from ..persistence import FORMAT

    try:
        with place.open("rb") as file:
            return FORMAT.encode() in file.read(100)
    except OSError as error:
        raise StoreError(f"cannot write {place}: {error.strerror or error}") from error


_COMMANDS: dict[str, Callable[[_Conversation, str, Iterator[str]], None]] = {
    "/stats": _Conversation.stats,
    "/context": _Conversation.context,
    "/explain": _Conversation.explain,
    "/dry-run": _Conversation.dry_run,
    "/pin": _Conversation.pin,
    "/unpin": _Conversation.unpin,
    "/save": _Conversation.save,
    "/forget": _Conversation.forget,
    "/help": _Conversation.help,
}
_ARGUMENTS = {"/pin": "N ...", "/unpin": "N ...", "/forget": "[N ...]", "/save": "FILE"}


def _numbers(text: str, command: str) -> list[int]:
    """Read message numbers, such as ``"3 #17"``."""
    try:
        found = [int(word.lstrip("#")) for word in text.split()]
    except ValueError:
        found = []
    if not found:
        raise ConfigError(f"{command} takes message numbers as /context shows them, got {text!r}")
    return found
