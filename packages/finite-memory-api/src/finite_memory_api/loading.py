"""What `load_backend` calls: ``"anthropic:claude-…"``, ``"vllm:http://host:8000/v1#model"``.

Behind the colon stands the model, or the address of a server, with the model behind a ``#`` where
the server has several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from finite_memory_core import BackendError, ConfigError

from . import backends
from .backend import HTTPBackend
from .keys import Key
from .profiles import PROFILES
from .urls import checked_base


def _loader(name: str, kind: Callable[..., HTTPBackend]) -> Callable[..., HTTPBackend]:
    def load(rest: str, **options: Any) -> HTTPBackend:
        model, settings = _read(name, rest, options)
        return kind(model, **settings)

    load.__doc__ = f"Return the backend of ``{name}:{{model or address}}``."
    return load


def _read(name: str, rest: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the model and the settings that a spec names.

    Raises:
        ConfigError: neither a model nor an address.
        BackendError: the server does not tell which model it has.
    """
    settings = dict(options)
    model = settings.pop("model", None)
    if rest.startswith(("http://", "https://")):
        address, _, named = rest.partition("#")
        base = checked_base(address)
        if base.count("/") == 2 and name != "deepseek":
            base += "/v1"
        settings["base_url"] = base
        return str(named or model or _only_model(name, base, settings)), settings
    if not (rest or model):
        raise ConfigError(
            f"{name!r} needs a model behind the colon, such as '{name}:some-model', or the address "
            f"of a server: '{name}:http://host:8000/v1#some-model'"
        )
    return str(rest or model), settings


def _only_model(name: str, base: str, settings: Mapping[str, Any]) -> str:
    """Ask a server which model it has, with the key that its backend would send."""
    import httpx2

    row = PROFILES[name]
    key = Key(settings.get("api_key"), row.variable, required=False).read(name)
    value = f"Bearer {key}" if row.auth == "authorization" else key
    headers = {row.auth: value} if key is not None and value is not None else {}
    names, lost = [], ""
    try:
        answer = httpx2.get(f"{base}/models", headers=headers, timeout=10.0)
        names = [str(entry["id"]) for entry in answer.json()["data"]]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        lost = type(error).__name__
    if lost:  # raised out here, so that the request, and the key in it, is not its context
        raise BackendError(
            f"the server at {base} does not tell its models ({lost}); name one: {base}#model"
        )
    if len(names) != 1:
        raise ConfigError(
            f"the server at {base} has {len(names)} models ({', '.join(names[:5])}); name one: "
            f"{base}#model"
        )
    return names[0]


def azure(rest: str, **options: Any) -> HTTPBackend:
    """Return the backend of ``azure:{deployment}``, at ``AZURE_OPENAI_ENDPOINT``."""
    model, settings = _read("azure", rest, options)
    endpoint = os.environ.get("AZURE_OPENAI_ENDPOINT")
    if endpoint and "base_url" not in settings:
        settings["base_url"] = f"{endpoint.rstrip('/')}/openai/v1"
    return backends.AzureOpenAIBackend(model, **settings)


def compatible(rest: str, **options: Any) -> HTTPBackend:
    """Return the backend of ``compatible:{address}#{model}``."""
    model, settings = _read("compatible", rest, options)
    if "base_url" not in settings:
        raise ConfigError(f"'compatible' needs an address: 'compatible:http://host/v1#{model}'")
    return HTTPBackend(model, "compatible", **settings)


ai21 = _loader("ai21", backends.AI21Backend)
anthropic = _loader("anthropic", backends.AnthropicBackend)
cerebras = _loader("cerebras", backends.CerebrasBackend)
cohere = _loader("cohere", backends.CohereBackend)
deepseek = _loader("deepseek", backends.DeepSeekBackend)
fireworks = _loader("fireworks", backends.FireworksBackend)
gemini = _loader("gemini", backends.GeminiBackend)
groq = _loader("groq", backends.GroqBackend)
huggingface = _loader("huggingface", backends.HuggingFaceInferenceBackend)
llamacpp = _loader("llamacpp", backends.LlamaCppBackend)
lmstudio = _loader("lmstudio", backends.LMStudioBackend)
mistral = _loader("mistral", backends.MistralBackend)
ollama = _loader("ollama", backends.OllamaBackend)
openai = _loader("openai", backends.OpenAIBackend)
openrouter = _loader("openrouter", backends.OpenRouterBackend)
replicate = _loader("replicate", backends.ReplicateBackend)
sglang = _loader("sglang", backends.SGLangBackend)
tgi = _loader("tgi", backends.TGIBackend)
together = _loader("together", backends.TogetherBackend)
transformers = _loader("transformers", backends.TransformersServeBackend)
vllm = _loader("vllm", backends.VLLMBackend)
xai = _loader("xai", backends.XAIBackend)
