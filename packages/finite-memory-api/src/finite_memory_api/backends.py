"""The backends by name, one line for each provider."""

from __future__ import annotations

from typing import Any

from .backend import HTTPBackend
from .profiles import Profile

_APIS = {"chat": "openai-chat", "responses": "openai-responses"}


class OpenAIBackend(HTTPBackend):
    """OpenAI. ``api="responses"`` speaks the Responses API instead of Chat Completions.

    The other arguments are those of `HTTPBackend`.
    """

    profile = "openai"

    def __init__(self, model: str, *, api: str = "chat", **settings: Any) -> None:
        super().__init__(model, api=_APIS.get(api, api), **settings)


class AnthropicBackend(HTTPBackend):
    """Anthropic. The arguments are those of `HTTPBackend`."""

    profile = "anthropic"


class GeminiBackend(HTTPBackend):
    """Google's Gemini. The arguments are those of `HTTPBackend`."""

    profile = "gemini"


class CompatibleBackend(HTTPBackend):
    """Any server that speaks one of the wire formats, Chat Completions unless `api` says more.

    Args:
        base_url: where, ``/v1`` included where the server has it.
        model: its name of the model.
        profile: a row of `finite_memory_api.profiles`, by name, or one of your own.
        settings: those of `HTTPBackend`.
    """

    def __init__(
        self, base_url: str, model: str, *, profile: str | Profile = "compatible", **settings: Any
    ) -> None:
        super().__init__(model, profile, base_url=base_url, **settings)


class AzureOpenAIBackend(OpenAIBackend):
    """Azure's OpenAI; `base_url` is ``https://RESOURCE.openai.azure.com/openai/v1``."""

    profile = "azure"


class DeepSeekBackend(HTTPBackend):
    """DeepSeek."""

    profile = "deepseek"


class MistralBackend(HTTPBackend):
    """Mistral."""

    profile = "mistral"


class GroqBackend(HTTPBackend):
    """Groq."""

    profile = "groq"


class TogetherBackend(HTTPBackend):
    """Together."""

    profile = "together"


class FireworksBackend(HTTPBackend):
    """Fireworks."""

    profile = "fireworks"


class XAIBackend(HTTPBackend):
    """xAI."""

    profile = "xai"


class CerebrasBackend(HTTPBackend):
    """Cerebras."""

    profile = "cerebras"


class OpenRouterBackend(HTTPBackend):
    """OpenRouter."""

    profile = "openrouter"


class CohereBackend(HTTPBackend):
    """Cohere."""

    profile = "cohere"


class AI21Backend(HTTPBackend):
    """AI21."""

    profile = "ai21"


class HuggingFaceInferenceBackend(HTTPBackend):
    """Hugging Face's inference providers."""

    profile = "huggingface"


class ReplicateBackend(HTTPBackend):
    """Replicate, by its OpenAI-compatible proxy."""

    profile = "replicate"


class VLLMBackend(HTTPBackend):
    """A vLLM server."""

    profile = "vllm"


class SGLangBackend(HTTPBackend):
    """An SGLang server."""

    profile = "sglang"


class TGIBackend(HTTPBackend):
    """A Text Generation Inference server."""

    profile = "tgi"


class LlamaCppBackend(HTTPBackend):
    """llama.cpp's ``llama-server``."""

    profile = "llamacpp"


class LMStudioBackend(HTTPBackend):
    """LM Studio."""

    profile = "lmstudio"


class OllamaBackend(HTTPBackend):
    """Ollama, which cuts off silently what its window does not hold."""

    profile = "ollama"


class TransformersServeBackend(HTTPBackend):
    """``transformers serve``."""

    profile = "transformers"
