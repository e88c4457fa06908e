"""Answers of a server that gives vectors of texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from finite_memory_api import HTTPEmbedder
from finite_memory_core.testing import WordEmbedder

from .replies import KEY
from .servers import JSON, Answer, Asked


def embedder(url: str, model: str = "some-model", **settings: Any) -> HTTPEmbedder:
    """An embedder that asks the server at `url`, once unless `settings` say more."""
    settings = {"retries": 0, "api_key": KEY, "timeout": 5.0, **settings}
    return HTTPEmbedder(model, settings.pop("profile", "openai"), base_url=url, **settings)


def listed(vectors: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The answer that OpenAI would give."""
    data = [
        {"object": "embedding", "index": index, "embedding": [*vector]}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 3 * len(data), "total_tokens": 3 * len(data)}
    return {"object": "list", "data": data, "model": "some-model", "usage": usage}


def told(body: Any, status: int = 200, **headers: str) -> Answer:
    """An answer with `body` as its JSON; underscores in names of headers stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer([json.dumps(body).encode()], status, JSON, named)


def by_words(
    alike: Mapping[str, str] | None = None, dimension: int = 64
) -> Callable[[Asked], Answer]:
    """Answer with vectors of each text's words, the last text first."""
    words = WordEmbedder(alike, dimension=dimension)

    def answer(asked: Asked) -> Answer:
        body = listed(words.embed(asked.json["input"]))
        body["data"].reverse()
        return told(body)

    return answer


def taking(most_texts: int, most_words: int, refusal: Answer) -> Callable[[Asked], Answer]:
    """Answer as `by_words` does, and refuse what has too many texts, or too long a text."""
    gives = by_words()

    def answer(asked: Asked) -> Answer:
        texts = asked.json["input"]
        fits = len(texts) <= most_texts and all(len(t.split()) <= most_words for t in texts)
        return gives(asked) if fits else refusal

    return answer
