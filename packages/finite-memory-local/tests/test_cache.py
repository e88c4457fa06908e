"""The cache as a thing: its ledger, its bytes, its file, and what attention says of it."""

from __future__ import annotations

import json
from itertools import pairwise
from threading import Event
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from finite_memory_core import (
    BackendError,
    Block,
    CannotDecide,
    Chat,
    ConfigError,
    Importance,
    Memory,
    Message,
)
from finite_memory_local import HuggingFaceBackend
from finite_memory_local.attention import recording
from finite_memory_local.generating import read
from finite_memory_local.importance import attention
from finite_memory_local.ledger import (
    Fresh,
    Kept,
    Piece,
    _same,
    common,
    ids_of,
    prefix_plan,
    shift_plan,
)

from .families import DEVICE, count_read, model, tokenizer
from .test_backend import backend
from .test_exact import SYSTEM, said
from .test_shift import first_layer_error, shifting, talk

_PIECES = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple), max_size=8)


@given(old=_PIECES, new=_PIECES.filter(bool), shift=st.booleans())
def test_a_plan_leads_to_what_is_wanted(
    old: list[tuple[int, ...]], new: list[tuple[int, ...]], shift: bool
) -> None:
    """Kept ids are those that the ledger has there, in order, and the last id is always read."""
    held, pieces = [Piece(ids) for ids in old], [Piece(ids) for ids in new]
    before = ids_of(held)
    plan = shift_plan(held, pieces) if shift else prefix_plan(held, pieces, len(before))
    made: list[int] = []
    at = 0
    for segment in plan:
        if isinstance(segment, Kept):
            assert at <= segment.start < segment.end
            made += before[segment.start : segment.end]
            at = segment.end
        else:
            made += segment.ids
    assert ids_of(pieces) == made
    assert isinstance(plan[-1], Fresh)


_WORDS = st.lists(st.integers(0, 6).map(lambda i: (i,)), max_size=7)


@given(old=_WORDS, new=_WORDS)
def test_as_many_pieces_as_can_be_are_found_again(
    old: list[tuple[int]], new: list[tuple[int]]
) -> None:
    """The pairs are equal, ascend in both, and no way has more of them."""
    found = _same(old, new)
    assert all(old[i] == new[j] for i, j in found)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(found))
    most = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, one in enumerate(old):
        for j, other in enumerate(new):
            longer = most[i][j] + 1 if one == other else 0
            most[i + 1][j + 1] = max(longer, most[i][j + 1], most[i + 1][j])
    assert len(found) == most[-1][-1]


@given(old=st.lists(st.integers(0, 2)), new=st.lists(st.integers(0, 2)))
def test_the_longest_common_prefix_is_found(old: list[int], new: list[int]) -> None:
    """The same up to there, and not beyond."""
    length = common(old, new)
    assert old[:length] == new[:length]
    assert length == min(len(old), len(new)) or old[length] != new[length]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "evict", "crop", "edit", "insert"]), st.integers(0, 10_000)
    ),
    min_size=3,
    max_size=10,
)
_BACKENDS: dict[str, HuggingFaceBackend] = {}


@pytest.mark.parametrize("kv", ["exact", "shift"])
@pytest.mark.parametrize("family", ["Llama", "GLM", "Gemma 3"])
@given(steps=_STEPS)
@settings(max_examples=12, deadline=None)
def test_layer_0_is_a_fresh_prefill_of_the_ledger(
    family: str, kv: str, steps: list[tuple[str, int]]
) -> None:
    """After any sequence of append, evict, crop, edit and insert."""
    if family + kv not in _BACKENDS:
        _BACKENDS[family + kv] = backend(kv, model=model(family), max_new_tokens=2)
    made = _BACKENDS[family + kv]
    made.drop()
    held = [SYSTEM, Message.user("Hello.")]
    for number, (step, where) in enumerate(steps):
        at = 1 + where % max(1, len(held) - 1)
        if step == "evict" and len(held) > 3:
            del held[at : at + 2]
        elif step == "crop":
            del held[max(2, at) :]
        elif step == "edit":
            held[at] = Message.user(f"edited {number}")
        elif step == "insert":
            held.insert(at, Message.user(f"inserted {number}"))
        if len(held) < 2 or held[-1].role != "user":
            held.append(Message.user(f"turn {number} of {where}"))
        held.append(said(made, *held))
        assert first_layer_error(made) < 1e-5


