"""The command as a whole: help, versions, statuses, output, and the small commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from finite_memory_core import available_backends
from finite_memory_core.cli import main
from finite_memory_core.cli.app import COMMANDS
from finite_memory_core.cli.terminal import clean, columns, one_line

from .cli_program import PROGRAM, as_json, environment, run, talk, write_lines


def path_with(folder: Path) -> str:
    """Return a module search path that has `folder` first."""
    return os.pathsep.join([str(folder), *filter(None, sys.path)])


# -- help and statuses ----------------------------------------------------------------------------


def test_the_installed_script_is_this_program() -> None:
    """``finite-memory`` lies beside the interpreter."""
    script = Path(sys.executable).with_name("finite-memory")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    assert (0, f"finite-memory {version('finite-memory-core')}\n") == (done.returncode, done.stdout)


def test_help_names_every_command() -> None:
    """Each with what it is for."""
    done = run("--help")
    assert (0, "") == (done.returncode, done.stderr)
    assert all(re.search(rf"(?m)^    {name} ", done.stdout) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    """It says what the command does before its options."""
    done = run(name, "--help")
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith(f"usage: finite-memory {name}")
    assert COMMANDS[name][1:] in " ".join(done.stdout.split())


def test_help_loads_no_command() -> None:
    """Help is quick: nothing is imported that only a command needs."""
    program = (
        "import sys; before = {*sys.modules}; from finite_memory_core.cli import main;"
        "main(['--help']); loaded = {*sys.modules} - before;"
        "sys.exit(len(loaded & {'sqlite3', 'finite_memory_core.memory'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert 0 == done.returncode


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "usage: finite-memory"),
        (["--debug"], "usage: finite-memory"),
        (["remember"], "invalid choice"),
        (["replay"], "required: FILE"),
        (["doctor", "--nothing"], "unrecognized arguments: --nothing"),
        (["replay", "chat", "--budget"], "expected one argument"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str) -> None:
    """Status 2, the usage on standard error, nothing on standard output."""
    done = run(*arguments)
    assert (2, "") == (done.returncode, done.stdout)
    assert told in done.stderr


def test_main_returns_and_never_exits(capsys: pytest.CaptureFixture[str]) -> None:
    """`main` may be called from Python: help, errors and results are statuses."""
    assert [0, 2, 2, 0] == [
        main(arguments) for arguments in (["--help"], ["remember"], ["replay", "-x"], ["backends"])
    ]
    assert "reader" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--debug", "inspect"], ["inspect", "--debug"]])
def test_a_traceback_only_for_those_who_ask(arguments: list[str]) -> None:
    """Without --debug an error is one line; with it, wherever it stands, there is a traceback."""
    assert "Traceback" not in run("inspect", "missing.db").stderr
    done = run(*arguments, "missing.db")
    assert (1, True) == (done.returncode, "Traceback" in done.stderr)


def test_what_nobody_expected_is_one_line_too(tmp_path: Path) -> None:
    """A defect says where to look, and is a failure."""
    (tmp_path / "defect.py").write_text(
        "class Stream:\n    name = 'x'\n    @property\n    def stream(self): return 1 / 0\n"
        "    def __call__(self): pass\nfound = Stream()\n"
    )
    done = run("chat", "--backend", "defect:found", said="hi", cwd=tmp_path)
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("error: unexpected ZeroDivisionError: ")
    assert "--debug" in done.stderr


# -- output ---------------------------------------------------------------------------------------


def test_a_reader_that_had_enough(tmp_path: Path) -> None:
    """A closed pipe ends the program with status 1, without a word."""
    path = write_lines(tmp_path / "talk.jsonl", talk(50))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nowhere:
        done = subprocess.run(
            [*PROGRAM, "replay", str(path), "--turns"],
            stdout=nowhere,
            stderr=subprocess.PIPE,
            env=environment({}),
            check=False,
        )
    assert (1, b"") == (done.returncode, done.stderr)


def test_help_for_a_reader_that_had_enough() -> None:
    """Help into a closed pipe is no traceback either."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nowhere:
        done = subprocess.run(
            [*PROGRAM, "--help"],
            stdout=nowhere,
            stderr=subprocess.PIPE,
            env=environment({}),
            check=False,
        )
    assert (1, b"") == (done.returncode, done.stderr)


