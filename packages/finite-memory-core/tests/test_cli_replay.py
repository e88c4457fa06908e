"""``finite-memory replay``: what it reads, what it prints, what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from finite_memory_core import Memory, Message
from finite_memory_core.accounting import CONTEXT_OVERHEAD
from finite_memory_core.cli.reading import read
from finite_memory_core.policies import POLICIES

from .cli_program import as_json, run, talk, write_lines
from .examples import some
from .strategies import messages

LOCOMO = {
    "speaker_a": "Ines",
    "speaker_b": "Tomas",
    "session_2_date_time": "12:05 am on 3 June, 2024",
    "session_2": [{"speaker": "Tomas", "dia_id": "D2:1", "text": "Good night."}],
    "session_1_date_time": "1:56 pm on 8 May, 2024",
    "session_1": [
        {"speaker": "Ines", "dia_id": "D1:1", "text": "I painted a boat!"},
        {"speaker": "Tomas", "dia_id": "D1:2", "text": "", "blip_caption": "a red boat"},
        {"speaker": "Ines", "text": "Like this?", "blip_caption": "a blue boat"},
    ],
    "qa": [],
}


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    """A conversation of 60 turns, some 4,000 tokens."""
    return write_lines(tmp_path / "talk.jsonl", talk(60))


def without_times(value: Any) -> Any:
    """Return JSON without what a clock measured."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if "ms" not in k.split("_")}
    return [without_times(item) for item in value] if isinstance(value, list) else value


# -- figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_a_replay_does_what_the_library_does(transcript: Path, policy: str) -> None:
    """The figures are those of a `Memory` that was given the same messages."""
    [found] = as_json("replay", transcript, "--policy", policy, "--budget", "800")["replays"]
    memory, tokens = Memory(800, policy), []
    for said in talk(60):
        if said["role"] == "assistant":
            tokens.append(memory.context().token_count)
        memory.append(Message.from_dict(said))
    stats = memory.stats
    assert stats.evictions > 3
    assert without_times(stats.to_dict()) == without_times(found["stats"])
    assert sum(tokens) / len(tokens) / 800 == pytest.approx(found["mean_use"])
    assert max(tokens) == found["most_tokens"]
    assert stats.tokens_seen + CONTEXT_OVERHEAD == found["full_tokens"]


def test_a_replay_is_deterministic(transcript: Path) -> None:
    """Two runs differ in nothing but the policy's time."""
    asked = ("replay", transcript, "--budget", "700", "--compare", "--turns", "--show-context")
    first, second = as_json(*asked, "--explain"), as_json(*asked, "--explain")
    assert without_times(first) == without_times(second)


def test_the_text_has_the_numbers_of_the_json(transcript: Path) -> None:
    """What is printed for people and for programs agrees."""
    asked = ("replay", transcript, "--budget", "900", "--low-water", "0.6", "--reserve", "50")
    [found], text = as_json(*asked)["replays"], run(*asked).stdout
    stats = found["stats"]
    assert "121 messages, 60 turns" in text
    assert "hybrid, budget 900 tokens, low water 60.0 %, reserve 50" in text
    assert f"{stats['evictions']}; {stats['blocks_evicted']} blocks" in text
    assert f"{100 * stats['stable_share']:.1f} % of all context tokens" in text
    assert f"{100 * found['mean_use']:.1f} % of the budget" in text
    assert f"{100 * found['sent_share']:.1f} % of what the full history would have cost" in text


def test_every_turn_is_told(transcript: Path) -> None:
    """A turn is a call of a model; each has its tokens, and what left before it."""
    [found] = as_json("replay", transcript, "--budget", "800", "--turns")["replays"]
    turns = found["turns"]
    assert list(range(1, 61)) == [turn["number"] for turn in turns]
    assert [2 * n for n in range(1, 61)] == [turn["messages"] for turn in turns]
    assert all(turn["stable_tokens"] <= turn["tokens"] <= 800 for turn in turns)
    assert found["stats"]["stable_tokens"] == sum(turn["stable_tokens"] for turn in turns)
    lines = run("replay", transcript, "--budget", "800", "--turns").stdout.splitlines()
    assert [str(n) for n in range(1, 61)] == [
        line.split()[0] for line in lines if re.match(r"\d+ ", line)
    ]


def test_compare_runs_all_five(transcript: Path) -> None:
    """One row a policy, with the same figures as alone."""
    found = as_json("replay", transcript, "--compare", "--budget", "800")["replays"]
    assert list(POLICIES) == [each["policy"] for each in found]
    [alone] = as_json("replay", transcript, "--policy", "semantic", "--budget", "800")["replays"]
    assert without_times(alone) == without_times(found[POLICIES.index("semantic")])
    text = run("replay", transcript, "--compare", "--budget", "800").stdout
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert all(str(each["stats"]["evictions"]) == rows[each["policy"]][1] for each in found)


