"""``finite-memory chat``, as it is used: through a pipe, and in a pseudo-terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from finite_memory_core import Memory, Message, SQLiteStore

from .cli_program import PROGRAM, environment, run

if TYPE_CHECKING:
    import pexpect
else:
    pexpect = pytest.importorskip("pexpect", reason="there are no pseudo-terminals here")

BACKENDS = """
from threading import Event

from finite_memory_core import Backend, Delta, Message, ToolCall


def echo(context):
    return context.question.text.upper()


def hostile(context):
    yield "\\x1b[2J"
    yield "gone\\x07"


def failing(context):
    yield "half an "
    raise OSError("the line is dead")


def calling(context):
    return Message.assistant(tool_calls=[ToolCall("c", "look", '{"at": "sky"}')])


def waiting(context):
    yield "I am thinking"
    Event().wait()


class Streaming(Backend):
    name = "streaming"

    def stream(self, context):
        yield Delta("one ")
        yield Delta("two", finish="stop")


class Needy(Streaming):
    def __init__(self, key):
        self.key = key


nested = Streaming()
number = 7
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a module of backends in it."""
    (tmp_path / "mine.py").write_text(BACKENDS, "utf-8")
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n", "utf-8")
    return tmp_path


@pytest.fixture
def typed(here: Path) -> Callable[..., pexpect.spawn[str]]:
    """Start a chat in a pseudo-terminal."""

    def start(*arguments: str, echo: bool = False, **more: str) -> pexpect.spawn[str]:
        [python, *rest] = PROGRAM
        return pexpect.spawn(
            python,
            [*rest, "chat", *arguments],
            cwd=str(here),
            env=environment(more),
            encoding="utf-8",
            echo=echo,
            timeout=60,
        )

    return start


def left(child: pexpect.spawn[str]) -> int | None:
    """Wait for the end of a chat and return its status."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def interrupt(child: pexpect.spawn[str], told: str) -> None:
    """Press Ctrl-C until it is heard: one that comes just before Python blocks waits for more."""
    for _ in range(10):
        child.sendintr()
        if child.expect([told, pexpect.TIMEOUT], timeout=5) == 0:
            return
    raise AssertionError(f"no {told!r} after Ctrl-C: {child.before!r}")


# -- through a pipe -----------------------------------------------------------------------------


def test_a_line_is_a_message(here: Path) -> None:
    """Each line gets a reply; nothing else is printed."""
    done = run("chat", "--backend", "mine:echo", said="Hello.\n\nGood bye.", cwd=here)
    assert (0, "HELLO.\nGOOD BYE.\n", "") == (done.returncode, done.stdout, done.stderr)


def test_the_reader_is_the_default_and_says_what_it_is() -> None:
    """It quotes what the memory kept, and does not pretend to be a model."""
    said = "My sister Ada lives in Turin.\nWhere does Ada live?\n"
    done = run("chat", said=said)
    assert 0 == done.returncode
    assert "no" in done.stdout
    assert "not a language model" in done.stdout
    assert '"My sister Ada lives in Turin."' in done.stdout


@pytest.mark.parametrize(
    ("spec", "reply"),
    [("mine:Streaming", "one two\n"), ("mine:nested", "one two\n"), ("mine:echo", "HI\n")],
)
def test_backends_of_ones_own(here: Path, spec: str, reply: str) -> None:
    """A function, a backend and a class of backends in the current folder all serve."""
    assert reply == run("chat", "--backend", spec, said="hi", cwd=here).stdout


def test_the_installed_script_finds_them_too(here: Path) -> None:
    """The current folder is searched, though the script lies elsewhere."""
    done = subprocess.run(
        [Path(sys.executable).with_name("finite-memory"), "chat", "--backend", "mine:echo"],
        input=b"hi",
        capture_output=True,
        cwd=here,
        check=False,
    )
    assert (0, b"HI") == (done.returncode, done.stdout.rstrip())


@pytest.mark.parametrize(
    ("spec", "status", "told"),
    [
        ("mine:nothing", 2, "module 'mine' has no 'nothing'"),
        ("mine:number", 2, "takes a function"),
        ("mine:Needy", 2, "cannot be made without arguments"),
        ("broken:f", 2, "cannot import 'broken' for the backend: ModuleNotFoundError"),
        ("mine", 2, "there is no backend 'mine'"),
        ("mine:", 2, "module:function names a function of your own"),
        ("reader:big", 2, "nothing stands behind its name"),
        ("openai:any", 1, "pip install finite-memory-api"),
        ("hf:any/model", 1, "pip install finite-memory-local"),
    ],
)
def test_backends_that_cannot_be_had(here: Path, spec: str, status: int, told: str) -> None:
    """The error says what is missing, in one line, before anything is read."""
    done = run("chat", "--backend", spec, said="hi", cwd=here)
    assert (status, "") == (done.returncode, done.stdout)
    assert told in done.stderr
    assert 1 == done.stderr.count("\n")


