"""What the policies answer to the last digit, by their rules written a second time."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, log, sin, sqrt
from pathlib import Path
from random import Random

import pytest

from finite_memory_core import policies as shipped
from finite_memory_core.blocks import Block
from finite_memory_core.errors import ConfigError, PolicyError
from finite_memory_core.messages import Message
from finite_memory_core.policies import (
    MUST_LEAVE,
    Deadline,
    DeadlineExceeded,
    Hybrid,
    Importance,
    Policy,
    RollingSummary,
    Semantic,
    SlidingWindow,
    View,
    base,
    build_policy,
)
from finite_memory_core.policies.coverage import NEAREST, coverage, dense_rows, lexical_rows
from finite_memory_core.policies.importance import importance
from finite_memory_core.policies.information import (
    features,
    idf,
    information,
    keep_newest,
    names,
    newest_within,
)
from finite_memory_core.summarizing import ExtractiveSummarizer


def said(*texts: str, tokens: int = 10, start: int = 0) -> list[Block]:
    """Return a block a text, the user and the assistant taking turns."""
    speak = (Message.user, Message.assistant)
    return [
        Block(start + i, (speak[(start + i) % 2](text),), tokens) for i, text in enumerate(texts)
    ]


def view(blocks: Sequence[Block], room: int = 30, kept: Sequence[Block] = ()) -> View:
    return View(blocks, room, kept, Deadline())


# -- time -----------------------------------------------------------------------------------------


def test_a_deadline_is_milliseconds_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes to the moment, and says what it was."""
    now = 10.0
    monkeypatch.setattr(base, "perf_counter", lambda: now)
    deadline = Deadline(250)
    now = 10.2499
    deadline.check()
    now = 10.25
    with pytest.raises(DeadlineExceeded) as caught:
        deadline.check()
    assert "it took longer than max_policy_ms=250" == str(caught.value)


def test_a_policy_has_no_settings_unless_it_says_so() -> None:
    """What a third party's policy does not override is an empty mapping."""

    class Plain(Policy):
        name = "plain"

        def worth(self, view: View) -> Sequence[float]:
            return []

    assert {} == Plain().settings()


# -- the sliding window ---------------------------------------------------------------------------


def test_without_a_later_question_the_window_begins_with_the_users() -> None:
    """An answer whose question does not fit leaves too."""
    blocks = said("q", "a", "q", "a", "q")
    assert [MUST_LEAVE] * 4 + [50.0] == SlidingWindow().worth(view(blocks, 20))
    assert [MUST_LEAVE] * 2 + [30.0, 40.0, 50.0] == SlidingWindow().worth(view(blocks, 39))


def test_where_no_user_speaks_nothing_stays() -> None:
    """A window of answers alone has no question to begin with."""
    blocks = [Block(i, (Message.assistant("a"),), 10) for i in range(3)]
    assert [MUST_LEAVE] * 3 == SlidingWindow().worth(view(blocks, 100))


def test_what_follows_the_last_question_needs_no_other() -> None:
    """Steps behind the last question stay, those before it only behind one of their own."""
    steps = [Block(i, (Message.assistant("a"),), 10) for i in (3, 4, 6, 7)]
    kept = [
        Block(0, (Message.system("s"),), 5, pinned=True),
        Block(2, (Message.user("pinned"),), 5, pinned=True),
        Block(5, (Message.user("q"),), 5),
        Block(8, (Message.assistant("newest"),), 5),
    ]
    worths = SlidingWindow().worth(view(steps, 100, kept))
    assert [MUST_LEAVE, MUST_LEAVE, 30.0, 40.0] == worths


def test_sinks_take_of_the_room() -> None:
    """They come first, of however many blocks there are, and cost what they cost."""
    blocks = said("q", "a", "q", "a", "q")
    assert [60.0, *[MUST_LEAVE] * 3, 50.0] == SlidingWindow(1).worth(view(blocks, 29))
    assert [30.0, 30.0] == SlidingWindow(5).worth(view(blocks[:2], 0))
    assert [6.0, *[MUST_LEAVE] * 3, 5.0] == SlidingWindow(1).worth(
        view([Block(b.index, b.messages, 0 if b.index in (0, 4) else 50) for b in blocks], 9)
    )


# -- how much a block says ------------------------------------------------------------------------


