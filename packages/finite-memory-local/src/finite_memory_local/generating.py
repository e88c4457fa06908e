"""One reply by transformers' own `generate`, on a cache that is already there.

What goes in is ids that the caller has verified against the cache; what comes out is ids, one by
one, through a streamer. Knows nothing of text, messages and sessions.
"""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from threading import Event, Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.cache_utils import Cache
from transformers.generation.logits_process import LogitsProcessor
from transformers.generation.stopping_criteria import StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from finite_memory_core import BackendError, ConfigError

from .attention import NAME
from .loading import device_of

_REFUSED = {
    "num_beams": 1,
    "num_return_sequences": 1,
    "penalty_alpha": None,
    "prompt_lookup_num_tokens": None,
    "assistant_early_exit": None,
}
"""What makes more than one sequence of a cache, with the only value that does not."""

_OURS = {
    "max_length": "the prompt grows with the conversation; use max_new_tokens",
    "cache_implementation": "the cache is what this backend keeps; leave it out",
}
"""What the backend decides, with what to do instead."""


def settings(model: Any, given: GenerationConfig | None, options: dict[str, Any]) -> Any:
    """Return the generation settings: the model's own, then `given`, then `options`.

    Raises:
        ConfigError: transformers refuses them, they need several sequences at once, or they are
            what the backend itself decides.
    """
    _check_given(given, options)
    made = deepcopy(given if given is not None else model.generation_config)
    if given is not None:  # where it says nothing, the model's own settings hold, ends and all
        own = model.generation_config.to_dict()
        made.update(**own, defaults_only=True, allow_custom_entries=True)
    try:
        unknown = made.update(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"transformers refuses the settings {options!r}: {error}") from error
    if unknown:
        raise ConfigError(
            f"transformers' GenerationConfig knows no {', '.join(map(repr, sorted(unknown)))}; "
            "see its documentation for the names"
        )
    for name, only in _REFUSED.items():
        value = getattr(made, name, None)
        if value not in (only, None):
            raise ConfigError(f"{name}={value!r} needs several caches; pass {name}={only!r}")
    made.stop_strings = _stop_strings(made.stop_strings)
    made.cache_implementation = None
    made.max_length = None
    made.return_dict_in_generate = False
    return made


def _check_given(given: object, options: dict[str, Any]) -> None:
    """Refuse what transformers takes and stumbles over, and what is not the caller's.

    Raises:
        ConfigError: there is such a setting.
    """
    if given is not None and not isinstance(given, GenerationConfig):
        raise ConfigError(
            f"generation must be transformers' GenerationConfig, got {given!r:.80}; single fields "
            "can be passed by their names, such as max_new_tokens=100"
        )
    for name in ("max_new_tokens", "min_new_tokens"):
        tokens = options.get(name, getattr(given, name, None))
        if tokens is not None and type(tokens) is not int:
            raise ConfigError(f"{name}={tokens!r} must be a whole number of tokens")
    for name, instead in _OURS.items():
        if options.get(name, getattr(given, name, None)) is not None:
            raise ConfigError(f"{name} cannot be set: {instead}")


def _stop_strings(given: Any) -> list[str]:
    """Return the strings that end a reply, each of which says something."""
    found = [given] if isinstance(given, str) else given or []
    if not isinstance(found, list | tuple) or not all(s and isinstance(s, str) for s in found):
        raise ConfigError(
            f"stop_strings={given!r:.80} must be a string or a list of strings, none of them "
            "empty: the empty one would end every reply before it begins"
        )
    return list(found)


def check(model: Any, config: GenerationConfig, seed: object) -> None:
    """Let transformers and PyTorch refuse now what they would refuse in every turn.

    `generate` prepares a reply of one token, and hands over to a function of ours where it would
    begin to read.

    Raises:
        ConfigError: they do.
    """
    try:
        if seed is not None and type(seed) is not int:
            raise TypeError("it must be a whole number")
        if seed is not None:
            torch.Generator("cpu").manual_seed(seed)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"PyTorch takes no seed={seed!r}: {error}") from error

    def stop_here(
        model: Any,  # noqa: ARG001  # what generate passes
        input_ids: Tensor,
        stopping_criteria: StoppingCriteriaList,
        **kwargs: Any,  # noqa: ARG001
    ) -> Tensor:
        stopping_criteria(input_ids, None)
        return input_ids

    ids = _row([0], device_of(model))
    try:
        with lock_of(model), _only_these(model):
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=_for(config, config.max_new_tokens or 1),
                custom_generate=stop_here,
            )
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        told = config.to_diff_dict()
        raise ConfigError(
            f"transformers refuses the settings: {error}; see its documentation of GenerationConfig"
            f" for what they can be. All that were given, the model's own among them: {told!r:.500}"
        ) from error


def _for(config: GenerationConfig, tokens: int) -> GenerationConfig:
    """Return the settings of a reply of at most so many tokens."""
    config = deepcopy(config)
    config.max_new_tokens, config.use_cache = tokens, True
    if config.min_new_tokens is not None:
        config.min_new_tokens = min(config.min_new_tokens, tokens)
    return config