def test_a_failed_turn_is_undone_and_told(here: Path) -> None:
    """What had arrived is shown, the error follows, the memory is what it was, the rest goes on."""
    done = run("chat", "--backend", "mine:failing", said="Hello.\n/stats\n", cwd=here)
    assert 1 == done.returncode
    assert done.stdout.startswith("half an \n")
    assert re.search(r"transcript +0 messages", done.stdout)
    assert "the line is dead" in done.stderr


def test_a_reply_cannot_move_the_cursor(here: Path) -> None:
    """Escape sequences of a model are shown, not obeyed."""
    done = run("chat", "--backend", "mine:hostile", said="Hello.", cwd=here)
    assert "\\x1b[2Jgone\\x07\n" == done.stdout


def test_a_tool_call_is_shown(here: Path) -> None:
    """A reply that only calls a tool is not an empty line."""
    done = run("chat", "--backend", "mine:calling", said="Look.", cwd=here)
    assert '→ look({"at": "sky"})\n' == done.stdout


def test_input_that_is_no_text(here: Path) -> None:
    """Bytes that are no UTF-8 end the chat with status 2; a NUL is refused as a message."""
    done = run("chat", "--backend", "mine:echo", said=b"\xff\xfe\n", cwd=here)
    assert (2, "") == (done.returncode, done.stdout)
    assert "standard input is no utf-8" in done.stderr
    done = run("chat", "--backend", "mine:echo", said="a\0b\nfine\n", cwd=here)
    assert (1, "FINE\n") == (done.returncode, done.stdout)
    assert "NUL" in done.stderr


def test_interrupting_a_pipe_ends_it(here: Path) -> None:
    """Ctrl-C on a program that nobody types into ends it with status 130."""
    chat = subprocess.Popen(
        [*PROGRAM, "chat", "--backend", "mine:waiting"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=here,
        env=environment({}),
    )
    with chat:
        assert chat.stdin is not None
        assert chat.stdout is not None
        chat.stdin.write(b"Hello.\n")
        chat.stdin.flush()
        assert b"I am thinking" == chat.stdout.read(13)
        chat.send_signal(signal.SIGINT)
        assert 130 == chat.wait(60)


# -- commands -------------------------------------------------------------------------------------


def command(here: Path, *lines: str, **more: str) -> str:
    """Return what commands print, after two turns with the echo."""
    said = "\n".join(["My cat is Ada.", "My dog is Bob.", *lines])
    done = run("chat", "--backend", "mine:echo", said=said, cwd=here, **more)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.removeprefix("MY CAT IS ADA.\nMY DOG IS BOB.\n")


def test_stats(here: Path) -> None:
    """The memory's figures."""
    assert re.search(r"(?m)^transcript +4 messages, \d+ tokens$", command(here, "/stats"))


def test_context(here: Path) -> None:
    """What a model would see, numbered."""
    lines = command(here, "/context").splitlines()
    assert re.fullmatch(r"4 messages, \d+ of 4,096 tokens", lines[0])
    assert "#0      user       My cat is Ada." == lines[1]
    assert "#3      assistant  MY DOG IS BOB." == lines[4]


def test_explain_and_dry_run(here: Path) -> None:
    """Why blocks left, and what would leave now; the first is nothing while all fits."""
    assert "last eviction: everything fitted so far" in command(here, "/explain")
    assert "an eviction now, at message 4, by hybrid: 0 of 4 blocks" in command(here, "/dry-run")


def test_pin_and_unpin(here: Path) -> None:
    """A pinned message says so in the dry run, until it is unpinned."""
    printed = command(here, "/pin 0 #1", "/dry-run", "/unpin 0 1", "/dry-run")
    assert printed.startswith("pinned\n")
    pinned, _, free = printed.partition("no longer pinned\n")
    assert (2, 0) == (pinned.count("kept  pinned"), free.count("kept  pinned"))


def test_forget_asks(here: Path) -> None:
    """Only a yes deletes, and the instructions are given again."""
    printed = command(here, "/forget", "no", "/forget", "Yes", "/context")
    assert "nothing was deleted\n" in printed
    assert "deleted 4 messages\n0 messages, 3 of 4,096 tokens\n" in printed
    done = run("chat", "--system", "Be brief.", said="/forget\nyes\n/context\n", cwd=here)
    assert "#0      system     Be brief." in done.stdout
    assert "nothing was deleted" in run("chat", said="/forget", cwd=here).stdout


def test_forget_takes_numbers(here: Path) -> None:
    """Single messages are deleted after a yes; the others keep their numbers."""
    printed = command(here, "/forget 0 #1", "yes", "/context")
    assert "Delete 2 messages for good? Type yes:\ndeleted 2 messages\n" in printed
    assert "#2 " in printed
    assert "#0 " not in printed.partition("deleted")[2]


def test_save_and_load(here: Path) -> None:
    """A saved session is taken up with --load; no other file is overwritten."""
    assert "saved to kept.json\n" == command(here, "/save kept.json")
    assert "saved to kept.json\n" == command(here, "/save kept.json")
    printed = run("chat", "--load", "kept.json", "--budget", "900", said="/stats", cwd=here).stdout
    assert "budget 900 tokens" in printed
    assert re.search(r"transcript +4 messages", printed)
    done = run("chat", said="/save mine.py\n/save .\n/save nowhere/a.json\n/save\n", cwd=here)
    assert 1 == done.returncode
    assert "mine.py exists and is no saved session" in done.stderr
    assert "cannot write ." in done.stderr
    assert "cannot write the session to 'nowhere/a.json'" in done.stderr
    assert "/save needs the path" in done.stderr
    assert BACKENDS == (here / "mine.py").read_text("utf-8")


def test_help_quit_and_slashes(here: Path) -> None:
    """Help names every command; two slashes begin a message with one; /quit ends."""
    printed = command(here, "/help", "//etc is a folder", "/quit", "never said")
    names = {line.split()[0] for line in printed.splitlines() if line.startswith("/")}
    listed = {"/stats", "/context", "/explain", "/dry-run", "/pin", "/unpin", "/save", "/forget"}
    assert listed | {"/help", "/quit", "//text", "/ETC"} == names
    assert "NEVER" not in printed


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/nothing", "there is no command /nothing; /help"),
        ("/pin", "/pin takes message numbers"),
        ("/pin one", "/pin takes message numbers"),
        ("/pin 99", "there is no message 99"),
        ("/forget one", "/forget takes message numbers"),
        ("/unpin 99", "there is no message 99"),
    ],
)
def test_commands_that_cannot_be_done(here: Path, line: str, told: str) -> None:
    """The chat goes on, and a pipe ends with status 1."""
    done = run("chat", "--backend", "mine:echo", said=f"{line}\nhi\n", cwd=here)
    assert (1, "HI\n") == (done.returncode, done.stdout)
    assert told in done.stderr