def test_a_words_weight_is_its_inverse_document_frequency() -> None:
    """As BM25 has it, over the blocks of the window."""
    blocks = said("rain train", "rain", "rain garden", "blue")
    assert {
        "rain": log(1 + 1.5 / 3.5),
        "train": log(1 + 3.5 / 1.5),
        "garden": log(1 + 3.5 / 1.5),
        "blue": log(1 + 3.5 / 1.5),
    } == pytest.approx(idf(blocks))


def test_a_blocks_features() -> None:
    """Words stated and words asked about; names, numbers and words of time; whether it asks."""
    (block,) = said("Bob met Ada. Ada owes 12 or 13 euros since Monday. Monday? In Turin?")
    held = features(block)
    assert frozenset({"bob", "met", "ada", "owes", "12", "13", "euros", "monday"}) <= held.stated
    assert frozenset({"turin"}) == held.asked
    assert (3, 2, 2, True) == (held.names, held.numbers, held.dates, held.asks)


def test_words_of_each_stated_sentence_are_stated() -> None:
    """The last word of one sentence and the first of the next stay two words."""
    (block,) = said("we saw rain\ngardens grew\ntrains?")
    assert frozenset({"trains"}) == features(block).asked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("met Ada", 1),
        ("met  Ada", 1),
        ("it rains.      Ada", 0),
        ("said Mme. Curie", 2),
        ("met comme. Ada", 0),
        ("met Dr. no", 1),
        ("Ada: Bob", 0),
    ],
)
def test_a_capital_behind_the_end_of_a_sentence_is_no_name(text: str, expected: int) -> None:
    """Spaces between do not matter, as far as one looks; behind a title it is a name after all."""
    assert expected == names(text)


def test_the_newest_fit_to_the_token() -> None:
    """From the end backwards, without gaps."""
    blocks = [*said("a", tokens=1), *said("b", "c", start=1)]
    assert [3, 2, 1, 0] == [newest_within(blocks, room) for room in (9, 10, 20, 21)]
    assert 0 == newest_within([], 5)


def test_the_newest_rank_by_their_tokens() -> None:
    """A block of no tokens is raised as well; where no worth is above 0 the raised are."""
    blocks = [*said("a", "b"), Block(2, (Message.user("c"),), 0)]
    raised = keep_newest([-30.0, -20.0, -1.0], blocks, 10)
    assert -30.0 == raised[0]
    assert 0 < raised[2]
    assert 10 * raised[2] == raised[1]
    with pytest.raises(ValueError, match="zip"):
        keep_newest([1.0], blocks, 10)


# -- importance -----------------------------------------------------------------------------------

TALK = (
    "Who called Ada from Turin?",
    "Grandfather called yesterday about 12 violins.",
    "Violins cost, grandfather says.",
    "Violins and pianos cost.",
    "Pianos or violins?",
)


def test_importance_is_a_sum_of_what_a_block_says() -> None:
    """Its words, those only asked about halved; references, names, numbers, dates; an answer more.

    Violins are in four blocks and so refer to nothing; what is taken up is counted where it was
    said before.
    """
    blocks = said(*TALK)
    weights = dict.fromkeys({term for block in blocks for term in block.terms}, 10.0)
    plain = [information(block, weights) for block in blocks]
    assert [
        plain[0] + 1 + 2 * 4,
        (plain[1] + 1 + 1 * 4 + 1 * 6) * 1.15,
        plain[2] + 1,
        plain[3] + 1,
        plain[4],
    ] == pytest.approx(importance(view(blocks), weights))


def test_each_rare_word_that_is_taken_up_counts() -> None:
    """Rare is what three blocks have, and each but the last of them was taken up."""
    blocks = said(
        "pianos violins oboes", "pianos", "pianos violins", "rain", "rain", "rain", "rain"
    )
    weights = dict.fromkeys(("pianos", "violins", "oboes", "rain"), 10.0)
    assert [30 + 2, 10 + 1, 20, 10, 10, 10, 10] == importance(view(blocks), weights)


def test_what_stands_between_is_no_answer() -> None:
    """Only the block right behind a question answers it, and one that asks does not."""
    asked, *_, question = said("Who called?", "Nobody called.", "Really?")
    later = Block(7, (Message.assistant("Nobody called."),), 10)
    again = Block(1, (Message.assistant("Nobody called?"),), 10)
    weights = dict.fromkeys(asked.terms | later.terms | question.terms, 10.0)
    for second in (later, again):
        worths = importance(view([asked, second]), weights)
        assert pytest.approx(information(second, weights)) == worths[1]