def test_an_encoding_that_knows_little(tmp_path: Path) -> None:
    """What it cannot show is escaped; nothing fails."""
    said = [{"role": "user", "content": "Grüße aus 東京"}]
    path = write_lines(tmp_path / "talk.jsonl", said)
    asked = ("replay", path, "--show-context")
    done = run(*asked, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (0, "") == (done.returncode, done.stderr)
    assert r"Gr\xfc\xdfe aus \u6771\u4eac" in done.stdout


# -- harmless text --------------------------------------------------------------------------------


@given(st.text(), st.integers(2, 60))
def test_no_text_can_steer_a_terminal(text: str, width: int) -> None:
    """Whatever is said becomes printable, encodable, and as narrow as asked for."""
    line = one_line(text, width)
    assert columns(line) <= width
    for shown in (clean(text), line):
        shown.encode()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", shown)
    assert "\n" not in line


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"])))
def test_harmless_text_is_left_alone(text: str) -> None:
    """Letters, numbers, punctuation and symbols of every script stay as they are."""
    assert text == clean(text)


@pytest.mark.parametrize(
    ("text", "width", "line"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("東京都", 6, "東京都"),
        ("東京都庁", 6, "東京…"),
        ("a\n b\t c", 10, "a b c"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
        ("x " * 99, 5, "x x …"),
        ("a" + " " * 999 + "b", 5, "a…"),
    ],
)
def test_columns_are_what_is_counted(text: str, width: int, line: str) -> None:
    """Wide characters take two columns, combining marks none."""
    assert line == one_line(text, width)


# -- backends and doctor --------------------------------------------------------------------------


def test_backends_are_listed() -> None:
    """Those that are here, and for the others what to install."""
    lines = run("backends").stdout.splitlines()
    assert "reader           installed" in lines
    assert "hf               not installed: pip install finite-memory-local" in lines
    found = {each["name"]: each["distribution"] for each in as_json("backends")["backends"]}
    assert available_backends() == found


def test_doctor_finds_a_working_installation() -> None:
    """All that is needed is there; what is optional may be missing."""
    found = as_json("doctor")
    checks = {check["name"]: check for check in found["checks"]}
    assert found["ok"]
    assert {"ok", "missing"} >= {check["state"] for check in found["checks"]}
    assert version("finite-memory-core") == checks["finite-memory-core"]["detail"]
    assert {"python", "sqlite", "sqlite FTS5", "store", "extra rich", "output"} <= set(checks)
    done = run("doctor")
    assert 0 == done.returncode
    assert done.stdout.endswith("everything that is needed works\n")
    assert len(found["checks"]) + 1 == len(done.stdout.splitlines())


def test_doctor_without_sqlite(tmp_path: Path) -> None:
    """A Python without sqlite3 is named as broken, with status 1."""
    (tmp_path / "sqlite3.py").write_text("raise ImportError('no sqlite3')\n", "utf-8")
    done = run("doctor", PYTHONPATH=path_with(tmp_path))
    assert 1 == done.returncode
    assert re.search(r"(?m)^broken +sqlite +no sqlite3", done.stdout)
    assert done.stdout.endswith("1 broken\n")


def register(folder: Path, name: str, module: str) -> None:
    """Put a distribution with one command into `folder`."""
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[finite_memory.commands]\n{name} = {module}\n")
    (folder / f"{module}.py").write_text(
        "PURPOSE = 'greet somebody'\n"
        "def configure(parser): parser.add_argument('who')\n"
        "def run(options): print('hello', options.who); return 0\n"
    )


def test_another_distribution_adds_a_command(tmp_path: Path) -> None:
    """Its options, its help and its status are those of any command."""
    register(tmp_path, "greet", "greeting")
    done = run("greet", "Ada", PYTHONPATH=path_with(tmp_path))
    assert (0, "hello Ada\n") == (done.returncode, done.stdout)
    told = run("greet", "--help", PYTHONPATH=path_with(tmp_path))
    assert "Greet somebody." in told.stdout


def test_a_command_that_is_claimed_twice(tmp_path: Path) -> None:
    """Neither runs."""
    register(tmp_path, "greet", "greeting")
    register(tmp_path, "greet", "other")
    done = run("greet", "Ada", PYTHONPATH=path_with(tmp_path))
    assert 2 == done.returncode
    assert "claimed twice" in done.stderr


def test_a_command_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says what to install; help lists the command all the same."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    assert 2 == main(["serve"])
    assert "pip install 'finite-memory-api[server]'" in capsys.readouterr().err
    assert 0 == main(["--help"])
    assert re.search(r"(?m)^ +serve +bound", capsys.readouterr().out)


def test_doctor_wants_one_version_of_all(tmp_path: Path) -> None:
    """Distributions that were not made for each other are named."""
    info = tmp_path / "finite_memory_api-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: finite-memory-api\nVersion: 99.0\n"
    )
    done = run("doctor", "--json", PYTHONPATH=path_with(tmp_path))
    assert 1 == done.returncode
    broken = [each for each in json.loads(done.stdout)["checks"] if each["state"] == "broken"]
    found = {each["name"]: each["detail"] for each in broken}
    assert found.keys() >= {
        "finite-memory-api",
        "finite-memory-core",
    }  # there may be others of ours
    assert found["finite-memory-api"].startswith("99.0;")  # the first on the path is what is used
    assert all(name.startswith("finite-memory-") for name in found)
    assert all("same version" in detail for detail in found.values())


def test_doctor_names_what_is_optional(tmp_path: Path) -> None:
    """An output that is no UTF-8 is worth a word, no failure."""
    done = run("doctor", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert 0 == done.returncode
    assert re.search(r"(?m)^missing +output .*PYTHONUTF8=1", done.stdout)
