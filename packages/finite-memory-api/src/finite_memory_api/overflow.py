"""Telling that a prompt was too long, in the words of every provider.

Only some have a code for it; the others say it in prose, with or without the two numbers that
matter. The sentences were collected from the providers' documentation, their SDKs' tests and
reports of users; each is in the table of ``tests/test_failures.py`` with where it is from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CODES = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",
        "max_context_length_exceeded",
        "model_context_window_exceeded",
        "prompt_too_long",
    }
)
_NOT_CODES = frozenset({"string_above_max_length", "array_above_max_length"})

_N = r"(?P<limit>\d[\d,_]*)"
_M = r"(?P<actual>\d[\d,_]*)"
_SENTENCES = [
    re.compile(sentence, re.IGNORECASE | re.DOTALL)
    for sentence in (
        # OpenAI, and all who copied its words: vLLM, Together, OpenRouter, llama-cpp-python
        rf"maximum context length (?:is|of) {_N}.{{0,80}}?(?:resulted in|requested) {_M}",
        rf"maximum context length is {_N} .*?(?:has|contains at least) {_M} (?:input )?tokens",
        rf"configured limit of {_N} tokens.*?resulted in {_M}",
        rf"maximum context length (?:is|of) {_N}",
        r"input exceeds the (?:model's )?(?:maximum )?context window",
        r"exceeds? (?:the )?(?:available )?context (?:size|window|length)",
        # Anthropic
        rf"prompt is too long: {_M} tokens > {_N} maximum",
        r"prompt is too long",
        rf"input length and `max_tokens` exceed context limit: {_M} \+ \d+ > {_N}",
        # Gemini
        rf"input token count \(?{_M}\)? exceeds the maximum number of tokens allowed \(?{_N}\)?",
        r"exceeds the maximum number of tokens allowed",
        # embeddings: of OpenAI, and of llama.cpp, whose batch is the limit then
        rf"maximum input length is {_N} tokens",
        rf"input \({_M} tokens\) is too large to process.*?current batch size: {_N}",
        r"input is too large to process",
        # llama.cpp
        rf"request \({_M} tokens\) exceeds the available context size \({_N} tokens\)",
        # SGLang
        rf"\({_M} tokens\) is longer than the model'?s context length \({_N} tokens\)",
        r"longer than the model'?s context length",
        # xAI
        rf"maximum prompt length is {_N}.*?contains {_M}",
        # Mistral
        rf"prompt contains {_M} tokens.*?too large for model with {_N} maximum context length",
        rf"too large for model with {_N} maximum context length",
        # Text Generation Inference
        rf"`inputs` tokens \+ `max_new_tokens` must be <= {_N}\. given: {_M}",
        rf"`inputs` must have less than {_N} tokens\. given: {_M}",
        # Cerebras
        rf"current length is {_M} while limit is {_N}",
        # Kimi
        rf"exceeded model token limit: {_N} \(requested: {_M}\)",
        # Groq, MiniMax, LM Studio, Cohere, AI21, Fireworks
        r"reduce the length of the messages",
        r"context window exceeds limit",
        rf"context (?:length|overflow).{{0,60}}(?:only|limit of|length of) {_N} tokens",
        r"greater than the context length",
        rf"too many tokens:.*?(?:limit of|exceed) {_N}",
        rf"prompt is too long: {_M}, model maximum context length: {_N}",
        rf"prompt token count of {_M} exceeds the limit of {_N}",
        r"context[ _](?:length|window|size)[ _]exceeded",
    )
]
_RATE = re.compile(
    rf"request too large.*?tokens per (?:min|minute|day).*?limit:? {_N}.*?requested:? {_M}",
    re.IGNORECASE | re.DOTALL,
)
_ANY_RATE = re.compile(r"tokens per (?:min|day)|\bTPM\b|rate limit", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Overflow:
    """How long a prompt may be and how long it was, in the provider's tokens; None is unsaid."""

    limit: int | None = None
    actual: int | None = None


def overflow_in(code: str | None, message: str, fields: Mapping[str, Any]) -> Overflow | None:
    """Return what an error says of a prompt that is too long; None where it is another error.

    Args:
        code: the error's code, or its type.
        message: its text.
        fields: all fields of the error; llama.cpp puts the numbers there.
    """
    if code in _NOT_CODES:
        return None
    found = _in_sentence(message)
    if code not in _CODES and found is None:
        return None
    if found is not None and code not in _CODES and _ANY_RATE.search(message):
        return None
    found = found or Overflow()
    limit, actual = fields.get("n_ctx"), fields.get("n_prompt_tokens")
    return Overflow(
        limit if isinstance(limit, int) else found.limit,
        actual if isinstance(actual, int) else found.actual,
    )


def rate_bucket_in(message: str) -> Overflow | None:
    """Return the numbers of a single request that is larger than its whole rate limit.

    Waiting never helps: the request must become smaller.
    """
    match = _RATE.search(message)
    if match is None:
        return None
    found = Overflow(_number(match["limit"]), _number(match["actual"]))
    return found if (found.actual or 0) > (found.limit or 0) else None


def _in_sentence(message: str) -> Overflow | None:
    best: Overflow | None = None
    for sentence in _SENTENCES:
        if match := sentence.search(message):
            groups = match.groupdict()
            found = Overflow(_number(groups.get("limit")), _number(groups.get("actual")))
            if best is None or (best.limit is None and found.limit is not None):
                best = found
            if best.limit is not None and best.actual is not None:
                break
    return best


def _number(text: str | None) -> int | None:
    return None if text is None else int(text.replace(",", "").replace("_", ""))