def test_bytes_are_flat_over_ten_thousand_turns() -> None:
    """The cache of a bounded context is bounded: it grows to the budget and stays."""
    made = shifting(max_new_tokens=1)
    session = made._session("s")
    held = [Message.user(str(i % 10) * 8) for i in range(12)]
    sizes = set()

    def reads(ids: Any) -> None:
        assert session.cache is not None
        read(made.model, ids, session.cache, 512, Event())

    for i in range(10_000):
        held = [*held[1:], Message.user(str(i) * 2)]
        pieces = made._renderer.render(held[-4:], (), {}).pieces
        session.follow(session.plan(pieces, True, 0), reads)
        if i > 100:
            sizes.add(session.nbytes)
    assert 1 == len(sizes)
    per_token = 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, numbers, bytes
    assert sizes.pop() <= (session.held + 256) * per_token


def test_sessions_share_a_cap_and_the_oldest_goes_first() -> None:
    """Under the cap one session loses its place, and its next turn is right all the same."""
    made = backend()
    one = [Message.user("I am one.")]
    said(made, *one, session_id="one")
    made.cache_bytes = made.cache_stats.bytes + 100
    said(made, Message.user("I am two."), session_id="two")
    leaves = DEVICE != "cpu"  # there is CPU memory to go to
    assert leaves == bool(made.ledger("one"))
    assert made.ledger("two")
    assert (not leaves, leaves) == (made.cache_stats.dropped, made.cache_stats.offloaded)
    assert said(backend("off"), *one) == said(made, *one, session_id="one")


def test_sessions_are_bounded_in_number() -> None:
    """Each summary is a session of its own: the least used goes, cache, replies and all."""
    made = backend(sessions=2, max_new_tokens=1)
    one = [Message.user("I am one.")]
    for name in ("one", "two", "one", "three"):
        said(made, *one, session_id=name)
    assert ["one", "three"] == list(made._sessions)
    assert (2, 1) == (made.cache_stats.sessions, made.cache_stats.dropped)
    assert () == made.ledger("two")
    assert said(backend("off", max_new_tokens=1), *one) == said(made, *one, session_id="two")


def test_a_saved_session_goes_on_without_reading(tmp_path: Any) -> None:
    """Bit for bit, in another backend on the same model, also after evictions."""
    for dtype in (torch.float32, torch.bfloat16):
        first = shifting(model=model().to(dtype))
        held = talk(first, 4)
        del held[1:3]
        held.append(Message.user("And now?"))
        held.append(said(first, *held))
        first.save_cache("s", tmp_path / "cache")
        second = shifting(model=model().to(dtype))
        second.load_cache("t", tmp_path / "cache")
        held.append(Message.user("Go on."))
        for a, b in zip(first._sessions["s"].layers, second._sessions["t"].layers, strict=True):
            assert torch.equal(a.keys, b.keys)
            assert torch.equal(a.values, b.values)
        seen, stop = count_read(second.model)
        expected = said(first, *held)
        assert expected == said(second, *held, session_id="t")
        stop()
        assert sum(seen) < 60
        assert first.ledger("s") == second.ledger("t")


