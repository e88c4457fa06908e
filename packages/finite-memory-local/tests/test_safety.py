"""Nothing is silently wrong: what transformers accepts and gets wrong is right here."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from finite_memory_core import (
    BackendError,
    Chat,
    ConfigError,
    ContextOverflowError,
    FellBack,
    Memory,
    MemoryEvent,
    Message,
)
from finite_memory_local import HuggingFaceBackend

from .families import context, model, tokenizer
from .test_backend import backend
from .test_exact import SYSTEM, fresh, prompt, said
from .test_shift import first_layer_error, talk

QUESTION = Message.user("And now?")


def expect_fresh(made: HuggingFaceBackend, held: list[Message]) -> None:
    """Check that the reply is that of a fresh model."""
    expected = made.tokenizer.decode(fresh(made, prompt(made, held), 6), skip_special_tokens=True)
    assert expected.replace("\0", "\ufffd") == said(made, *held).text


CHANGES: dict[str, Any] = {
    "an edit": lambda held: [*held[:2], Message.assistant("Something else."), *held[3:]],
    "a rewind": lambda held: held[:2],
    "a shorter history": lambda held: [SYSTEM, held[-2]],
    "an edit of the same length": lambda held: [
        held[0],
        Message.user("".join("x" if c == "a" else c for c in held[1].text)),
        *held[2:],
    ],
    "another conversation": lambda held: [Message.user("Good day.")],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_history_is_read_as_it_is(change: str) -> None:
    """Whatever is changed, the reply is that of a fresh model."""
    made = backend()
    held = CHANGES[change](talk(made, 3))
    if held[-1].role != "user":
        held.append(QUESTION)
    expect_fresh(made, held)
    assert first_layer_error(made) < 1e-5


def test_a_reply_can_be_made_again() -> None:
    """The same context twice: one token is read again, and the reply is the same."""
    made = backend()
    held = [*talk(made, 2), QUESTION]
    first = said(made, *held)
    usage = list(made.stream(context(*held)))[-1].usage
    assert usage is not None
    assert usage.input_tokens - 1 == usage.cached_tokens
    assert first == said(made, *held)


class _Breaks(Exception):
    pass


def test_an_exception_in_the_middle_cuts_the_cache_back() -> None:
    """The ledger is that of the last turn that was recorded, and the next turn is right."""
    made = backend()
    held = talk(made, 2)
    before = made._sessions["s"].ids
    calls = 0

    def hook(module: Any, args: Any, output: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise _Breaks("broken")

    handle = made.model.register_forward_hook(hook)
    with pytest.raises(_Breaks):
        list(made.stream(context(*held, QUESTION)))
    handle.remove()
    assert before == made._sessions["s"].ids
    assert first_layer_error(made) < 1e-5
    expect_fresh(made, [*held, QUESTION])


@pytest.mark.parametrize("kv", ["exact", "shift"])
def test_a_stream_that_is_left_cuts_the_cache_back(kv: str) -> None:
    """Whoever stops reading gets the session as it was before the turn."""
    made = backend(kv, max_new_tokens=400)
    held = talk(backend(), 1)
    list(made.stream(context(*held[:2])))
    before = made._sessions["s"].ids
    stream = made.stream(context(*held, QUESTION))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert before[: len(made._sessions["s"].ids)] == made._sessions["s"].ids
    assert made._sessions["s"].held == made._sessions["s"].length
    assert first_layer_error(made) < 1e-5


def test_a_hybrid_reads_anew_after_a_broken_turn() -> None:
    """States that cannot be cut back are dropped, and the reply is that of a fresh model."""
    made = backend(model=model("LFM2, convolutions"))
    held = talk(made, 2)
    stream = made.stream(context(*held, QUESTION))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    expect_fresh(made, [*held, QUESTION])


def test_a_hybrid_reads_anew_after_a_broken_forward() -> None:
    """Its first layers have read what its last ones have not, which its length does not say."""
    made = backend(model=model("Qwen3-Next, linear attention"))
    held = [*talk(made, 2), QUESTION]

    def hook(module: Any, args: Any) -> None:
        raise _Breaks("broken")

    handle = made.model.model.layers[3].register_forward_pre_hook(hook)
    with pytest.raises(_Breaks):
        list(made.stream(context(*held)))
    handle.remove()
    assert () == made.ledger("s")
    expect_fresh(made, held)


def test_two_threads_on_one_session_take_turns() -> None:
    """Neither disturbs the other."""
    made = backend()
    texts: list[str] = []
    ask = [SYSTEM, QUESTION]
    threads = [Thread(target=lambda: texts.append(said(made, *ask).text)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 == len(set(texts))
    assert first_layer_error(made) < 1e-5


def test_a_second_backend_waits_for_the_reply_of_the_first() -> None:
    """Else it would take our attention function for the model's own, and leave it for good."""
    shared = model()
    first, second = backend(model=shared, max_new_tokens=60), backend(model=shared)
    stream = first.stream(context(SYSTEM, QUESTION))
    next(stream)
    thread = Thread(target=said, args=(second, SYSTEM, QUESTION))
    thread.start()
    stream.close()  # type: ignore[attr-defined]
    thread.join()
    assert "sdpa" == shared.config._attn_implementation


