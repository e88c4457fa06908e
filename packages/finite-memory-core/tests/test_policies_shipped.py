"""What the shipped policies keep, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from finite_memory_core import Memory, Message
from finite_memory_core.blocks import Block
from finite_memory_core.errors import ConfigError, PolicyError
from finite_memory_core.events import FellBack
from finite_memory_core.policies import (
    MUST_LEAVE,
    CannotDecide,
    Deadline,
    Hybrid,
    Importance,
    RollingSummary,
    Semantic,
    SlidingWindow,
    View,
    build_policy,
)

from .test_policies_contract import NGrams


def view_of(*texts: str, room: int = 30, tokens: int = 10) -> View:
    blocks = [
        Block(i, ((Message.user, Message.assistant)[i % 2](text),), tokens)
        for i, text in enumerate(texts)
    ]
    return View(blocks, room, [], Deadline())


def test_the_window_holds_the_newest() -> None:
    """What fits from the end stays, beginning with a user's message."""
    assert [MUST_LEAVE] * 4 + [50.0, 60.0] == SlidingWindow().worth(view_of(*"abcdef"))
    assert [MUST_LEAVE] * 5 + [60.0] != SlidingWindow().worth(view_of(*"abcdef", room=29))


def test_sinks_rank_above_the_window() -> None:
    """The first blocks stay, then the newest; what lies between leaves."""
    worths = SlidingWindow(sinks=1).worth(view_of(*"abcdef"))
    assert [70.0, *[MUST_LEAVE] * 3, 50.0, 60.0] == worths


@pytest.mark.parametrize("sinks", [-1, 1.5, True, "2", None])
def test_sinks_are_a_count(sinks: object) -> None:
    """Sinks are a whole number of blocks."""
    with pytest.raises(ConfigError, match="sinks must be a whole number"):
        SlidingWindow(sinks)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("We saw Ada in Turin together.", "We saw rain on roofs together."),
        ("The price was 1204 in all.", "The price was fair in all."),
        ("Last Monday the roof leaked.", "Quite badly the roof leaked."),
        ("The kitchen roof leaks badly.", "The kitchen roof leaks badly?"),
        ("Grandfather repaired bicycles professionally.", "It is what it is for us."),
    ],
)
def test_what_says_more_is_worth_more(more: str, less: str) -> None:
    """Names, numbers, dates, statements and rare words count."""
    rest = ("The weather was fine.", "Music makes work go faster.", "Tea is nicer than coffee.")
    worths = Importance(recent=0).worth(view_of(more, less, *rest))
    assert worths[0] > worths[1]


def test_an_answer_is_worth_more_than_the_same_out_of_the_blue() -> None:
    """A statement right behind a question gains."""
    rest = ("Fine weather we have.", "Music makes work faster.")
    behind = Importance(recent=0).worth(view_of("Who called?", "Grandfather called early.", *rest))
    alone = Importance(recent=0).worth(view_of("Who called.", "Grandfather called early.", *rest))
    assert behind[1] > alone[1]


def test_what_later_turns_take_up_is_worth_more() -> None:
    """The first to say a word gains when another says it again."""
    said = ["The violin maker praised maple.", "The carpet seller praised wool.", "Rain fell."]
    worths = Importance(recent=0).worth(view_of(*said, "Violins and violin strings cost."))
    assert worths[0] > worths[1] > 0


@pytest.mark.parametrize("policy", [Importance, Semantic, Hybrid])
def test_the_newest_stay(policy: Callable[..., Importance]) -> None:
    """A share of the room goes to the newest, whatever they say."""
    view = view_of("Ada 1 Turin", "Bob 2 Rome", "Eve 3 Bonn", "ok", "fine", room=30)
    worths = policy(recent=0.7).worth(view)
    assert min(worths[3:]) > max(worths[:3])
    assert max(policy(recent=0).worth(view)[3:]) < max(policy(recent=0).worth(view)[:3])


