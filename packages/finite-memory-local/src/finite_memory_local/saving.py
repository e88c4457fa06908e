"""A session's cache in a file, and back without reading it again.

The file is safetensors: states and ids as they are, all else as JSON in its metadata. It is only
good for the very model, dtype and tokenizer that made it, and says so when it meets others.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from hashlib import sha256
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from finite_memory_core import BackendError

if TYPE_CHECKING:
    from torch import Tensor

    from .backend import HuggingFaceBackend
    from .session import Session

_FORMAT = "finite-memory-cache-5"
_NOT_STATES = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
"""Fields of a configuration that say nothing about what the model computes."""
_SIDE = 128
"""Words of eight bytes to a row, and rows that a checksum takes together: so few stay in a core's
cache from the first sum to the second, and are not shared between threads."""


def save(
    backend: HuggingFaceBackend,
    session: Session | None,
    session_id: str,
    path: str | PathLike[str],
) -> None:
    """Write a session's cache.

    Raises:
        BackendError: it has none, or one that is not kept in our own layers; or the file cannot
            be written: the one that was there stays as it was.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if session is None or not session.layers or not session.length:
        raise BackendError(
            f"session {session_id!r} holds no cache that can be saved; it has had no turn, lost "
            "its cache to the cap, or the model's layers hold more than keys and values"
        )
    tensors = {"ids": torch.tensor(session.ids, device="cpu")}
    for i, layer in enumerate(session.layers):
        tensors[f"keys.{i}"] = layer.keys.contiguous().cpu()
        tensors[f"values.{i}"] = layer.values.contiguous().cpu()
        if layer.source is not None:
            tensors[f"source.{i}"] = layer.source.contiguous().cpu()
    told = {
        **session.to_dict(),
        "format": _FORMAT,
        "belongs": _belongs(backend),
        "ids": _digest(session.ids),
        "rows": _rows_digest(backend.model, session.ids),
        "source_start": [layer.source_start for layer in session.layers],
    }
    told["checksum"] = _checksum(told, tensors)
    try:  # safetensors writes beside it and renames: a crash leaves the last good file
        save_file(tensors, fspath(path), metadata={"finite_memory": json.dumps(told)})
    except (OSError, SafetensorError) as error:
        raise BackendError(f"the cache cannot be written to {fspath(path)!r}: {error}") from error


def load(backend: HuggingFaceBackend, path: str | PathLike[str]) -> Session:
    """Return the session that was saved.

    Raises:
        BackendError: there is no such file, it is broken, or it belongs to something else.
    """
    import torch

    with torch.inference_mode(False):  # the mode of the caller's thread is not that of the turns'
        return _loaded(backend, path)


def _loaded(backend: HuggingFaceBackend, path: str | PathLike[str]) -> Session:
    from safetensors import SafetensorError, safe_open

    name = fspath(path)
    if not backend.capability.devices:
        raise BackendError(
            f"{backend.name} keeps no cache that a saved one could become: "
            f"{backend.capability.why_not}"
        )
    try:
        with safe_open(name, framework="pt") as file:
            told = json.loads((file.metadata() or {}).get("finite_memory", "{}"))
            _check(told, backend, name)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise BackendError(f"{name!r} cannot be read as a saved cache: {error}") from error
    try:
        ids = tensors["ids"].tolist()
        if _digest(ids) != told["ids"]:
            raise BackendError(f"the tokens in {name!r} are not those that it was saved with")
        _check_same("model", told["rows"], _rows_digest(backend.model, ids), name)
        session = _restored(backend, told, tensors, ids)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise BackendError(f"{name!r} lacks a part of the saved cache: {error!r}") from error
    if _checksum(told, tensors) != told.get("checksum"):
        raise BackendError(
            f"what {name!r} holds is not what was saved; the file is damaged, so let the next "
            "turn read the context anew"
        )
    return session


def _restored(
    backend: HuggingFaceBackend, told: dict[str, Any], tensors: dict[str, Any], ids: list[int]
) -> Session:
    session = backend._new_session()
    session.cache = backend.capability.new_cache(backend.model)
    for i, layer in enumerate(session.layers):
        home, source = backend.capability.devices[i], tensors.get(f"source.{i}")
        layer.load(tensors[f"keys.{i}"].to(home), tensors[f"values.{i}"].to(home))
        layer.source = None if source is None else source.to(home)
        layer.source_start = told["source_start"][i]
    session.restore(told, ids)
    return session