def test_a_context_longer_than_the_window_is_refused_with_the_numbers() -> None:
    """Before anything is read; a memory with a smaller budget is what helps."""
    made = backend(model=model("GPT-2", n_positions=64))
    with pytest.raises(ContextOverflowError, match="window") as caught:
        said(made, Message.user("long " * 40))
    assert (64, len(prompt(made, [Message.user("long " * 40)]))) == (
        caught.value.limit,
        caught.value.actual,
    )
    short = backend(model=model("GPT-2", n_positions=64), max_new_tokens=100, min_new_tokens=None)
    assert list(short.stream(context(Message.user("Hi"))))[-1].finish in ("length", "stop")


def test_positions_that_change_with_the_length_are_never_mixed() -> None:
    """Dynamic NTK beyond its length: read anew, said once, and never reused."""
    events: list[MemoryEvent] = []
    made = backend(
        "shift",
        model=model("Phi-3, LongRoPE", max_position_embeddings=2_048),
        observers=[events.append],
    )
    assert 1_024 == made.capability.limit
    held = [Message.user("plum " * 190)]
    for _ in range(2):
        held += [said(made, *held), Message.user("more?" * 12)]
    assert 0 == made.cache_stats.sessions
    assert 1 == len([e for e in events if isinstance(e, FellBack)])


def test_logits_that_are_no_numbers_are_refused() -> None:
    """Anything could be sampled from them."""
    made = model()
    made.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(BackendError, match="NaN"):
        said(backend(model=made), QUESTION)