def test_a_scorers_newest_rank_first_too() -> None:
    """A share of the room goes to the newest, whatever a scorer says."""
    worths = Importance(lambda blocks: [5.0, 3.0, 1.0], recent=0.5).worth(view(said(*"abc"), 20))
    assert [5.0, 3.0] == worths[:2]
    assert worths[2] > 5.0


def test_numbers_of_a_scorer_become_floats() -> None:
    """Whole numbers are taken."""
    worths = Importance(lambda blocks: [2, 1], recent=0).worth(view(said("a", "b")))
    assert ["2.0", "1.0"] == [str(worth) for worth in worths]


def test_a_scorer_is_told_what_it_did() -> None:
    """Who, how many, for how many, and what it must do."""

    def short(blocks: Sequence[Block]) -> list[float]:
        return [1.0]

    for policy in (Importance(short), Hybrid(scorer=short)):
        with pytest.raises(PolicyError) as caught:
            policy.worth(view(said("a", "b")))
        assert (
            f"scorer {short!r} answered with 1 numbers for 2 blocks; it must give exactly one for "
            "each, in their order"
        ) == str(caught.value)


# -- settings -------------------------------------------------------------------------------------


class Scoring:
    """A scorer that is an object."""

    def __call__(self, blocks: Sequence[Block]) -> list[float]:
        return [1.0] * len(blocks)


class Ones:
    """An embedder to which all texts are the same; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(texts)
        return [[3.0, 4.0]] * len(texts)


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        (SlidingWindow(), {"sinks": 0}),
        (SlidingWindow(3), {"sinks": 3}),
        (RollingSummary(), {"sinks": 0, "summary_share": 0.15}),
        (RollingSummary(summary_share=0.3, sinks=2), {"sinks": 2, "summary_share": 0.3}),
        (Importance(), {"recent": 0.1}),
        (Importance(Scoring(), 1), {"recent": 1.0, "scorer": "Scoring"}),
        (Importance(len), {"recent": 0.1, "scorer": "len"}),  # type: ignore[arg-type]
        (Semantic(), {"recent": 0.1}),
        (Semantic(Ones(), 0), {"recent": 0.0, "embedder": "Ones"}),
        (Hybrid(), {"recent": 0.15}),
        (
            Hybrid(Ones(), 0.5, Scoring()),
            {"recent": 0.5, "embedder": "Ones", "scorer": "Scoring"},
        ),
    ],
)
def test_settings_are_the_arguments(policy: Policy, settings: dict[str, object]) -> None:
    """Every argument that JSON can hold, and the names of the others."""
    assert settings == policy.settings()


def test_a_summarizer_is_kept() -> None:
    """The one that was given, or the one that needs no model."""
    mine = ExtractiveSummarizer()
    assert mine is RollingSummary(mine).summarizer
    assert isinstance(RollingSummary().summarizer, ExtractiveSummarizer)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("sliding", {"sinks": -1}, "sinks must be a whole number of blocks, 0 or more, got -1"),
        ("sliding", {"sinks": "2"}, "sinks must be a whole number of blocks, 0 or more, got '2'"),
        ("semantic", {"recent": 2}, "recent must be a share from 0 to 1, got 2"),
        ("importance", {"recent": None}, "recent must be a share from 0 to 1, got None"),
        ("hybrid", {"recent": True}, "recent must be a share from 0 to 1, got True"),
        (
            "importance",
            {"scorer": "mine"},
            "scorer must be callable with blocks; pass it again, got 'mine'",
        ),
        (
            "hybrid",
            {"scorer": "mine"},
            "scorer must be callable with blocks; pass it again, got 'mine'",
        ),
        (
            "rolling_summary",
            {"summarizer": "mine"},
            "summarizer must have a method summarize; pass it again, got 'mine'",
        ),
        ("rolling_summary", {"summary_share": 0}, "summary_share must lie between 0 and 1, got 0"),
        (
            "rolling_summary",
            {"summary_share": 1.0},
            "summary_share must lie between 0 and 1, got 1.0",
        ),
        (
            "rolling_summary",
            {"summary_share": 1.5},
            "summary_share must be a share from 0 to 1, got 1.5",
        ),
        (
            "slidng",
            None,
            (
                "there is no policy 'slidng'; known are hybrid, importance, rolling_summary, "
                "semantic, sliding. Another distribution's policy must be installed and registered "
                "under the entry point group 'finite_memory.policies'"
            ),
        ),
        (
            7,
            None,
            (
                "policy must be a name (sliding, importance, semantic, rolling_summary, hybrid) or "
                "an object with `name` and `worth`, got int: 7"
            ),
        ),
        (
            ["x" * 100],
            None,
            (
                "policy must be a name (sliding, importance, semantic, rolling_summary, hybrid) or "
                f"an object with `name` and `worth`, got list: ['{'x' * 78}"
            ),
        ),
    ],
)
def test_a_refusal_says_what_was_wrong(
    name: str, settings: dict[str, object] | None, told: str
) -> None:
    """With which value, and what to do."""
    with pytest.raises(ConfigError) as caught:
        build_policy(name, settings)
    assert told == str(caught.value)


def test_an_argument_that_it_does_not_take_is_told() -> None:
    """With the policy and all that it was given, in words of ours before Python's."""
    with pytest.raises(ConfigError) as caught:
        build_policy("sliding", {"sinks": 1, "depth": 3})
    told = "policy 'sliding' does not take {'sinks': 1, 'depth': 3}: "
    assert f"{told}{caught.value.__cause__}" == str(caught.value)