@pytest.mark.parametrize("policy", [Importance, Semantic, Hybrid])
@pytest.mark.parametrize("recent", [-0.1, 1.1, True, "0.5", None, float("nan")])
def test_recent_is_a_share(policy: Callable[..., Importance], recent: object) -> None:
    """The share of the newest lies between 0 and 1."""
    with pytest.raises(ConfigError, match="recent must be a share from 0 to 1"):
        policy(recent=recent)


def test_a_scorer_decides() -> None:
    """A scorer's numbers stand in the place of the rules."""

    def attention(blocks: Sequence[Block]) -> list[float]:
        return [float(len(block.text)) for block in blocks]

    assert [3.0, 1.0, 2.0] == Importance(attention, recent=0).worth(view_of("abc", "a", "ab"))


def test_a_scorer_decides_what_hybrid_covers() -> None:
    """Of blocks that have nothing in common, the one that it scores highest gains most."""
    view = view_of("Ada Turin", "Bob Rome", "Eve Bonn", room=10)
    worths = Hybrid(recent=0, scorer=lambda blocks: [1.0, 5.0, 2.0]).worth(view)
    assert 1 == max(range(3), key=lambda i: worths[i])


def test_a_scorer_of_the_wrong_length_is_refused() -> None:
    """A scorer that leaves blocks out is told how many were asked."""
    with pytest.raises(PolicyError, match="answered with 1 numbers for 2 blocks"):
        Importance(lambda blocks: [1.0]).worth(view_of("a", "b"))


@pytest.mark.parametrize("name", ["importance", "semantic", "hybrid", "rolling_summary"])
def test_what_json_cannot_hold_must_be_passed_again(name: str) -> None:
    """A stored name of a scorer, embedder or summarizer builds no policy."""
    argument = {"importance": "scorer", "rolling_summary": "summarizer"}.get(name, "embedder")
    with pytest.raises(ConfigError, match=f"{argument} .* pass it again"):
        build_policy(name, {argument: "Mine"})


@pytest.mark.parametrize("share", [0, 1, 1.5, -1, "x", None])
def test_a_summary_takes_a_part_of_the_room(share: object) -> None:
    """Neither nothing nor all is a share for the summary."""
    with pytest.raises(ConfigError, match="summary_share must"):
        RollingSummary(summary_share=share)  # type: ignore[arg-type]


SUBJECTS = (
    "Our violin teacher praised the violin sonata.",
    "The violin sonata pleased our violin teacher.",
    "Tomato plants want water and tomato cages.",
    "The violin teacher played a sonata on her violin.",
    "Water the tomato plants and tie them to cages.",
    "Backups of the database failed on the server.",
)


@pytest.mark.parametrize("embedder", [None, NGrams()])
def test_every_subject_is_kept(embedder: NGrams | None) -> None:
    """With room for three of six blocks on three subjects, one of each stays."""
    view = view_of(*SUBJECTS, room=30)
    worths = Semantic(embedder, recent=0).worth(view)
    best = sorted(range(6), key=lambda i: -worths[i])[:3]
    assert ["backups", "tomato", "violin"] == sorted(
        next(w for w in ("backups", "tomato", "violin") if w in SUBJECTS[i].lower()) for i in best
    )


@pytest.mark.parametrize("policy", [Semantic(recent=0), Hybrid(recent=0), Hybrid(NGrams(), 0)])
def test_a_repeated_block_is_kept_once(policy: Semantic) -> None:
    """Of three equal blocks one is worth more than all else, the others nothing."""
    texts = ["Ada moved to Turin on 14 March.", "It rained.", "We ate."]
    worths = policy.worth(view_of(texts[0], texts[1], texts[0], texts[2], texts[0]))
    assert [0.0, 0.0] == pytest.approx([worths[0], worths[2]], abs=1e-9)
    assert worths[4] > max(worths[:4])