# -- a store --------------------------------------------------------------------------------------


def test_a_session_goes_on_where_it_stopped(here: Path) -> None:
    """The second run knows what the first was told; changed settings are taken."""
    kept = ("chat", "--store", "s.db", "--session", "ada", "--backend", "mine:echo")
    run(*kept, "--budget", "500", "--system", "Be brief.", said="One.", cwd=here)
    printed = run(*kept, "--system", "Ignored.", said="Two.\n/stats", cwd=here).stdout
    assert re.search(r"transcript +5 messages", printed)
    assert "budget 500 tokens" in printed
    with SQLiteStore(here / "s.db") as store:
        said = [message.text for message in Memory.resume(store, "ada").transcript]
    assert ["Be brief.", "One.", "ONE.", "Two.", "TWO."] == said


def test_messages_have_their_time(here: Path) -> None:
    """What is said in a chat carries when it was said, with its offset."""
    run("chat", "--store", "s.db", "--session", "a", said="One.", cwd=here)
    with SQLiteStore(here / "s.db") as store:
        stamps = [message.timestamp for message in Memory.resume(store, "a").transcript]
    assert all(stamp is not None and stamp.tzinfo is not None for stamp in stamps)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--session", "a"], 2, "give --store too"),
        (["--store", "a.db", "--load", "a.json"], 2, "not allowed with"),
        (["--load", "missing.json"], 1, "cannot read a session"),
        (["--store", "mine.py"], 1, "is no SQLite database"),
        (["--store", "nowhere/a.db"], 1, "there is no directory"),
        (["--budget", "-1"], 2, "budget must be"),
        (["--budget", "20", "--system", "word " * 99], 2, "budget of 20"),
    ],
)
def test_chats_that_cannot_begin(here: Path, arguments: list[str], status: int, told: str) -> None:
    """Nothing is read or made."""
    done = run("chat", *arguments, said="hi", cwd=here)
    assert (status, "") == (done.returncode, done.stdout)
    assert told in done.stderr


def test_another_writer_is_noticed(here: Path, typed: Callable[..., pexpect.spawn[str]]) -> None:
    """A turn on a session that someone else appended to is refused, and nothing is lost."""
    child = typed("--backend", "mine:echo", "--store", "s.db", "--session", "a")
    child.expect("> ")
    child.sendline("One.")
    child.expect("ONE.")
    child.expect("> ")
    with SQLiteStore(here / "s.db") as store:
        Memory.resume(store, "a").append(Message.user("Mine."), Message.assistant("Me too."))
    child.sendline("Two.")
    child.expect("error: another writer appended to session 'a'")
    child.sendline("/quit")
    assert 0 == left(child)
    with SQLiteStore(here / "s.db") as store:
        said = [message.text for message in Memory.resume(store, "a").transcript]
    assert ["One.", "ONE.", "Mine.", "Me too."] == said