def test_settings_and_embedder_reach_a_policy() -> None:
    """Of those that take an embedder; the settings that were handed over stay as they were."""
    settings, embedder = {"recent": 0.4}, Ones()
    for name in ("semantic", "hybrid"):
        built = build_policy(name, settings, embedder)
        assert {"recent": 0.4, "embedder": "Ones"} == built.settings()
    assert {"recent": 0.4} == settings == build_policy("importance", settings, embedder).settings()
    own = Hybrid()
    assert own is build_policy(own, {"recent": 0.9}, embedder)


def test_the_package_has_what_it_names() -> None:
    """The classes come when they are asked for; nothing else does."""
    classes = (SlidingWindow, Importance, Semantic, RollingSummary, Hybrid)
    assert classes == tuple(getattr(shipped, kind.__name__) for kind in classes)
    assert tuple(kind.name for kind in classes) == shipped.POLICIES
    with pytest.raises(AttributeError) as caught:
        shipped.Nothing  # noqa: B018
    assert "module 'finite_memory_core.policies' has no attribute 'Nothing'" == str(caught.value)


# -- coverage -------------------------------------------------------------------------------------


def test_words_make_blocks_alike_by_their_cosine() -> None:
    """The square of it is how well one stands for another."""
    blocks = said("ada turin", "ada garden", "rain", "train", "wool", "violin")
    weights = {"ada": 2.0, "turin": 1.0, "garden": 3.0}
    weights |= dict.fromkeys(("rain", "train", "wool", "violin"), 1.0)
    cosine = 4 / (sqrt(5) * sqrt(13))
    rows = lexical_rows(view(blocks), weights, 0.2)
    assert {0: 1.0, 1: cosine**2} == pytest.approx(rows[0])
    assert {1: 1.0, 0: cosine**2} == pytest.approx(rows[1])
    assert [{i: 1.0} for i in range(2, 6)] == rows[2:]
    assert [{i: 1.0} for i in range(6)] == lexical_rows(view(blocks), weights, cosine)


@pytest.mark.parametrize(("blocks", "alike"), [(6, True), (5, False), (9, False)])
def test_a_word_that_a_third_of_the_blocks_share_still_counts(blocks: int, alike: bool) -> None:
    """Up to a third of the blocks, and two in any case."""
    shared = {6: 2, 5: 3, 9: 4}[blocks]
    texts = [f"ada own{i}" if i < shared else f"other{i}" for i in range(blocks)]
    rows = lexical_rows(view(said(*texts)), idf(said(*texts)), 0.0)
    assert alike is (1 in rows[0])


@pytest.mark.parametrize(("shared", "alike"), [(64, True), (65, False)])
def test_a_word_in_more_than_64_blocks_makes_none_alike(shared: int, alike: bool) -> None:
    """However many blocks there are."""
    texts = [f"ada own{i}" if i < shared else f"other{i}" for i in range(210)]
    rows = lexical_rows(view(said(*texts)), idf(said(*texts)), 0.0)
    assert alike is any(len(row) > 1 for row in rows)


