"""Grapheme boundaries: against `regex`'s ``\\X``, and case by case."""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import given, strategies as st

from finite_memory_core.text.graphemes import floor_boundary, graphemes, is_boundary

CLUSTER = regex.compile(r"\X")

# Characters that take part in the rules, and those between which they apply most.
JOINERS = st.sampled_from(
    "\r\n\u200d\u200c\u0301\ufe0f\u20e3\U0001f3fd\U0001f1e6\U0001f1fa\U0001f469\u2764\u094d\u0915"
    "\u0937\u1100\u1161\u11a8\uac00\uac01\u0600\u0903\u0e33\u0e40\u1039\u1000\U000e0067\U000e007f"
    "\u0d4e\u0acd\u0a95\u17d2\u1780a #\u00e9\u00a9"
)
# `regex` may know characters that are newer than the interpreter's Unicode data.
ANY = st.characters(exclude_categories=["Cs", "Cn"])
TEXTS = st.text(JOINERS | ANY)
STRANGE = st.text(st.characters())  # lone surrogates, NUL and unassigned ones among them

DISAGREED_ON = frozenset(  # characters whose category a later Unicode version changed
    character
    for character in map(chr, range(0x110000))
    if unicodedata.category(character) not in ("Cs", "Cn")
    and len(CLUSTER.findall("a" + character)) != len(list(graphemes("a" + character)))
)


@given(TEXTS)
def test_agrees_with_an_independent_implementation(text: str) -> None:
    """Clusters are those that the package `regex` finds."""
    text = "".join(character for character in text if character not in DISAGREED_ON)
    assert CLUSTER.findall(text) == list(graphemes(text))


def test_agrees_on_nearly_every_character() -> None:
    """At most a handful of characters differ, by Unicode version."""
    assert len(DISAGREED_ON) <= 5


@given(TEXTS)
def test_boundaries_are_where_clusters_meet(text: str) -> None:
    """`is_boundary` is true at the ends of clusters and nowhere else."""
    ends = {0}
    for cluster in graphemes(text):
        ends.add(max(ends) + len(cluster))
    assert ends == {index for index in range(len(text) + 1) if is_boundary(text, index)}


@given(TEXTS | STRANGE, st.integers(-3, 40))
def test_floor_is_the_largest_boundary_not_behind_the_index(text: str, index: int) -> None:
    """`floor_boundary` picks the last boundary up to the index, within the text."""
    within = range(min(max(index, 0), len(text)) + 1)
    expected = max(cut for cut in within if is_boundary(text, cut))
    assert expected == floor_boundary(text, index)


@given(STRANGE)
def test_any_string_is_cut_without_loss(text: str) -> None:
    """Lone surrogates, NUL and unassigned characters are segmented like others."""
    assert text == "".join(graphemes(text))
    assert all(graphemes(text))


@pytest.mark.parametrize(
    "cluster",
    [
        "e\u0301",
        "\r\n",
        "👩‍👩‍👧‍👦",
        "🙋🏽‍♀️",
        "🇮🇹",
        "1️⃣",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "각",
        "\u1100\u1161\u11a8",
        "क्षि",
        "நி",
        "क\u094d\u200d\u0301ष",
        "ก็",
        "กำ",
    ],
)
def test_what_a_reader_takes_for_one_character_is_one(cluster: str) -> None:
    """Emoji sequences, flags, Hangul, conjuncts and accents are single clusters."""
    assert [cluster] == list(graphemes(cluster))


@pytest.mark.parametrize(
    "clusters", [["क\u0301", "ष"], ["a\u0301\u200d", "👩"], ["\u0301", "ष"], ["क\u094d\u200c", "ष"]]
)
def test_what_only_looks_like_a_sequence_is_none(clusters: list[str]) -> None:
    """A consonant without a linker and a joiner without an emoji before it do not join."""
    assert clusters == list(graphemes("".join(clusters)))


def test_flags_pair_up_from_the_left() -> None:
    """Five regional indicators are two flags and one left over."""
    assert ["🇮🇹", "🇩🇪", "🇫"] == list(graphemes("🇮🇹🇩🇪🇫"))


class CountingText(str):
    """A text that counts how many characters were looked at."""

    looked_at = 0

    def __getitem__(self, key: object) -> str:
        type(self).looked_at += 1
        return super().__getitem__(key)  # type: ignore[index]


def test_floor_looks_at_one_cluster_only() -> None:
    """The length of the text before the cluster does not matter."""
    CountingText.looked_at = 0
    text = CountingText("a" * 100_000 + "👩‍👩‍👧")
    assert 100_000 == floor_boundary(text, 100_003)
    assert CountingText.looked_at < 50