def test_a_saved_session_of_something_else_is_refused(tmp_path: Any) -> None:
    """Another model, dtype or tokenizer, other tokens, a broken file, none at all."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    made = backend()
    path = tmp_path / "cache"
    with pytest.raises(BackendError, match="no cache"):
        made.save_cache("s", path)
    said(made, Message.user("Hello"))
    made.save_cache("s", path)
    with pytest.raises(BackendError, match="another model"):
        backend(model=model(seed=1)).load_cache("s", path)
    with pytest.raises(BackendError, match="another"):
        backend(model=model().to(torch.bfloat16)).load_cache("s", path)
    other_base = {"rope_type": "default", "rope_theta": 500.0}
    for other_model in (model("Llama, linear scaling"), model(rope_parameters=other_base)):
        with pytest.raises(BackendError, match="another model"):
            backend(model=other_model).load_cache("s", path)
    other = tokenizer()
    other.add_tokens(["more"])
    with pytest.raises(BackendError, match="another tokenizer"):
        backend(tokenizer=other).load_cache("s", path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    fewer = {key: tensor for key, tensor in tensors.items() if key != "values.1"}
    save_file(fewer, path, metadata=metadata)
    with pytest.raises(BackendError, match=r"lacks a part.*values\.1"):
        made.load_cache("s", path)
    for key in ("keys.1", "values.1"):
        fewer[key] = tensors[key][:, :, :-3].contiguous()
    save_file(fewer, path, metadata=metadata)
    with pytest.raises(BackendError, match="damaged"):
        made.load_cache("s", path)
    tensors["ids"][3] += 1
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(BackendError, match="tokens"):
        made.load_cache("s", path)
    path.write_bytes(b"nothing")
    with pytest.raises(BackendError, match="cannot be read"):
        made.load_cache("s", path)
    with pytest.raises(BackendError):
        made.load_cache("s", tmp_path / "none")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_file_with_one_wrong_byte_is_refused(tmp_path: Any, dtype: torch.dtype) -> None:
    """Wherever it is: in the ledger, in the ids, in the first states and in the last."""
    made = shifting(model=model().to(dtype))
    talk(made, 2)
    path = tmp_path / "cache"
    made.save_cache("s", path)
    whole = path.read_bytes()
    states = 8 + int.from_bytes(whole[:8], "little")
    middle = (states + len(whole)) // 2
    for place in (whole.index(b"pieces"), states, states + 1_001, middle, len(whole) - 1):
        wrong = bytearray(whole)
        wrong[place] ^= 1
        path.write_bytes(wrong)
        with pytest.raises(BackendError, match=r"damaged|tokens|lacks"):
            made.load_cache("s", path)
    path.write_bytes(whole)
    made.load_cache("s", path)


@pytest.mark.parametrize("apart", [1, 128, 300])
def test_a_file_whose_words_changed_places_is_refused(tmp_path: Any, apart: int) -> None:
    """Whichever two: sums alone would not tell."""
    made = shifting()
    talk(made, 4)
    path = tmp_path / "cache"
    made.save_cache("s", path)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    first = start + json.loads(whole[8:start])["values.0"]["data_offsets"][0] + 8 * 3
    other = first + 8 * apart
    one, two = whole[first : first + 8], whole[other : other + 8]
    assert one != two
    path.write_bytes(whole[:first] + two + whole[first + 8 : other] + one + whole[other + 8 :])
    with pytest.raises(BackendError, match="damaged"):
        made.load_cache("s", path)


def test_a_model_with_other_embeddings_is_refused(tmp_path: Any) -> None:
    """Also where every weight that is sampled is the same; rows that were not read may differ."""
    made = backend()
    said(made, Message.user("Hello AAAA BBBB"))
    path = tmp_path / "cache"
    made.save_cache("s", path)
    used = sorted(set(made._sessions["s"].ids))
    weight = model().get_input_embeddings().weight
    sampled = {i // weight.shape[1] for i in range(0, weight.numel(), weight.numel() // 16)}
    row = next(i for i in used if i not in sampled)
    unused = next(i for i in range(len(weight)) if i not in sampled and i not in used)
    for changed, is_refused in ((row, True), (unused, False)):
        other = model()
        other.get_input_embeddings().weight.data[changed, 3] += 1.0
        if not is_refused:
            backend(model=other).load_cache("s", path)
            continue
        with pytest.raises(BackendError, match="another model"):
            backend(model=other).load_cache("s", path)


def test_a_cache_that_is_loaded_in_inference_mode_goes_on(tmp_path: Any) -> None:
    """Turns run in a thread that is not in it, where such states could not be written."""
    made = shifting()
    held = talk(made, 2)
    path = tmp_path / "cache"
    with torch.inference_mode():
        made.save_cache("s", path)
        made.load_cache("s", path)
    expected = shifting()
    expected.load_cache("s", path)
    assert said(expected, *held[:-1]) == said(made, *held[:-1])


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Any) -> None:
    """No folder, or one where the file should be: an error of ours, and no part of a file."""
    made = backend()
    said(made, Message.user("Hello"))
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "none" / "cache", tmp_path / "taken"):
        with pytest.raises(BackendError, match="cannot be written"):
            made.save_cache("s", path)
    assert ["taken"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("family", ["Llama", "Qwen3", "Mistral, sliding window", "GPT-NeoX"])
def test_attention_is_that_of_eager_attention(family: str) -> None:
    """The same numbers as `output_attentions` gives, for the last queries, to rounding."""
    made = backend(model=model(family))
    made.scorer(queries=8)
    said(made, SYSTEM, Message.user("Where does Ada live, and who likes the red plum?"))
    session = made._sessions["s"]
    got = attention(session, 8)
    made.model.set_attn_implementation("eager")
    with torch.no_grad():
        ids = torch.tensor([session.ids], device=DEVICE)
        out = made.model(input_ids=ids, output_attentions=True)
    eager = torch.stack([a[0, :, -8:].mean((0, 1)) for a in out.attentions]).mean(0).cpu()
    assert torch.allclose(eager, got, atol=1e-5)
    assert 1.0 == pytest.approx(float(got.sum()), abs=1e-4)


def test_attention_on_latents_cannot_be_watched() -> None:
    """Said when a scorer is asked for, not when an eviction is due."""
    made = shifting("DeepSeek-V3, latent attention")
    with pytest.raises(ConfigError, match="cannot be watched"):
        made.scorer()


def test_queries_from_the_middle_are_not_taken_for_the_last() -> None:
    """What is read where it is inserted is asked from there, so it says nothing at the end."""
    made = shifting()
    made.scorer(queries=8)
    held = talk(made, 4)
    held[1:3] = [Message.system("Summary: they talked about plums and Turin.")]
    session = made._sessions["s"]
    pieces = made._renderer.render(held, (), session.replies).pieces
    seen: list[int] = []

    def reads(ids: Any) -> None:
        assert session.cache is not None
        with recording(session.recorder):
            read(made.model, ids, session.cache, 512, Event())
        seen.extend(ids)

    made.model.set_attn_implementation("finite_memory")
    session.follow(session.plan(pieces, True, 0), reads)
    assert seen
    with pytest.raises(CannotDecide):
        attention(session, 8)


def test_importance_follows_the_models_attention() -> None:
    """Core's policy takes the scorer, and a cache that holds nothing cannot decide."""
    made = shifting(max_new_tokens=4, min_new_tokens=4)
    scorer = made.scorer()
    blocks = [Block(0, (Message.user("Never said."),), 3)]
    with pytest.raises(CannotDecide):
        scorer(blocks)
    memory = Memory(budget=220, policy=Importance(scorer), reserve=8)
    chat = Chat(made, memory)
    for i in range(12):
        chat.send(f"Turn {i}: the plum of Ada is red and her town is number {i * 7}.")
    assert made.cache_stats.evicted > 0
    assert {} == memory.stats.fallbacks


def test_the_ledger_says_whose_tokens_stand_where() -> None:
    """Each message has its span; together they are the cache."""
    made = backend()
    held = [SYSTEM, Message.user("Hello.")]
    reply = said(made, *held)
    spans = made.ledger("s")
    assert [*held, reply] == [span.message for span in spans if span.message is not None]
    assert [0, *(span.end for span in spans[:-1])] == [span.start for span in spans]