def test_the_context_at_the_end_is_shown(transcript: Path) -> None:
    """Each message stands with its number, who speaks and how it begins; instructions first."""
    done = run("replay", transcript, "--budget", "800", "--show-context")
    memory = Memory(800, "hybrid")
    memory.append(*map(Message.from_dict, talk(60)))
    kept = [f"#{block.index}" for block in memory.blocks]
    lines = done.stdout.splitlines()
    assert kept == [line.split()[0] for line in lines if line.startswith("#")]
    assert "#0      system     Answer in one sentence." in lines


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    """A picture stands as its type, a tool call as a call."""
    picture = {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said: list[dict[str, object]] = [
        {"role": "user", "content": [picture]},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
        {"role": "tool", "content": "", "tool_call_id": "c"},
    ]
    path = write_lines(tmp_path / "talk.jsonl", said)
    lines = run("replay", path, "--show-context").stdout.splitlines()
    assert [
        "#0      user       [image_url]",
        "#1      assistant  Let me see. → look({})",
        "#2      tool",
    ] == [line.rstrip() for line in lines[-3:]]


def test_a_summary_is_shown_as_such(transcript: Path) -> None:
    """What stands in for what left is named, not numbered."""
    policy = ("--policy", "rolling_summary", "--budget", "800")
    text = run("replay", transcript, *policy, "--show-context").stdout
    assert re.search(r"(?m)^summary user +\[Summary of", text)
    assert re.search(r"(?m)^summaries +[1-9]", text)


def test_explain_gives_a_reason_a_block(transcript: Path) -> None:
    """The last eviction is told block by block, with how each begins."""
    asked = ("replay", transcript, "--budget", "800", "--explain")
    [found], text = as_json(*asked)["replays"], run(*asked).stdout
    decisions = found["eviction"]["decisions"]
    assert len(decisions) == len(re.findall(r"(?m)^#\d+ +\d+ tokens  (?:kept|left)  ", text))
    assert {True, False} == {decision["kept"] for decision in decisions}
    assert "instructions, which always stay" in text
    assert re.search(r"(?m)^ {8}Shelf \d+ ", text)


def test_explain_without_an_eviction_says_so(transcript: Path) -> None:
    """Where everything fits there is nothing to explain."""
    asked = ("replay", transcript, "--budget", "90000", "--explain")
    assert "everything fitted so far" in run(*asked).stdout
    assert as_json(*asked)["replays"][0]["eviction"] is None


def test_an_explanation_is_json_whatever_the_worth(transcript: Path) -> None:
    """A worth of minus infinity is null: JSON has no infinity."""
    asked = ("replay", transcript, "--budget", "800", "--explain", "--compare", "--json")
    assert "Infinity" not in run(*asked).stdout


# -- what it reads ----------------------------------------------------------------------------


@settings(max_examples=some(60), deadline=None)
@given(
    st.lists(messages, min_size=1, max_size=5),
    st.sampled_from([None, 1]),
    st.sampled_from(["list", "object", "lines"]),
)
def test_every_shape_is_read_alike(
    tmp_path_factory: pytest.TempPathFactory, said: list[Message], indent: int | None, shape: str
) -> None:
    """A list, an object and lines give equal messages, however they are laid out."""
    data = [message.to_dict() for message in said]
    path = tmp_path_factory.mktemp("shapes") / "talk.json"
    if shape == "lines":
        write_lines(path, data)
    else:
        whole = data if shape == "list" else {"id": {"a": [1, {}]}, "messages": data, "n": None}
        path.write_text(json.dumps(whole, indent=indent), encoding="utf-8")
    assert said == [each.message for each in read(str(path)).said]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("byte order mark", '\ufeff{"role": "user", "content": "Hello."}'),
        ("one line", '{"role": "user", "content": "Hello."}'),
        ("line ends of Windows", '\r\n{"role": "user", "content": "Hello."}\r\n\r\n'),
        ("object in a line", '{"messages": [{"role": "user", "content": "Hello."}]}'),
        ("spaces around", ' \n[ {"role": "user", "content": "Hello."} ] \n'),
    ],
)
def test_layouts_that_occur_are_read(name: str, text: str) -> None:
    """Standard input takes what a file may hold."""
    done = run("replay", "-", said=text)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("standard input: 1 message, 1 turn, ")