def test_the_newest_of_many_repeats_stand_in() -> None:
    """Of forty equal blocks the last `NEAREST` stand for each, and no block twice for itself."""
    texts = ["ada turin"] * 40
    rows = lexical_rows(view(said(*texts)), idf(said(*texts)), 0.2)
    for i in range(40):
        newest = [j for j in range(40 - NEAREST - 1, 40) if j != i]
        assert newest[-NEAREST:] == [j for j in range(40) if j != i and i in rows[j]]


def test_two_that_say_the_same_are_alike_however_common_their_words() -> None:
    """Though words that many have make no others alike."""
    common = [f"{word} own{word}{i}" for word in ("ada", "turin") for i in range(4)]
    blocks = said("ada turin", "ada turin", *common)
    rows = lexical_rows(view(blocks), idf(blocks), 0.0)
    assert [{0: 1.0, 1: 1.0}] * 2 == rows[:2]
    assert [{i: 1.0} for i in range(2, 10)] == rows[2:]


def test_blocks_without_words_are_not_alike() -> None:
    """That nothing is said twice makes no two the same."""
    blocks = said("...", "!!!", "...")
    assert [{i: 1.0} for i in range(3)] == lexical_rows(view(blocks), {}, 0.2)


def test_vectors_make_blocks_alike_beyond_the_mean() -> None:
    """0 for the mean of all pairs, 1 for the same, squared."""
    vectors = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    mean = (0.8 + 0.0 + 0.6) / 3
    near, far = (0.8 - mean) / (1 - mean), (0.6 - mean) / (1 - mean)
    rows = dense_rows(view(said(*"abc")), vectors, 0.2)
    assert {0: 1.0, 1: near**2} == pytest.approx(rows[0])
    assert {0: near**2, 1: 1.0, 2: far**2} == pytest.approx(rows[1])
    assert {1: far**2, 2: 1.0} == pytest.approx(rows[2])
    only = dense_rows(view(said(*"abc")), vectors, far + 1e-9)
    assert {1: 1.0, 0: near**2} == pytest.approx(only[1])


def test_the_most_alike_stand_in_and_of_those_the_newest() -> None:
    """However many others there are that are a little alike."""
    texts = ["ada turin rome", *[f"ada other{i}" for i in range(NEAREST + 2)], "ada turin bonn"]
    weights = {word: 1.0 for text in texts for word in text.split()}
    others = [f"own{i}" for i in range(60)]
    blocks = said(*texts, *others)
    rows = lexical_rows(view(blocks), weights | dict.fromkeys(others, 1.0), 0.0)
    last = len(texts) - 1
    assert [0, *range(4, last + 1)] == [j for j, row in enumerate(rows) if last in row]


def plain_dense_rows(vectors: list[list[float]], least: float) -> list[dict[int, float]]:
    """Who can stand for whom, straight from the definitions."""
    count, axes = len(vectors), range(len(vectors[0]))
    means = [sum(vector[k] for vector in vectors) / count for k in axes]
    signs = [[vector[k] > means[k] for k in axes] for vector in vectors]
    cosines = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in vectors] for u in vectors]
    pairs = [cosines[i][j] for i in range(count) for j in range(count) if i != j]
    mean = max(0.0, sum(pairs) / len(pairs))
    rows: list[dict[int, float]] = [{i: 1.0} for i in range(count)]
    for i in range(count):
        apart = [sum(a != b for a, b in zip(signs[i], other, strict=True)) for other in signs]
        nearest = sorted(range(count), key=lambda j: apart[j])[: NEAREST + 1]
        alike = {j: (cosines[i][j] - mean) / (1 - mean) for j in nearest if j != i}
        ranked = sorted(((s, j) for j, s in alike.items() if s > least), reverse=True)
        for similarity, j in ranked[:NEAREST]:
            rows[j][i] = similarity**2
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_dense_rows_are_those_of_the_definition(seed: int) -> None:
    """For vectors that lie anywhere, and more than can stand for one."""
    random = Random(seed)
    vectors = []
    for _ in range(45):
        vector = [random.gauss(0.2, 1) for _ in range(9)]
        length = sqrt(sum(x * x for x in vector))
        vectors.append([x / length for x in vector])
    rows = dense_rows(view(said(*["x"] * 45)), vectors, 0.2)
    for expected, row in zip(plain_dense_rows(vectors, 0.2), rows, strict=True):
        assert expected == pytest.approx(row)