class Failing:
    """An embedder that fails, gives NaN, or changes its dimension, as told."""

    def __init__(self, mode: str) -> None:
        self.mode, self.asked = mode, 0

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return vectors, or what `mode` says."""
        self.asked += len(texts)
        if self.mode == "raises":
            raise ConnectionError("no route to host")
        if self.mode == "nan":
            return [[float("nan"), 1.0]] * len(texts)
        width = 3 if self.mode == "changes" and self.asked > len(texts) else 2
        return [[1.0] * width] * len(texts)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("raises", "no route to host"),
        ("nan", "NaN or infinity"),
        ("changes", "changed the dimension"),
    ],
)
@pytest.mark.parametrize("policy", [Semantic, Hybrid])
def test_a_broken_embedder_leaves_it_to_the_window(
    policy: type[Semantic], mode: str, reason: str
) -> None:
    """The sliding window decides, and the stats, an event and the explanation say why."""
    told: list[object] = []
    memory = Memory(300, policy(Failing(mode)), observers=[told.append])
    plain = Memory(300, "sliding")
    for i in range(60):
        message = Message.user(f"Turn {i} says something of its own, as turns do.")
        memory.append(message)
        plain.append(message)
    fell = [event for event in told if isinstance(event, FellBack)]
    assert memory.stats.fallbacks["policy"] == len(fell) > 0
    assert all(reason in event.why for event in fell)
    if mode != "changes":
        assert plain.context().messages == memory.context().messages
        assert memory.stats.fallbacks["policy"] == memory.stats.evictions
        assert reason in str(memory.context().explain())


def test_an_embedder_that_changed_once_serves_again() -> None:
    """After a change of dimension all blocks are embedded anew, and the policy decides again."""
    embedder = Failing("changes")
    policy = Semantic(embedder)
    first = view_of("a", "b")
    policy.worth(first)
    both = View([*first.candidates, Block(2, (Message.user("c"),), 10)], 30, [], Deadline())
    with pytest.raises(CannotDecide, match="changed the dimension"):
        policy.worth(both)
    assert 3 == len(policy.worth(both))


def test_each_block_is_embedded_once() -> None:
    """What stayed is not embedded again at the next eviction."""
    embedder = Failing("works")
    memory = Memory(400, Semantic(embedder))
    for i in range(80):
        memory.append(Message.user(f"Turn {i} says something of its own, as turns do."))
    assert 80 >= embedder.asked > 0
    assert memory.stats.evictions > 1


def test_an_embedder_has_a_method() -> None:
    """Something without `embed` that is no function either is refused at once."""
    with pytest.raises(ConfigError, match="an object with a method embed"):
        Semantic("minilm")  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", [None, 7, ["sliding"], object()])
def test_a_policy_is_a_name_or_an_object(policy: object) -> None:
    """Anything else is refused with the names that there are."""
    with pytest.raises(ConfigError, match="sliding, importance, semantic"):
        build_policy(policy)  # type: ignore[arg-type]


def test_an_unknown_name_is_told_the_known_ones() -> None:
    """A slip in the name is answered with the names, and how to register one."""
    with pytest.raises(ConfigError, match=r"'slidng'.*sliding.*finite_memory\.policies"):
        build_policy("slidng")


def test_an_unknown_argument_is_refused() -> None:
    """An argument that the policy does not take is named."""
    with pytest.raises(ConfigError, match=r"does not take .*depth"):
        build_policy("sliding", {"depth": 3})


def test_a_registered_policy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy of another distribution goes by the name of its entry point."""
    from importlib import metadata

    point = metadata.EntryPoint(
        "mine", "finite_memory_core.policies:Importance", "finite_memory.policies"
    )
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])
    assert isinstance(build_policy("mine"), Importance)


def test_an_embedder_goes_where_it_is_taken() -> None:
    """`Memory(embedder=...)` reaches the policies that use one."""
    embedder = NGrams()
    assert embedder is build_policy("hybrid", embedder=embedder).embedder  # type: ignore[attr-defined]
    assert isinstance(build_policy("sliding", embedder=embedder), SlidingWindow)
