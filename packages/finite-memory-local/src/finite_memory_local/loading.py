"""A model and its tokenizer by name, by path or as they are; errors say what to do."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finite_memory_core import BackendError, ConfigError

if TYPE_CHECKING:
    import torch

_WHAT_TO_DO = (
    "give the path of a folder that has it, download it where there is a network, and for a gated "
    "model accept its terms and log in first (`hf auth login`)"
)
_AGAIN = "download or copy them again"


def load_model(model: Any, device: str, dtype: Any) -> Any:
    """Return a causal language model, ready to run.

    Args:
        model: a name on the hub, a path, or a loaded model, which stays where it is.
        device: ``"auto"`` for CUDA where it is to be had, else the CPU; or torch's own word.
        dtype: ``"auto"`` for what the weights are stored in; or torch's own word.

    Raises:
        BackendError: it cannot be loaded, or not all of its weights are there.
        ConfigError: it is no causal language model; there is no such device or dtype.
    """
    if not isinstance(model, str | PathLike):
        return _checked(model).eval()
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    name, home, wanted = fspath(model), _device(device), _dtype(dtype)
    try:
        both: Any = (
            AutoModelForCausalLM.from_pretrained(  # transformers types it as the model alone
                name, dtype=wanted, output_loading_info=True
            )
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise BackendError(f"model {name!r} cannot be loaded: {_why(name, error)}") from error
    loaded, told = both
    missing = sorted(told["missing_keys"])  # transformers would leave them random
    if missing:
        raise BackendError(
            f"model {name!r} cannot be loaded: its files lack {len(missing):,} of its weights "
            f"({', '.join(missing[:3])}{', ...' if missing[3:] else ''}); {_AGAIN}, or give the "
            "model that they are of"
        )
    return _checked(loaded).to(home).eval()


def _checked(model: Any) -> Any:
    """Return `model`, a causal language model."""
    can_generate = getattr(model, "can_generate", None)
    if not callable(can_generate) or not hasattr(model, "config"):
        raise ConfigError(
            f"a model is a name, a path or a loaded model of transformers, got "
            f"{type(model).__name__}: {model!r:.80}"
        )
    if not can_generate() or getattr(model.config, "is_encoder_decoder", False):
        raise ConfigError(
            f"{type(model).__name__} is no causal language model, so it cannot go on with a "
            "conversation; load it with AutoModelForCausalLM"
        )
    return model


def _device(device: Any) -> torch.device:
    """Return where a named model goes: a device that computes, asked before weights are read."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (AssertionError, ImportError, RuntimeError, TypeError) as error:
        raise ConfigError(
            f"device={device!r} is nothing that PyTorch finds here "
            f"({str(error).strip().partition(chr(10))[0]}); use 'auto' or 'cpu', or install "
            "PyTorch for that device"
        ) from error
    return found


def _dtype(dtype: Any) -> Any:
    """Return what weights can become."""
    import torch

    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype != "auto" and not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ConfigError(
            f"dtype={dtype!r} is nothing that weights can become; use 'auto', or one of PyTorch's "
            "floating dtypes: 'bfloat16', 'float16', 'float32'"
        )
    return dtype


def _why(name: str, error: Exception) -> str:
    told = str(error).strip().splitlines()
    first = told[0] if told else type(error).__name__
    if type(error).__name__ == "SafetensorError":
        return f"its weights are damaged or cut off ({first}); {_AGAIN}"
    if isinstance(error, OSError):
        where = "there is no such folder here" if not Path(name).exists() else "the folder lacks it"
        return f"{first} ({where}): {_WHAT_TO_DO}"
    if "Unrecognized" in str(error) or "does not recognize" in str(error):
        return f"it is no causal language model that transformers knows ({first})"
    return f"{type(error).__name__}: {first}"


def device_of(model: Any) -> torch.device:
    """Return where token ids go: where the model looks up their embeddings.

    A model may be spread over several devices (`device_map`). Weights that wait somewhere else
    until they are needed are nowhere; a hook says where they come to.

    Raises:
        ConfigError: the weights are nowhere, and no hook brings them.
    """
    import torch

    embeddings = model.get_input_embeddings()
    device: torch.device = embeddings.weight.device
    if device.type != "meta":
        return device
    for module in (embeddings, model):
        found = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if found is not None:
            return torch.device(found)
    raise ConfigError(
        f"the weights of {type(model).__name__} are on the meta device: they were never loaded; "
        "load the model with from_pretrained"
    )


def load_tokenizer(tokenizer: Any, model: Any, name: Any) -> Any:
    """Return the tokenizer that belongs to `model`.

    Args:
        tokenizer: a tokenizer, a name or path, or None for the one beside the model.
        model: the loaded model.
        name: what the model was named by.

    Raises:
        ConfigError: there is none, or it has ids that the model does not know.
        BackendError: it cannot be loaded.
    """
    if tokenizer is None or isinstance(tokenizer, str | PathLike):
        tokenizer = _loaded_tokenizer(tokenizer, model, name)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ConfigError(
            f"the tokenizer has {len(tokenizer):,} ids and the model only {rows:,}, so they do "
            "not belong together; give the tokenizer that came with the model"
        )
    return tokenizer


def _loaded_tokenizer(tokenizer: Any, model: Any, name: Any) -> Any:
    from transformers import AutoTokenizer

    where = tokenizer or (name if isinstance(name, str | PathLike) else model.config._name_or_path)
    if not where:
        raise ConfigError(
            "a loaded model does not say where its tokenizer is; pass tokenizer=..., a tokenizer "
            "or its path"
        )
    try:
        return AutoTokenizer.from_pretrained(fspath(where))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BackendError(
            f"the tokenizer of {fspath(where)!r} cannot be loaded: {_why(fspath(where), error)}"
        ) from error


def window_of(model: Any) -> int | None:
    """Return the most tokens that the model takes; None where it has no end."""
    config = model.config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "seq_length"):
        most = getattr(config, name, None)
        if isinstance(most, int) and most > 0:
            return most
    return None