def test_a_saved_session_is_replayed(tmp_path: Path) -> None:
    """A file of `Memory.save` is a transcript too, found out without being told."""
    memory = Memory(5_000)
    memory.append(*map(Message.from_dict, talk(9)))
    memory.save(tmp_path / "session.json")
    assert 19 == as_json("replay", tmp_path / "session.json")["messages"]
    done = run("replay", "-", "--format", "session", said="{}")
    assert (2, True) == (done.returncode, "give its path" in done.stderr)


def test_a_damaged_session_is_refused(tmp_path: Path) -> None:
    """Its checksum is looked at before anything is replayed."""
    path = tmp_path / "session.json"
    memory = Memory(500)
    memory.append(Message.user("Tea, please."))
    memory.save(path)
    path.write_text(path.read_text("utf-8").replace("Tea", "Rum"), "utf-8")
    done = run("replay", path)
    assert (1, "") == (done.returncode, done.stdout)
    assert "was changed after it was saved" in done.stderr


def test_locomo_keeps_names_times_and_pictures(tmp_path: Path) -> None:
    """One speaker is the user, the other the assistant; sessions stand in order of their number."""
    path = tmp_path / "conversation.json"
    path.write_text(json.dumps(LOCOMO), "utf-8")
    asked = ("replay", path, "--format", "locomo", "--show-context")
    said = as_json(*asked)["replays"][0]["context"]["messages"]
    assert [
        ("user", "Ines", "I painted a boat!", "2024-05-08T13:56:00"),
        ("assistant", "Tomas", "[picture: a red boat]", "2024-05-08T13:56:00"),
        ("user", "Ines", "Like this? [picture: a blue boat]", "2024-05-08T13:56:00"),
        ("assistant", "Tomas", "Good night.", "2024-06-03T00:05:00"),
    ] == [(m["role"], m["name"], m["content"], m["timestamp"]) for m in said]
    assert {"dia_id": "D1:1"} == said[0]["metadata"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"session_3": [{"speaker": "Eve", "text": "Hi."}]}, "session_3[0]"),
        ({"session_1": "Hello."}, "session_1: a list of turns"),
        ({"session_1": [{"speaker": "Ines", "text": ""}]}, "session_1[0]: a message of role"),
        ({"session_1_date_time": "yesterday"}, "session_1_date_time: 'yesterday' is no time"),
        ({"session_1_date_time": "1:00 pm on 31 June, 2024"}, "session_1_date_time: "),
        ({"session_1_date_time": None}, None),
    ],
)
def test_what_is_no_locomo_is_refused(
    tmp_path: Path, change: dict[str, object], told: str | None
) -> None:
    """The error says where; a session without a time is none."""
    path = tmp_path / "conversation.json"
    path.write_text(json.dumps({**LOCOMO, **change}), "utf-8")
    done = run("replay", path, "--format", "locomo")
    assert (0 if told is None else 2) == done.returncode
    assert told is None or told in done.stderr


@pytest.mark.parametrize("text", ["[]", '{"speaker_a": "Ines"}', "{"])
def test_locomo_needs_a_conversation(tmp_path: Path, text: str) -> None:
    """Anything else is refused with the place."""
    path = tmp_path / "conversation.json"
    path.write_text(text, "utf-8")
    done = run("replay", path, "--format", "locomo")
    assert (2, "") == (done.returncode, done.stdout)
    assert "conversation.json, " in done.stderr


# -- what it refuses --------------------------------------------------------------------------

