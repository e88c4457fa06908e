"""An embedder over HTTP: the vectors of texts, from whoever speaks OpenAI's embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any, Literal

from finite_memory_core import ConfigError, Prices, Usage

from .clients import Clients
from .codecs import openai_embeddings as wire
from .codecs.base import clean
from .endpoint import Endpoint, checked_count, checked_options, limits_of, row_of
from .errors import BadRequestError, PromptTooLongError, RequestTooLargeError, UnreadableReplyError
from .exchange import converse
from .keys import KeySource
from .profiles import PROFILES, Profile, Vectors

_LEAST = 32
"""Characters that every model has room for: a text is not cut to less."""


class HTTPEmbedder(Endpoint):
    """An `Embedder` (see core) that asks a provider, or a server of one's own.

    It goes into ``Recall(embedder=...)``, `Semantic` and `Hybrid`. Of a text that is longer than
    the model takes, the beginning is embedded; a text without words has only zeros.

    Args:
        model: the provider's name of the model.
        profile: the provider, by name, or a `Profile` of your own.
        api_key: the key, or a function that returns it; None reads the profile's environment
            variable.
        base_url: where, if not at the profile's address.
        dimensions: of the vectors, for models that have a choice; None for the model's own.
        options: further fields of the request, as the provider names them.
        headers: further headers.
        query: what is appended to the URL.
        client: a blocking client of httpx2, httpx or openai to send with; an SDK's brings its own
            address and key.
        timeout: seconds that one request may take, all attempts together: a turn that recalls may
            have to wait for one.
        connect_timeout: seconds that making a connection may take.
        retries: how often a temporary failure is tried again.
        batch: the most texts of one request; None for what the profile says.
        prices: what the model costs; ``"table"`` looks it up in `finite_memory_api.prices`.
        name: under which its vectors are stored, and what it is called in errors; None for one
            that says profile, model, dimensions and address. Vectors under another name are
            computed again, so give it one where only the address changes.

    Raises:
        ConfigError: a setting that cannot work, or a provider that has no embeddings.
    """

    def __init__(
        self,
        model: str,
        profile: str | Profile = "compatible",
        *,
        api_key: KeySource = None,
        base_url: str | None = None,
        dimensions: int | None = None,
        options: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        client: Any = None,
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
        retries: int = 2,
        batch: int | None = None,
        prices: Prices | Literal["table"] | None = "table",
        name: str | None = None,
    ) -> None:
        row, served = _served(row_of(profile))
        super().__init__(
            model,
            row,
            wire.NAME,
            api_key=api_key,
            base_url=base_url,
            headers=headers,
            query=query,
            limits=limits_of(timeout, timeout, connect_timeout, retries),
            clients=Clients(_blocking(client), None, wire.NAME),
            prices=prices,
        )
        self.dimensions = checked_count(dimensions, "dimensions")
        wanted = {} if dimensions is None else {served.dimensions: dimensions}
        self._fields = {"model": model, **wanted, **checked_options(options)}
        self._path = served.path
        self._most = checked_count(batch, "batch") or served.texts
        self._most_bytes = served.bytes
        self._spent = _Spent()
        size = "" if dimensions is None else f":{dimensions}"
        place = self._clients.address or self._base
        elsewhere = "" if place == row.base_url else f"@{place}"
        self.name = name or f"{self.name}{size}{elsewhere}"

    @property
    def usage(self) -> Usage:
        """What all requests so far cost, as far as the provider tells; not kept in a pickle."""
        return self._spent.usage

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector a text, in their order.

        Raises:
            BackendError: the provider failed, or its answer is not one finite vector a text, all
                of one dimension.
        """
        cut = [_beginning(clean(text), self._most_bytes) for text in texts]
        asked = [*dict.fromkeys(text for text in cut if text)]
        if cut and not asked:
            asked = ["-"]  # only its dimension is of interest
        vectors = [vector for batch in self._batches(asked) for vector in self._asked(batch)]
        zeros = self._zeros(vectors)
        found = dict(zip(asked, vectors, strict=True))
        return [found[text] if text else zeros for text in cut]

    def _zeros(self, vectors: Sequence[Sequence[float]]) -> list[float]:
        """Return zeros, as many as each of `vectors` has numbers."""
        sizes = {len(vector) for vector in vectors}
        if len(sizes) > 1:
            raise UnreadableReplyError(
                f"backend {self.name!r} sent vectors of dimension "
                f"{' and '.join(map(str, sorted(sizes)))} together; they cannot be compared"
            )
        return [0.0] * max(sizes, default=0)

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """Yield texts that go together: bounded in number, and in bytes."""
        batch: list[str] = []
        size = 0
        for text in texts:
            length = len(text.encode())
            if batch and (len(batch) == self._most or size + length > self._most_bytes):
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += length
        if batch:
            yield batch

    def _asked(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of a batch; one that is refused is halved, a single text is cut."""
        try:
            return self._vectors(texts)
        except (BadRequestError, PromptTooLongError, RequestTooLargeError) as error:
            if len(texts) > 1:  # too many, too long together, or one of them too long
                half = len(texts) // 2
                rest = [texts[:half], texts[half:]]
            elif isinstance(error, BadRequestError):
                raise
            else:
                rest = [[self._shorter(texts[0], error)]]
        return [vector for smaller in rest for vector in self._asked(smaller)]

    def _shorter(self, text: str, error: PromptTooLongError | RequestTooLargeError) -> str:
        """Return the beginning of a text that was too long: what the error's numbers allow."""
        limit, actual = getattr(error, "limit", None), getattr(error, "actual", None)
        share = 0.9 * limit / actual if limit and actual and limit < actual else 0.5
        if len(text) * share < _LEAST:
            raise RequestTooLargeError(
                f"backend {self.name!r} takes not even {len(text)} characters of a text "
                f"({error.provider_message}); take another model",
                status=error.status,
                provider_message=error.provider_message,
            ) from None
        return text[: int(len(text) * share)]

    def _vectors(self, texts: list[str]) -> list[list[float]]:
        from .transports.driving import drive

        reader = wire.VectorsReader(len(texts), self.dimensions)
        request = partial(self._request, self._path, wire.body(texts, self._fields))
        for last in drive(converse(self._call(request, lambda: reader)), self._clients.transport()):
            self._spent.add(last.usage)
        return reader.vectors


class _Spent:
    """Adds up what several threads spend."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.usage = Usage(0, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Spent, ())

    def add(self, usage: Usage | None) -> None:
        """Take in what one answer cost."""
        if usage is None:
            return
        with self._lock:
            known = [cost for cost in (self.usage.cost, usage.cost) if cost is not None]
            tokens = self.usage.input_tokens + usage.input_tokens
            self.usage = Usage(tokens, 0, cost=sum(known) if known else None)


def _served(row: Profile) -> tuple[Profile, Vectors]:
    """Return a provider as its embeddings want it, and how it serves them."""
    served = row.vectors
    if served is None:
        others = ", ".join(name for name, other in PROFILES.items() if other.vectors is not None)
        raise ConfigError(f"{row.name} has no embeddings; take another provider for them: {others}")
    return replace(row, auth=served.auth or row.auth), served


def _blocking(client: Any) -> Any:
    from .transports.http import is_async

    if client is not None and is_async(client):
        raise ConfigError(f"an embedder needs a blocking client, got {type(client).__name__}")
    return client


def _beginning(text: str, most_bytes: int) -> str:
    """Return as much of a text as fits; "" for one without words."""
    return text.encode()[:most_bytes].decode("utf-8", "ignore").strip()
