"""Special tokens that somebody wrote: found, and marked until they are tokenised as text.

A mark is a pair of characters that Unicode keeps for a program's own use. Where one of them is
written by somebody it is marked itself, so that nobody can forge a mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"


class Specials:
    """The special tokens of a tokenizer, as text.

    Args:
        tokenizer: a tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        # Many a model's own marks are special in the tokenizer and in no list of it by name.
        added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        texts = {_OPEN, _CLOSE, *added, *tokenizer.all_special_tokens} - {""}
        either = "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
        # Plain finds of how they begin are much faster than the pattern, and mostly suffice.
        self._beginnings = sorted({text[:2] for text in texts})
        self._found = re.compile(either)
        self._marked = re.compile(f"{_OPEN}({either}){_CLOSE}")
        texts.update(str(token) for token in tokenizer.added_tokens_decoder.values())
        self._added = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))

    def are_in(self, text: str) -> bool:
        """Return whether `text` has what looks like a special token."""
        return self._may_be_in(text) and self._found.search(text) is not None

    def _may_be_in(self, text: str) -> bool:
        return any(beginning in text for beginning in self._beginnings)

    def mark(self, value: Any) -> Any:
        """Return `value` with each marked in all of its strings, names of fields among them."""
        if isinstance(value, str):
            marked = rf"{_OPEN}\g<0>{_CLOSE}"
            return self._found.sub(marked, value) if self._may_be_in(value) else value
        if isinstance(value, Mapping):
            return {self.mark(name): self.mark(field) for name, field in value.items()}
        if isinstance(value, list | tuple):
            return [self.mark(item) for item in value]
        return value

    def unmark(self, text: str) -> str:
        """Return `text` as it was before it was marked."""
        return self._marked.sub(r"\1", text)

    def split(self, text: str) -> list[str]:
        """Return what stands around the marked ones, and each of them, in turn."""
        return self._marked.split(text)

    def before_cut(self, text: str, at: int) -> int:
        """Return where to cut a marked text: at `at`, or before the token or mark it stands in."""
        for whole in (self._marked, self._added):
            for found in whole.finditer(text):
                if found.start() < at < found.end():
                    at = found.start()
        return at

    def first(self, value: Any) -> str | None:
        """Return the first string in `value` that has one, from a little before it on."""
        found = next(filter(None, map(self._found.search, _strings(value))), None)
        return found and found.string[max(found.start() - 40, 0) : found.end() + 40]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for field in value.items():
            yield from _strings(field)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
