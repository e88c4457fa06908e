"""Adapters for real tokenizers, with tiny vocabularies made here: nothing is downloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import tiktoken
import tokenizers
from hypothesis import example, given, strategies as st
from tokenizers import models, pre_tokenizers, trainers

from finite_memory_core.counting_extras import TiktokenCounter, TokenizersCounter
from finite_memory_core.errors import ConfigError, MissingExtraError

END = "<|endoftext|>"

ENCODING = tiktoken.Encoding(
    "tiny",
    pat_str=r"\S+|\s+",
    mergeable_ranks={**{bytes([i]): i for i in range(256)}, b"ab": 256},
    special_tokens={END: 257},
)


def train() -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat"] * 9, trainer)
    return tokenizer


TOKENIZER = train()


def test_tiktoken_counts_tokens() -> None:
    """The count is the number of tokens of the encoding."""
    assert [0, 1, 3] == list(map(TiktokenCounter(ENCODING), ["", "ab", "abcd"]))


def test_tiktoken_counts_special_tokens_as_text() -> None:
    """What looks like a special token in a message is its characters."""
    assert len(END) == TiktokenCounter(ENCODING)(END)


@given(st.text(st.characters()))
@example("a\ud800b\0")
def test_tiktoken_counts_any_string(text: str) -> None:
    """Lone surrogates and NUL do not stop it."""
    assert (TiktokenCounter(ENCODING)(text) > 0) == (text != "")


def test_tiktoken_refuses_an_unknown_name() -> None:
    """A name that is neither encoding nor model is refused with the names that exist."""
    with pytest.raises(
        ConfigError, match=r"no encoding and no model named 'no-such'; .*o200k_base"
    ):
        TiktokenCounter("no-such")


@pytest.mark.parametrize("name", ["o200k_base", "gpt-4o"])
def test_tiktoken_takes_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of an encoding and the name of a model both find the encoding."""
    asked: list[str] = []

    def get_encoding(found: str) -> tiktoken.Encoding:
        asked.append(found)
        return ENCODING

    monkeypatch.setattr("tiktoken.get_encoding", get_encoding)
    monkeypatch.setattr("tiktoken.model.get_encoding", get_encoding)
    assert "TiktokenCounter('tiny')" == repr(TiktokenCounter(name))
    assert ["o200k_base"] == asked


def test_tokenizers_counts_tokens() -> None:
    """The count is the number of tokens of the tokenizer."""
    counter = TokenizersCounter(TOKENIZER)
    assert 0 == counter("")
    assert len(TOKENIZER.encode("the cat").ids) == counter("the cat")


def test_tokenizers_counts_special_tokens_as_text() -> None:
    """What looks like a special token in a message is its characters."""
    assert TokenizersCounter(TOKENIZER)(END) > 1


@given(st.text(st.characters()))
@example("a\ud800b\0")
def test_tokenizers_counts_any_string(text: str) -> None:
    """Lone surrogates and NUL do not stop it."""
    assert (TokenizersCounter(TOKENIZER)(text) > 0) == (text != "")


def test_tokenizers_reads_a_file(tmp_path: Path) -> None:
    """A path as text or as `Path` names a ``tokenizer.json``."""
    path = tmp_path / "tokenizer.json"
    TOKENIZER.save(str(path))
    counts = [TokenizersCounter(source)("the cat sat") for source in (path, str(path), TOKENIZER)]
    assert [counts[0]] * 3 == counts


@pytest.mark.parametrize("content", [None, "{}"])
def test_tokenizers_refuses_what_is_no_tokenizer(tmp_path: Path, content: str | None) -> None:
    """A missing or foreign file is refused with its path."""
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"tokenizer.json' cannot be read as a tokenizer"):
        TokenizersCounter(path)


def test_tokenizers_neither_truncates_nor_touches_the_given_one() -> None:
    """Truncation and padding of the given tokenizer do not falsify the count, and stay set."""
    short = train()
    short.enable_truncation(2)
    short.enable_padding(length=50)
    assert TokenizersCounter(TOKENIZER)("the cat sat") == TokenizersCounter(short)("the cat sat")
    assert short.truncation is not None
    assert f"TokenizersCounter(<{short.get_vocab_size()} tokens>)" == repr(TokenizersCounter(short))


@pytest.mark.parametrize(
    ("package", "counter", "argument"),
    [("tiktoken", TiktokenCounter, "o200k_base"), ("tokenizers", TokenizersCounter, "x.json")],
)
def test_a_missing_package_names_its_extra(
    package: str,
    counter: type[TiktokenCounter] | type[TokenizersCounter],
    argument: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the package the error says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "finite-memory-core\[{package}\]"'):
        counter(argument)