USER = b'{"role": "user", "content": "Hello."}'
REFUSED = {
    "unknown role": (USER + b'\n\n{"role": "usr", "content": "a"}', "line 3: unknown role 'usr'"),
    "empty content": (b"[\n" + USER + b',\n\n{"role": "user",\n"content": ""}]', "line 4: "),
    "in an object": (b'{"a": 1,\n"messages": [\n{"role": "x"}]}', "line 3: unknown role 'x'"),
    "no object": (USER + b"\n3", "line 2: a message must be an object"),
    "cut short": (USER + b'\n{"role": "user",', "line 2: no JSON"),
    "broken first line": (b'{"role" "user"}\n' + USER, "line 1: no JSON"),
    "broken list": (b"[\n" + USER + b"\n" + USER + b"]", "line 3: no JSON"),
    "trailing comma": (b"[" + USER + b",\n]", "line 2: no JSON"),
    "broken object": (b'{"messages": [' + USER + b'], "a" 1}', "line 1: no JSON"),
    "more behind a list": (b"[" + USER + b"]\n[]", "line 2: no JSON"),
    "more behind an object": (b'{"messages":\n[' + USER + b"]} x", "line 2: no JSON"),
    "tool result without its call": (
        b'{"role": "tool", "content": "a", "tool_call_id": "q"}',
        "line 1: a result for tool call 'q'",
    ),
    "a lone surrogate": (b'{"role": "user", "content": "\\ud800"}', "line 1: content has a lone"),
    "no UTF-8": (USER + b"\n\xff\xfe", "line 2: byte 38 is no UTF-8"),
    "no message": (b"[]", "there is no message in it"),
    "nothing": (b" \n", "the file is empty"),
    "a number": (b"17", "a list of messages must stand here"),
    "no list": (b'{"messages":\n7}', "line 2: a list of messages must stand here"),
    "another object": (b'{"id": 7}', 'an object without "messages"'),
    "conversations": (b'{"messages": []}\n{"messages": []}', "line 1: a whole conversation"),
    "LoCoMo": (json.dumps(LOCOMO).encode(), "--format locomo"),
    "too deep": (b"[" * 100_000, "nested too deeply"),
    "too deep in a message": (
        b'{"role": "user", "content": "a", "metadata": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
        "line 1: ",
    ),
    "a huge number": (b'{"role": "user", "content": ' + b"9" * 5_000 + b"}\n" + USER, "line 1: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_before_anything_is_done(tmp_path: Path, name: str) -> None:
    """The error is one line with file, line and reason; no figure is printed and nothing drawn."""
    content, told = REFUSED[name]
    path, plot = tmp_path / "talk.json", tmp_path / "plot.svg"
    path.write_bytes(content)
    done = run("replay", path, "--plot", plot)
    assert (2, "", False) == (done.returncode, done.stdout, plot.exists())
    assert re.fullmatch(r"error: .*talk\.json, line \d+: .*\n", done.stderr)
    assert told in done.stderr


def test_a_message_that_cannot_fit_is_named(tmp_path: Path) -> None:
    """It is refused with its line and the options that help, of which one is then taken."""
    path = write_lines(tmp_path / "talk.jsonl", [*talk(1), {"role": "user", "content": "w " * 999}])
    done = run("replay", path, "--budget", "300")
    assert (2, "") == (done.returncode, done.stdout)
    assert "talk.jsonl, line 4: " in done.stderr
    assert "--oversize clip" in done.stderr
    clipped = run("replay", path, "--budget", "300", "--oversize", "clip")
    assert 0 == clipped.returncode
    assert re.search(r"(?m)^clipped +1$", clipped.stdout)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--budget", "0"], "budget must be"),
        (["--budget", "many"], "invalid int value"),
        (["--low-water", "2"], "low_water must"),
        (["--reserve", "9999"], "above the reserve"),
        (["--policy", "lru"], "there is no policy 'lru'"),
        (["--compare", "--policy", "sliding"], "leave out --policy"),
        (["--format", "xml"], "invalid choice"),
        (["--plot", "nowhere/out.svg"], "there is no directory nowhere"),
        (["--plot", "."], "is a directory"),
        (["--oversize", "shrink"], "invalid choice"),
    ],
)
def test_options_that_cannot_work(transcript: Path, arguments: list[str], told: str) -> None:
    """A setting that cannot work ends with status 2 and says what would."""
    done = run("replay", transcript, *arguments, cwd=transcript.parent)
    assert (2, "") == (done.returncode, done.stdout)
    assert told in done.stderr


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "a\x1b[2Jb.jsonl"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """The reason stands in the error, with nothing in it that a terminal would obey."""
    done = run("replay", name, cwd=tmp_path)
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("error: cannot read ")
    assert "\x1b" not in done.stderr


def test_the_plot_cannot_be_written(transcript: Path) -> None:
    """A full or vanished disk is a failure, told before any figure."""
    done = run("replay", transcript, "--plot", "/dev/full")
    assert (1, "") == (done.returncode, done.stdout)
    assert "cannot write /dev/full" in done.stderr


def test_nothing_in_a_message_reaches_the_terminal(tmp_path: Path) -> None:
    """Escape sequences and direction marks are shown, not obeyed."""
    said = {"role": "user", "content": "\x1b[2J\x07red \u202e dne", "name": "E\x1b]0;x"}
    path = write_lines(tmp_path / "talk.jsonl", [said])
    text = run("replay", path, "--show-context").stdout
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert r"user E\x1b]0;x \x1b[2J\x07red \u202e dne" in text


def test_recall_is_an_option(tmp_path: Path) -> None:
    """`--recall` keeps a share of the budget for what comes back, and tells how much did."""
    lines = write_lines(tmp_path / "talk.jsonl", talk(60))
    options = ("--policy", "hybrid", "--budget", "800", "--recall", "0.25")
    [found] = as_json("replay", lines, *options)["replays"]
    assert found["stats"]["recalled"] > 0
    assert found["most_tokens"] <= 800