# -- at a terminal --------------------------------------------------------------------------------


def test_a_chat_at_a_terminal(typed: Callable[..., pexpect.spawn[str]]) -> None:
    """It greets, prompts, replies, and Ctrl-D ends it well."""
    child = typed("--budget", "2000")
    child.expect("reader with hybrid, budget 2,000 tokens")
    child.expect("no language model")
    child.expect("/help lists commands")
    child.expect("> ")
    child.sendline("My sister Ada lives in Turin.")
    child.expect("> ")
    child.sendline("Where does Ada live?")
    child.expect('"My sister Ada lives in Turin."')
    child.expect("> ")
    child.sendeof()
    assert 0 == left(child)


def test_what_went_before_is_told(here: Path, typed: Callable[..., pexpect.spawn[str]]) -> None:
    """A resumed session says how much has been said."""
    run("chat", "--store", "s.db", "--session", "a", said="One.", cwd=here)
    child = typed("--store", "s.db", "--session", "a")
    child.expect("Session a of s.db")
    child.expect("2 messages so far")
    child.expect("> ")
    child.sendline("/exit")
    assert 0 == left(child)


def test_ctrl_c_stops_the_reply_and_not_the_program(
    typed: Callable[..., pexpect.spawn[str]],
) -> None:
    """The turn is undone, and the next one may follow."""
    child = typed("--backend", "mine:waiting")
    child.expect("> ")
    child.sendline("Hello.")
    child.expect("I am thinking")
    interrupt(child, "stopped; the turn was undone")
    child.expect("> ")
    child.sendline("/stats")
    child.expect(r"transcript +0 messages")
    child.expect("> ")
    child.sendeof()
    assert 0 == left(child)


def test_ctrl_c_at_the_prompt_drops_the_line(typed: Callable[..., pexpect.spawn[str]]) -> None:
    """It says how to end, and prompts again."""
    child = typed("--backend", "mine:echo", echo=True)
    child.expect("> ")
    child.send("never mind")
    child.expect("never mind")  # or Ctrl-C flushes what readline has begun to read
    interrupt(child, "Ctrl-D or /quit ends the chat")
    child.expect("> ")
    child.sendline("Hello.")
    child.expect("HELLO.")
    child.expect("> ")
    child.sendeof()
    assert 0 == left(child)


def test_a_failure_at_a_terminal_is_no_failure_of_the_program(
    typed: Callable[..., pexpect.spawn[str]],
) -> None:
    """Whoever saw the error may go on; the status is 0."""
    child = typed("--backend", "mine:failing")
    child.expect("> ")
    child.sendline("Hello.")
    child.expect("error: .*the line is dead")
    child.expect("> ")
    child.sendeof()
    assert 0 == left(child)


def test_bytes_that_are_no_text_at_a_terminal(typed: Callable[..., pexpect.spawn[str]]) -> None:
    """They are refused, and the chat goes on."""
    child = typed("--backend", "mine:echo")
    child.expect("> ")
    os.write(child.fileno(), b"\xff\xfe\n")
    child.expect("error: that was no utf-8; say it again")
    child.expect("> ")
    child.sendline("Hello.")
    child.expect("HELLO.")
    child.expect("> ")  # an end that comes before the line editor is ready is lost
    child.sendeof()
    assert 0 == left(child)


def test_tab_completes_commands(typed: Callable[..., pexpect.spawn[str]]) -> None:
    """Where readline is at hand, Tab finishes a command's name."""
    pytest.importorskip("readline")
    child = typed("--backend", "mine:echo", TERM="xterm")
    child.expect("> ")
    child.send("/sta\t\n")
    child.expect("transcript +0 messages")
    child.expect("> ")
    child.send("/zzz\t\n")
    child.expect("there is no command /zzz")
    child.expect("> ")
    child.sendeof()
    assert 0 == left(child)


def test_without_readline(here: Path, typed: Callable[..., pexpect.spawn[str]]) -> None:
    """A Python without readline chats as well."""
    (here / "readline.py").write_text("raise ImportError('none')\n", "utf-8")
    child = typed("--backend", "mine:echo", PYTHONPATH=os.pathsep.join([str(here), *sys.path]))
    child.expect("> ")
    child.sendline("Hello.")
    child.expect("HELLO.")
    child.expect("> ")  # an end that comes before the line editor is ready is lost
    child.sendeof()
    assert 0 == left(child)