def _check(told: dict[str, Any], backend: HuggingFaceBackend, name: str) -> None:
    if told.get("format") != _FORMAT:
        raise BackendError(f"{name!r} is no saved cache of this version of finite-memory-local")
    for what, value in _belongs(backend).items():
        _check_same(what, told["belongs"].get(what), value, name)


def _check_same(what: str, there: object, here: str, name: str) -> None:
    if there != here:
        raise BackendError(
            f"the cache in {name!r} was made with another {what} ({there} there, {here} here); its "
            "states mean nothing here, so let the next turn read the context anew"
        )


def _belongs(backend: HuggingFaceBackend) -> dict[str, str]:
    """Return what a cache is only good for."""
    return {
        "model": _model_digest(backend.model),
        "dtype": str(backend.model.dtype),
        "tokenizer": _tokenizer_digest(backend.tokenizer),
    }


def _model_digest(model: Any) -> str:
    """Return a digest of the configuration, and of the shape and a sample of every weight.

    Weights alone do not tell: a scaling of positions or a sliding window is none.
    """
    config = {k: v for k, v in model.config.to_dict().items() if k not in _NOT_STATES}
    digest = sha256(json.dumps(config, sort_keys=True, default=str).encode())
    buffers = [(name, b) for name, b in model.named_buffers() if name.endswith("inv_freq")]
    settled = [(name, b) for name, b in buffers if "original" in name]  # lengths change the others
    for name, buffer in settled or buffers:
        digest.update(f"{name} {buffer.tolist()}".encode())
    for name, weight in model.named_parameters():
        if weight.device.type == "meta":
            raise BackendError(
                f"the weights of {type(model).__name__} wait on another device (offloaded), so it "
                "cannot be told which model a saved cache belongs to; let the next turn read anew"
            )
        flat = weight.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 16)].float().tolist()
        digest.update(f"{name} {tuple(weight.shape)} {sample}".encode())
    return digest.hexdigest()[:16]


def _rows_digest(model: Any, ids: list[int]) -> str:
    """Return a digest of the embeddings that were read: a sample of them would miss most rows."""
    import torch

    weight = model.get_input_embeddings().weight.detach()
    rows = weight[torch.tensor(sorted(set(ids)), device=weight.device)].contiguous().cpu()
    return sha256(rows.view(torch.uint8).numpy()).hexdigest()[:16]


def _tokenizer_digest(tokenizer: Any) -> str:
    """Return a digest of the vocabulary.

    Where a library of its own holds it, that writes it twenty times as fast as it is sorted here.
    """
    own = getattr(tokenizer, "backend_tokenizer", None)
    known = tokenizer.get_vocab() if own is None else tokenizer.get_added_vocab()
    digest = sha256(json.dumps(sorted(known.items()), ensure_ascii=False).encode())
    if own is not None:
        digest.update(pickle.dumps(own.model))
    return digest.hexdigest()[:16]


def _checksum(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return what tells a saved cache from a damaged one, as fast as it is read.

    Sums of rows and of columns of words, digested: no word can change, and no two change places,
    without one of them. It finds what discs and copies do, not what somebody does on purpose.
    """
    import torch

    said = {key: value for key, value in told.items() if key != "checksum"}
    digest = sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(tensors):
        flat = tensors[name].flatten().view(torch.uint8)
        whole = len(flat) // (8 * _SIDE) * 8 * _SIDE
        words, rest = flat[:whole], flat[whole:]
        if words.storage_offset() % 8:  # a view needs an address that eight divides
            words = words.clone()
        digest.update(f"{name} {rest.tolist()}".encode())
        for rows in torch.split(words.view(torch.int64).view(-1, _SIDE), _SIDE):
            for dimension in (0, 1):
                digest.update(rows.sum(dimension).numpy().tobytes())
    return digest.hexdigest()[:16]


def _digest(ids: list[int]) -> str:
    return sha256(json.dumps(ids).encode()).hexdigest()[:16]
