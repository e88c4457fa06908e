"""The default counter, and its calibration by usage."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from finite_memory_core.counting import Calibration, EstimatingCounter
from finite_memory_core.errors import ConfigError

TEXTS = st.text(st.characters() | st.sampled_from("aA0. \nkz\t你я한é🎉\u200d\ufe0f\ud800\0"))

count = EstimatingCounter()


@given(TEXTS)
def test_only_nothing_counts_nothing(text: str) -> None:
    """The empty text has no token, any other at least one; lone surrogates and NUL count too."""
    assert (count(text) > 0) == (text != "")


@given(TEXTS, TEXTS)
def test_more_text_is_never_fewer_tokens(head: str, tail: str) -> None:
    """A text counts at least as much as its beginning and its end."""
    assert count(head + tail) >= max(count(head), count(tail))


@given(TEXTS, TEXTS)
def test_joining_texts_adds_up(head: str, tail: str) -> None:
    """The whole counts about what its parts do: within the tokens at the seam."""
    assert abs(count(head + tail) - count(head) - count(tail)) <= 3


@given(TEXTS)
def test_the_count_depends_on_the_text_alone(text: str) -> None:
    """Two counters agree, and counting leaves no trace."""
    assert EstimatingCounter()(text) == count(text) == count(text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("Could you summarise the three options again, please?", 9, 12),
        ("supercalifragilisticexpialidocious", 4, 12),
        ("1234567890", 3, 7),
        ("    " * 8 + "return x", 2, 6),
        ("d41d8cd98f00b204e9800998ecf8427e", 15, 28),
        ("周五的火车票订到了吗？", 7, 16),
        ("こんにちは世界", 2, 9),
        ("안녕하세요", 2, 6),
        ("Привет, как дела?", 4, 9),
        ("مرحبا كيف حالك؟", 4, 9),
        ("नमस्ते आप कैसे हैं?", 5, 12),
        ("สวัสดีครับ", 3, 8),
        ("🎉", 1, 4),
        ("👩‍👩‍👧‍👦", 6, 20),
        ("-" * 80, 1, 40),
        ("a", 1, 1),
    ],
)
def test_the_estimate_is_of_the_right_size(text: str, low: int, high: int) -> None:
    """Every kind of text counts near what tokenizers make of it."""
    assert low <= count(text) <= high


def test_no_script_is_free() -> None:
    """A hundred characters of any block beyond ASCII cost at least twenty tokens."""
    middles = map(chr, range(0x80 + 0x40, 0x110000, 0x80))
    assert [] == [middle for middle in middles if count(middle * 100) < 20]


def test_a_long_text_counts_like_its_parts() -> None:
    """The count of a large text is the sum of its repeated parts."""
    sentence = "The quick brown fox met 42 dogs. 你好，世界。 "
    assert abs(count(sentence * 10_000) - 10_000 * count(sentence)) <= 10_000


def reference(text: str) -> int:
    """Return the estimate of an ASCII text as it is defined: weighted classes and pairs."""
    classes = "".join(map(_class_of, text))
    weights = {"a": 14, "k": 112, " ": 2, ".": 75, "A": 40, "0": 118}
    cost = sum(weights[one] for one in classes) + 39 * classes.count(" a")
    cost += 109 * classes.count("aA") - 71 * classes.count("..") - 90 * classes.count("00")
    return (cost + 50) // 100 or (1 if text else 0)


def _class_of(character: str) -> str:
    if character in "jkqwxz":
        return "k"
    if character in " \t":
        return " "
    if not character.isalnum():
        return "."
    return "0" if character.isdigit() else "A" if character.isupper() else "a"


ASCII = st.characters(max_codepoint=127) | st.sampled_from("aabkA0. ")


@given(st.text(ASCII) | st.lists(st.sampled_from("akA0. ")).map("".join))
def test_the_fast_way_counts_what_is_defined(text: str) -> None:
    """Bits that are shifted, masked and counted come to the same."""
    assert reference(text) == count(text)


@given(st.text(ASCII, min_size=1, max_size=40), st.integers(400, 900))
def test_the_fast_way_counts_long_texts(text: str, times: int) -> None:
    """As well where a text is longer than the masks that are kept."""
    assert reference(text * times) == count(text * times)


def test_counters_are_values() -> None:
    """The counter has no state: all are equal, and it shows its name."""
    assert EstimatingCounter() == EstimatingCounter() != len
    assert len({EstimatingCounter(), EstimatingCounter()}) == 1
    assert "EstimatingCounter()" == repr(EstimatingCounter())


# -- calibration

SAMPLES = st.lists(st.tuples(st.integers(-5, 10_000), st.integers(-5, 10_000)))


def calibrated(*samples: tuple[int, int]) -> Calibration:
    calibration = Calibration()
    for estimated, actual in samples:
        calibration.observe(estimated, actual)
    return calibration


def test_knows_nothing_at_first() -> None:
    """Before the first sample estimates are left as they are."""
    assert (1.0, 0.0, 0) == (Calibration().factor, Calibration().error, Calibration().samples)


def test_learns_the_factor() -> None:
    """The factor is the median ratio of reported to estimated tokens."""
    calibration = calibrated((1000, 1150), (1000, 1200), (1000, 1100))
    assert (1.15, 3) == (calibration.factor, calibration.samples)
    assert 1.15 * (1 + calibration.error) == pytest.approx(1.2)


def test_an_even_number_of_samples_has_a_middle() -> None:
    """Of two samples the factor is the mean."""
    assert pytest.approx(1.1) == calibrated((100, 100), (100, 120)).factor


@pytest.mark.parametrize(
    ("estimated", "actual"), [(0, 5), (5, 0), (-1, 5), (5, -1), (100, 401), (100, 24)]
)
def test_absurd_samples_are_ignored(estimated: int, actual: int) -> None:
    """Nothing, less than nothing and four times off teach nothing."""
    calibration = calibrated((100, 110))
    assert not calibration.observe(estimated, actual)
    assert calibrated((100, 110)) == calibration


@pytest.mark.parametrize(("estimated", "actual"), [(100, 400), (100, 25)])
def test_the_limits_still_count(estimated: int, actual: int) -> None:
    """Exactly four times off is a sample."""
    assert Calibration().observe(estimated, actual)


def test_one_odd_report_does_not_move_the_factor() -> None:
    """A median shrugs off an outlier, but the error shows it."""
    calibration = calibrated(*[(100, 110)] * 5, (100, 390))
    assert 1.1 == calibration.factor
    assert calibration.error > 2.5


def test_a_change_of_model_is_followed() -> None:
    """After half a window of new ratios the factor is the new one; old ones are forgotten."""
    changed = calibrated(*[(100, 110)] * 50, *[(100, 150)] * 11)
    assert (1.5, 61) == (changed.factor, changed.samples)
    assert 0.0 == calibrated(*[(100, 110)] * 50, *[(100, 150)] * 21).error


@given(SAMPLES)
def test_state_survives_json(samples: list[tuple[int, int]]) -> None:
    """A calibration restored from JSON is the same and goes on the same way."""
    calibration = calibrated(*samples)
    restored = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    calibration.observe(100, 120)
    restored.observe(100, 120)
    assert calibration == restored
    assert (calibration.factor, calibration.error) == (restored.factor, restored.error)


@given(SAMPLES)
def test_the_factor_is_bounded(samples: list[tuple[int, int]]) -> None:
    """No samples make the factor leave its limits."""
    assert 0.25 <= calibrated(*samples).factor <= 4.0


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"ratios": "1.0", "samples": 1},
        {"ratios": ["1.0"], "samples": 1},
        {"ratios": [True], "samples": 1},
        {"ratios": [float("nan")], "samples": 1},
        {"ratios": [5.0], "samples": 1},
    ],
)
def test_bad_ratios_are_refused(data: dict[str, object]) -> None:
    """A state whose ratios are none is named in the error."""
    with pytest.raises(
        ConfigError, match=r"'ratios' must be a list of numbers between 0\.25 and 4"
    ):
        Calibration.from_dict(data)


@pytest.mark.parametrize(
    "data",
    [
        {"ratios": [1.0]},
        {"ratios": [1.0], "samples": 0},
        {"ratios": [1.0], "samples": 1.5},
        {"ratios": [1.0], "samples": True},
        {"ratios": [1.0] * 22, "samples": 22},
    ],
)
def test_bad_sample_counts_are_refused(data: dict[str, object]) -> None:
    """A state that counts fewer samples than it holds, or holds too many, is refused."""
    with pytest.raises(ConfigError, match="'samples' must count at least its ratios"):
        Calibration.from_dict(data)


def test_a_calibration_shows_what_it_knows() -> None:
    """Its representation has factor, error and samples."""
    assert "<Calibration factor=1.100 error=0.000 samples=1>" == repr(calibrated((100, 110)))
