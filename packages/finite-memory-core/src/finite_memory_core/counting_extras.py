"""Exact token counters on top of optional packages, each behind an extra.

Importing this module needs neither package; making a counter does. Text that looks like a special
token (``<|endoftext|>``) is counted as the text that it is, since it comes from a message.
"""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import tiktoken
    import tokenizers

__all__ = ["TiktokenCounter", "TokenizersCounter"]

_NO_SPECIAL: frozenset[str] = frozenset()


class TiktokenCounter:
    """Count with OpenAI's ``tiktoken`` (extra ``tiktoken``).

    Args:
        encoding_or_model: the name of an encoding (``"o200k_base"``), the name of a model
            (``"gpt-4o"``), or a ``tiktoken.Encoding``. tiktoken downloads the vocabulary of a
            named encoding on first use; an encoding object needs no network.

    Raises:
        MissingExtraError: tiktoken is not installed.
        ConfigError: tiktoken knows neither an encoding nor a model of that name.
    """

    def __init__(self, encoding_or_model: str | tiktoken.Encoding) -> None:
        try:
            import tiktoken
        except ImportError as error:
            raise _missing("tiktoken", "TiktokenCounter") from error
        self._encoding = (
            encoding_or_model
            if isinstance(encoding_or_model, tiktoken.Encoding)
            else _tiktoken_encoding(tiktoken, encoding_or_model)
        )

    def __call__(self, text: str, /) -> int:
        """Return the number of tokens; lone surrogates count as U+FFFD."""
        return len(self._encoding.encode(text, disallowed_special=_NO_SPECIAL))

    def __repr__(self) -> str:
        return f"TiktokenCounter({self._encoding.name!r})"


class TokenizersCounter:
    """Count with Hugging Face's ``tokenizers`` (extra ``tokenizers``).

    Args:
        tokenizer_or_path: the path of a ``tokenizer.json``, or a ``tokenizers.Tokenizer``. A
            tokenizer that is given is used as it is and not changed: one that truncates or pads
            is copied without these.

    Raises:
        MissingExtraError: tokenizers is not installed.
        ConfigError: the file is missing or no tokenizer.
    """

    def __init__(self, tokenizer_or_path: str | PathLike[str] | tokenizers.Tokenizer) -> None:
        try:
            import tokenizers
        except ImportError as error:
            raise _missing("tokenizers", "TokenizersCounter") from error
        self._tokenizer = (
            _load_tokenizer(tokenizers, fspath(tokenizer_or_path))
            if isinstance(tokenizer_or_path, (str, PathLike))
            else tokenizers.Tokenizer.from_str(tokenizer_or_path.to_str())
        )
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True

    def __call__(self, text: str, /) -> int:
        """Return the number of tokens, without those that frame a sequence.

        Lone surrogates count as U+FFFD.
        """
        try:
            return len(self._tokenizer.encode(text, add_special_tokens=False))
        except (TypeError, UnicodeEncodeError):  # a lone surrogate: Rust's strings have none
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return len(self._tokenizer.encode(text, add_special_tokens=False))

    def __repr__(self) -> str:
        return f"TokenizersCounter(<{self._tokenizer.get_vocab_size()} tokens>)"


def _missing(extra: str, user: str) -> MissingExtraError:
    return MissingExtraError(
        f"{user} needs the package {extra!r}, which is not installed; "
        f'run: pip install "finite-memory-core[{extra}]"'
    )


def _tiktoken_encoding(module: Any, name: str) -> tiktoken.Encoding:
    if name in module.list_encoding_names():
        return module.get_encoding(name)  # type: ignore[no-any-return]
    try:
        return module.encoding_for_model(name)  # type: ignore[no-any-return]
    except KeyError:
        raise ConfigError(
            f"tiktoken knows no encoding and no model named {name!r}; "
            f"use one of the encodings {', '.join(module.list_encoding_names())}"
        ) from None


def _load_tokenizer(module: Any, path: str) -> tokenizers.Tokenizer:
    try:
        return module.Tokenizer.from_file(path)  # type: ignore[no-any-return]
    except Exception as error:  # tokenizers raises bare Exception, from Rust
        raise ConfigError(
            f"{path!r} cannot be read as a tokenizer ({error}); give the path of a tokenizer.json"
        ) from error