@dataclass(frozen=True, slots=True)
class Limits:
    """When a reply must end, whatever the model says.

    Attributes:
        tokens: the most of them.
        stopping: set when nobody wants the rest.
        stop_now: asked after each token, such as for a stop string.
    """

    tokens: int
    stopping: Event
    stop_now: Callable[[], bool]


@torch.no_grad()
def generate(
    model: Any,
    ids: Sequence[int],
    cache: Cache | None,
    config: GenerationConfig,
    limits: Limits,
    hear: Callable[[int], None],
) -> list[int]:
    """Return the ids of the reply.

    Args:
        model: what generates.
        ids: the whole prompt; what the cache holds is its beginning, and at least one id less.
        cache: grows by all that is read: all but the last id of the reply. None for one that is
            thrown away.
        config: sampling and stop conditions.
        limits: when it must end.
        hear: called with each id of the reply.

    Raises:
        BackendError: the model's logits are not numbers.
    """
    whole = _row(ids, device_of(model))
    kept = {} if cache is None else {"cache": cache}
    with _only_these(model):
        made = model.generate(
            input_ids=whole,
            attention_mask=torch.ones_like(whole),
            generation_config=_for(config, limits.tokens),
            logits_processor=LogitsProcessorList([_OnlyNumbers()]),
            stopping_criteria=StoppingCriteriaList([_Stop(limits)]),
            streamer=_Hearing(hear),
            **kept,
        )
    reply: list[int] = made[0, len(ids) :].tolist()
    return reply


@contextmanager
def _only_these(model: Any) -> Iterator[None]:
    """Keep `generate` from filling in the model's own settings where ours are None, in the block.

    They are in ours already, but for what we took out: what they would bring back.
    """
    before = model.generation_config
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.generation_config = before


class _OnlyNumbers(LogitsProcessor):
    """Refuses logits that are no numbers, from which anything could be sampled."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if scores.isnan().any():
            raise BackendError(
                f"the model's logits at position {input_ids.shape[1]} are NaN; its weights or its "
                "dtype are at fault (float16 overflows where bfloat16 does not)"
            )
        return scores


class _Stop(StoppingCriteria):
    """Ends a reply between two tokens."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def __call__(
        self,
        input_ids: Tensor,
        scores: Tensor,  # noqa: ARG002  # what other criteria look at
        **kwargs: Any,  # noqa: ARG002
    ) -> Tensor:
        ends = self._limits.stopping.is_set() or self._limits.stop_now()
        return torch.full((input_ids.shape[0],), ends, device=input_ids.device)


class _Hearing(BaseStreamer):
    """Passes each id on; what comes first is the prompt."""

    def __init__(self, hear: Callable[[int], None]) -> None:
        self._hear = hear
        self._is_prompt = True

    def put(self, value: Tensor) -> None:
        """Hear of new ids."""
        if self._is_prompt:
            self._is_prompt = False
            return
        for token in value.flatten().tolist():
            self._hear(token)

    def end(self) -> None:
        """Nothing follows."""


_LOCKS: WeakKeyDictionary[Any, RLock] = WeakKeyDictionary()
_LOCKS_LOCK = Lock()


def lock_of(model: Any) -> RLock:
    """Return the lock of a model: backends that share one change its settings, so take turns."""
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(model, RLock())


@contextmanager
def attending(model: Any, is_ours: bool) -> Iterator[None]:
    """Let the model attend by our function in the block, and by its own afterwards.

    The caller holds the model's lock.
    """
    if not is_ours:
        with nullcontext():
            yield
        return
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Sample from a seed in the block, and leave the random state as it was."""
    if seed is None:
        yield
        return
    with _SEEDED, _forked(seed):
        yield


_SEEDED = RLock()
"""Held while something is sampled from a seed: torch has one random state for all models."""


@contextmanager
def _forked(seed: int) -> Iterator[None]:
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        yield


def read(model: Any, ids: Sequence[int], cache: Cache, chunk: int, stopping: Event) -> None:
    """Let the model read ids into the cache, `chunk` at a time.

    Raises:
        Stopped: nobody wants the reply any more.
    """
    last_only = {"logits_to_keep": 1} if _takes(model, "logits_to_keep") else {}
    for start in range(0, len(ids), chunk):
        if stopping.is_set():
            raise Stopped
        part = _row(ids[start : start + chunk], device_of(model))
        with torch.no_grad():
            model(input_ids=part, cache=cache, use_cache=True, **last_only)


def _row(ids: Sequence[int], device: torch.device) -> Tensor:
    """Return ids as a tensor, (1, tokens); by way of an array, which is ten times as fast."""
    return torch.frombuffer(array("q", ids), dtype=torch.long)[None].to(device, copy=True)


def _takes(model: Any, argument: str) -> bool:
    return argument in inspect.signature(model.forward).parameters


class Stopped(Exception):
    """The reply is no longer wanted."""