def test_a_session_survives_running_out_of_memory() -> None:
    """Its cache is dropped, the error says so, and the next turn is right."""
    made = backend()
    held = talk(made, 2)

    def hook(module: Any, args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    handle = made.model.register_forward_pre_hook(hook)
    with pytest.raises(BackendError, match="memory ran out"):
        said(made, *held, QUESTION)
    handle.remove()
    assert 0 == made.cache_stats.sessions
    assert 1 == made.cache_stats.dropped
    expect_fresh(made, [*held, QUESTION])


def test_a_session_survives_a_cache_that_cannot_come_home() -> None:
    """Before anything is read the device may be full, or gone; that fails as any turn does."""
    made = backend()
    held = talk(made, 2)
    made._sessions["s"].layers[1].home = torch.device("vulkan")  # a device that no machine has
    with pytest.raises(BackendError, match=r"the model failed.*dropped"):
        said(made, *held, QUESTION)
    assert 0 == made.cache_stats.sessions
    assert 1 == made.cache_stats.dropped
    expect_fresh(made, [*held, QUESTION])


def test_a_fallback_is_said_once() -> None:
    """In the stats and as an event: learned positions cannot be moved."""
    events: list[MemoryEvent] = []
    made = backend("shift", model=model("GPT-2"), observers=[events.append])
    held = talk(made, 3)
    del held[1:3]
    said(made, *held, QUESTION)
    assert ["kv='exact'"] == [f.what for f in made.cache_stats.fallbacks]
    assert 1 == len(events)


def test_an_observer_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The others hear of it, and the stats say that one did not."""
    events: list[MemoryEvent] = []

    def broken(event: MemoryEvent) -> None:
        raise RuntimeError("no")

    made = backend("shift", model=model("GPT-2"), observers=[broken, events.append])
    assert said(made, QUESTION).text
    assert 1 == len(events)
    assert "broken" in caplog.text
    assert any("not heard" in f.what and "'no'" in f.why for f in made.cache_stats.fallbacks)
    with pytest.raises(ConfigError, match="observers"):
        backend(observers=5)


def test_moved_states_are_nothing_to_an_exact_cache(tmp_path: Path) -> None:
    """A session that was saved after a shift is read again from where that began."""
    shifted = backend("shift")
    held = talk(shifted, 4)
    del held[1:4]
    held += [QUESTION, said(shifted, *held, QUESTION)]
    shifted.save_cache("s", tmp_path / "cache")
    made = backend(model=shifted.model)
    made.load_cache("s", tmp_path / "cache")
    pure = made._sessions["s"].pure
    assert pure is not None
    assert pure < len(made._sessions["s"].ids)
    expect_fresh(made, [*held, Message.user("Go on.")])
    assert made.cache_stats.reused <= pure


def test_seeded_replies_of_two_models_take_turns() -> None:
    """Each is what it is alone: the random state is one for all models."""
    options: dict[str, Any] = {"do_sample": True, "temperature": 2.0, "max_new_tokens": 30}
    pair = [backend(model=model(seed=i), seed=i, **options) for i in range(2)]
    alone = [said(one, QUESTION).text for one in pair]
    for _ in range(3):
        texts = ["", ""]

        def say(i: int, texts: list[str] = texts) -> None:
            texts[i] = said(pair[i], QUESTION).text

        threads = [Thread(target=say, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert alone == texts


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "mode": ({"kv": "best"}, "kv must be one of"),
    "sinks": ({"sinks": -1}, "sinks"),
    "chunk": ({"chunk": 0}, "chunk"),
    "cap": ({"cache_bytes": -1}, "cache_bytes"),
    "no session": ({"sessions": 0}, "sessions"),
    "beams": ({"num_beams": 4}, "several caches"),
    "a length of all": ({"max_length": 20}, "max_new_tokens"),
    "a cache": ({"cache_implementation": "static"}, "cache_implementation"),
    "temperature": ({"do_sample": True, "temperature": -1.0}, r"temperature.*-1\.0"),
    "unknown option": ({"temprature": 1.0}, "temprature"),
    "no tokens": ({"max_new_tokens": 0}, "max_new_tokens"),
}


@pytest.mark.parametrize("case", BAD)
def test_settings_that_cannot_be_are_refused(case: str) -> None:
    """Each with the value and what to do."""
    options, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        HuggingFaceBackend(model(), tokenizer=tokenizer(), **options)


def test_what_is_no_causal_model_is_refused() -> None:
    """An object, and a model that encodes."""
    from transformers import T5Config, T5ForConditionalGeneration

    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=264, d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8)
    )
    for what in (object(), 7, t5):
        with pytest.raises(ConfigError):
            HuggingFaceBackend(what, tokenizer=tokenizer())


def test_a_tokenizer_of_another_model_is_refused() -> None:
    """It has ids that the model does not know."""
    with pytest.raises(ConfigError, match="do not belong together"):
        HuggingFaceBackend(model(vocab_size=200), tokenizer=tokenizer())
    with pytest.raises(ConfigError, match="pass tokenizer"):
        HuggingFaceBackend(model())


def test_a_missing_or_gated_model_says_what_to_do(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder, no network: the error names both ways."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in (str(tmp_path / "nothing"), "nobody/no-such-model"):
        with pytest.raises(BackendError, match=r"cannot be loaded.*hf auth login"):
            HuggingFaceBackend(name)


def test_parts_that_are_not_text_are_refused() -> None:
    """A picture is not left out in silence."""
    picture = [{"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(BackendError, match="image_url"):
        said(backend(), Message.user(picture))


def test_a_failed_turn_leaves_the_memory_as_it_was() -> None:
    """Through a chat, too."""
    made = model()
    made.lm_head.weight.data.fill_(float("nan"))
    memory = Memory(budget=2_000)
    with pytest.raises(BackendError):
        Chat(backend(model=made), memory).send("Hello")
    assert [] == list(memory.transcript)
