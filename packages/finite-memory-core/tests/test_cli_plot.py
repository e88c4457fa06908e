"""``finite-memory replay --plot``: the picture is well-formed, whole and by itself."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from finite_memory_core.cli import plotting
from finite_memory_core.policies import POLICIES

from .cli_program import as_json, run, talk, write_lines

SVG = "{http://www.w3.org/2000/svg}"
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
ROUND: list[dict[str, object]] = [
    {"role": "user", "content": "Look it up."},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "content": "Found.", "tool_call_id": "c"},
    {"role": "assistant", "content": "It was found."},
]


def draw(path: Path, *arguments: str) -> ElementTree.Element:
    """Replay `path` with a plot beside it and return the picture."""
    plot = path.with_suffix(".svg")
    done = run("replay", path, "--plot", plot, *arguments)
    assert (0, "") == (done.returncode, done.stderr)
    assert f"drawn into {plot}" in done.stdout
    return ElementTree.fromstring(plot.read_text("utf-8"))


def lifetimes(group: ElementTree.Element) -> Counter[str]:
    """Count the lines of each kind in a panel."""
    counts: Counter[str] = Counter()
    for path in group.iter(f"{SVG}path"):
        if "data-count" in path.attrib:
            drawn = path.attrib["d"].count("M")
            assert int(path.attrib["data-count"]) == drawn
            counts[path.attrib["class"]] += drawn
    return counts


def panels(picture: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """Return the groups of a picture by name."""
    return {group.attrib["id"]: group for group in picture.iter(f"{SVG}g")}


def test_each_block_has_a_lifetime(tmp_path: Path) -> None:
    """As many lines as blocks; a tool call and its result are one; the instructions are pinned."""
    path = write_lines(tmp_path / "talk.jsonl", [*talk(40), *ROUND])
    found = panels(draw(path, "--budget", "700", "--policy", "hybrid"))
    assert {"kept": 80 + 3, "pinned": 1} == lifetimes(found["lifetimes-hybrid"])


def test_a_lifetime_ends_where_its_block_left(tmp_path: Path) -> None:
    """Lines that reach the right edge are the blocks that stand in the context at the end."""
    path = write_lines(tmp_path / "talk.jsonl", talk(40))
    group = panels(draw(path, "--budget", "700"))["lifetimes-hybrid"]
    drawn = "".join(p.attrib["d"] for p in group.iter(f"{SVG}path") if "data-count" in p.attrib)
    ends = [float(x) + float(h) for x, h in re.findall(r"M([\d.]+) [\d.]+h([\d.]+)", drawn)]
    [replay] = as_json("replay", path, "--budget", "700")["replays"]
    assert replay["stats"]["blocks_held"] == sum(end >= 940 for end in ends)
    assert replay["stats"]["blocks_evicted"] == sum(end < 940 for end in ends)


def test_an_answer_that_never_stood_has_a_lifetime_too(tmp_path: Path) -> None:
    """One that does not fit beside its question leaves at once: it lasts no turn."""
    said = [{"role": role, "content": f"{role} " * 90} for role in ("user", "assistant")]
    path = write_lines(tmp_path / "talk.jsonl", [*said, {"role": "user", "content": "So?"}])
    picture = draw(path, "--budget", "200")
    assert {"kept": 3} == lifetimes(panels(picture)["lifetimes-hybrid"])


def test_a_summary_has_a_lane(tmp_path: Path) -> None:
    """Each summary is a line from where it was folded to the next."""
    path = write_lines(tmp_path / "talk.jsonl", talk(60))
    asked = ("--policy", "rolling_summary", "--budget", "700")
    found = panels(draw(path, *asked))
    [replay] = as_json("replay", path, *asked)["replays"]
    assert replay["stats"]["summaries"] > 1
    assert replay["stats"]["summaries"] == lifetimes(found["lifetimes-rolling_summary"])["summary"]


def test_compare_draws_a_panel_a_policy(tmp_path: Path) -> None:
    """Five panels of lifetimes above one of tokens with a curve each, and the full history's."""
    path = write_lines(tmp_path / "talk.jsonl", talk(60))
    found = panels(draw(path, "--compare", "--budget", "700"))
    assert [*(f"lifetimes-{policy}" for policy in POLICIES), "tokens"] == list(found)
    curves = {
        curve.attrib["data-name"]: len(curve.attrib["points"].split())
        for curve in found["tokens"].iter(f"{SVG}polyline")
    }
    assert {"full": 60, **dict.fromkeys(POLICIES, 60)} == curves


def test_the_picture_stands_alone(tmp_path: Path) -> None:
    """No script, link or font from elsewhere; a title and a description; light and dark."""
    path = write_lines(tmp_path / "talk.jsonl", talk(3))
    picture = draw(path)
    text = path.with_suffix(".svg").read_text("utf-8")
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"https?://[^\"]+", text)
    assert not re.search(r"<script|<image|href|@import|@font-face|url\(", text)
    assert "@media (prefers-color-scheme:dark)" in text
    assert picture.findtext(f"{SVG}title") == "What stays in the context: talk.jsonl"
    assert "3 turns through a context of 4,096 tokens" in str(picture.findtext(f"{SVG}desc"))


def test_the_name_of_a_file_is_only_text(tmp_path: Path) -> None:
    """Markup and controls in a file's name are escaped."""
    path = write_lines(tmp_path / "<g> & \x1b'\".jsonl", talk(2))
    plot = tmp_path / "out.svg"
    assert 0 == run("replay", path, "--plot", plot).returncode
    title = ElementTree.fromstring(plot.read_text("utf-8")).findtext(f"{SVG}title")
    assert "What stays in the context: <g> & \\x1b'\".jsonl" == title


def test_a_long_replay_stays_small(tmp_path: Path) -> None:
    """All five policies over 500 turns take less than 300 KB."""
    path = write_lines(tmp_path / "talk.jsonl", talk(500))
    draw(path, "--compare", "--budget", "2000")
    assert path.with_suffix(".svg").stat().st_size < 300_000


@pytest.mark.parametrize(
    "said",
    [
        [{"role": "user", "content": "Hello?"}],
        [{"role": "assistant", "content": "Hello!"}],
        [{"role": "assistant", "tool_calls": [CALL]}],
    ],
)
def test_the_shortest_transcripts_are_drawn(tmp_path: Path, said: list[dict[str, object]]) -> None:
    """One message is enough, even a call that nobody answered, which is no block yet."""
    picture = draw(write_lines(tmp_path / "talk.jsonl", said))
    blocks = 0 if "tool_calls" in said[0] else 1
    assert blocks == lifetimes(panels(picture)["lifetimes-hybrid"]).total()


def test_curves_of_many_turns_keep_their_peaks() -> None:
    """A curve is thinned to what can be seen; its highest and lowest points stay."""
    points = [(i, 50 if i != 7_777 else 99) for i in range(20_000)]
    thinned = plotting._thinned(points)
    assert len(thinned) < 4_000
    assert (7_777, 99) in thinned
    assert [points[0], points[-1]] == [thinned[0], thinned[-1]]