def test_a_pair_alone_is_not_alike() -> None:
    """Of two vectors the mean pair is the pair; only the same are alike."""
    pair = view(said(*"ab"))
    assert [{0: 1.0}, {1: 1.0}] == dense_rows(pair, [[1.0, 0.0], [0.8, 0.6]], 0.2)
    assert [{0: 1.0, 1: 1.0}] * 2 == dense_rows(pair, [[0.8, 0.6], [0.8, 0.6]], 0.2)
    assert [{0: 1.0}, {1: 1.0}] == dense_rows(pair, [[1.0, 0.0], [0.0, 1.0]], 0.0)


def test_vectors_that_are_nearly_the_same_are_told_apart() -> None:
    """No mean is taken to be above 0.999: what is a little more alike than that stands in."""
    vectors = [[cos(angle), sin(angle)] for angle in (0.0, 0.02, 0.04)]
    rows = dense_rows(view(said(*"abc")), vectors, 0.3)
    near = (cos(0.02) - 0.999) / 0.001
    assert {0: 1.0, 1: near**2} == pytest.approx(rows[0])


def test_the_nearest_of_many_are_found_by_their_signs() -> None:
    """Of three groups of vectors that lie apart, each stands for its own, one row for another."""
    tilts = [(0.0, 0.1), (0.1, 0.0), (0.0, 0.0)]
    vectors = []
    for i in range(3 * (NEAREST + 1)):
        vector = [float(i % 3 == k) for k in (0, 1, 2, 0, 1, 2)] + [*tilts[i // 3 % 3]]
        length = sqrt(sum(x * x for x in vector))
        vectors.append([x / length for x in vector])
    rows = dense_rows(view(said(*["x"] * len(vectors))), vectors, 0.2)
    for i, row in enumerate(rows):
        assert [j for j in range(len(rows)) if j % 3 == i % 3] == sorted(row)


def test_a_gain_is_by_the_token_and_what_is_chosen_takes_of_the_room() -> None:
    """Of two that gain the same the cheaper comes first; who does not fit stands for none."""
    blocks = [Block(i, (Message.user("x"),), cost) for i, cost in enumerate((4, 2, 0, 9))]
    rows = [{0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}, {2: 1.0}, {3: 1.0, 2: 0.5}]
    assert [0.0, 4.0, 3.0, 8.0] == coverage(view(blocks, 8), rows, [2.0, 2.0, 3.0, 8.0])
    assert [0.0, 4.0, 3.0, 0.0] == coverage(view(blocks, 12), rows, [2.0, 2.0, 6.0, 8.0], [3])
    assert [4.0, 4.0, 1.5, 0.0] == coverage(view(blocks, 9), rows, [2.0, 2.0, 3.0, 8.0], [3])


def test_an_embedder_is_asked_for_texts_it_has_not_seen() -> None:
    """Once each; a view of known blocks asks for none."""
    embedder, blocks = Ones(), said("ada", "turin", "rain")
    policy = Semantic(embedder, recent=0)
    policy.worth(view(blocks[:2]))
    policy.worth(view(blocks))
    policy.worth(view(blocks))
    assert [["ada", "turin"], ["rain"]] == embedder.asked


def test_the_newest_are_covered_first() -> None:
    """What says the same as a block that stays for its age gains nothing; who says more, less."""
    blocks = said("ada turin", "rain garden", "ada turin")
    worths = Semantic(recent=0.5).worth(view(blocks, 20))
    assert 0.0 == worths[0] < worths[1] < worths[2]
    more = view(said("ada turin rome bonn", "rain garden", "ada turin"), 20)
    assert Semantic(recent=0.5).worth(more)[0] < Semantic(recent=0).worth(more)[0]


def test_an_installed_policy_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another distribution registers it in the group that the error names."""
    folder = tmp_path / "theirs-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[finite_memory.policies]\ntheirs = finite_memory_core.policies:Importance\n"
        "[others]\nelsewhere = finite_memory_core.policies:Importance\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(build_policy("theirs", {"recent": 0.5}), Importance)
    with pytest.raises(ConfigError, match=r"no policy 'elsewhere'.* sliding, theirs"):
        build_policy("elsewhere")
