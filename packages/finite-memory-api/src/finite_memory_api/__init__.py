"""Finite Memory's hosted models: backends over HTTP, small, and with a prompt cache that pays.

The public names of `finite-memory-api`. Each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import HTTPBackend as HTTPBackend
    from .backends import (
        AI21Backend as AI21Backend,
        AnthropicBackend as AnthropicBackend,
        AzureOpenAIBackend as AzureOpenAIBackend,
        CerebrasBackend as CerebrasBackend,
        CohereBackend as CohereBackend,
        CompatibleBackend as CompatibleBackend,
        DeepSeekBackend as DeepSeekBackend,
        FireworksBackend as FireworksBackend,
        GeminiBackend as GeminiBackend,
        GroqBackend as GroqBackend,
        HuggingFaceInferenceBackend as HuggingFaceInferenceBackend,
        LlamaCppBackend as LlamaCppBackend,
        LMStudioBackend as LMStudioBackend,
        MistralBackend as MistralBackend,
        OllamaBackend as OllamaBackend,
        OpenAIBackend as OpenAIBackend,
        OpenRouterBackend as OpenRouterBackend,
        ReplicateBackend as ReplicateBackend,
        SGLangBackend as SGLangBackend,
        TGIBackend as TGIBackend,
        TogetherBackend as TogetherBackend,
        TransformersServeBackend as TransformersServeBackend,
        VLLMBackend as VLLMBackend,
        XAIBackend as XAIBackend,
    )
    from .embedder import HTTPEmbedder as HTTPEmbedder
    from .errors import (
        AuthenticationError as AuthenticationError,
        BadRequestError as BadRequestError,
        ConnectionLostError as ConnectionLostError,
        ContentFilterError as ContentFilterError,
        DeadlineError as DeadlineError,
        NotFoundError as NotFoundError,
        PermissionDeniedError as PermissionDeniedError,
        PromptTooLongError as PromptTooLongError,
        ProviderError as ProviderError,
        QuotaExceededError as QuotaExceededError,
        RateLimitedError as RateLimitedError,
        RedirectedError as RedirectedError,
        RefusedError as RefusedError,
        RequestTooLargeError as RequestTooLargeError,
        ServerError as ServerError,
        TemporaryError as TemporaryError,
        UnreadableReplyError as UnreadableReplyError,
    )
    from .prices import prices_of as prices_of
    from .profiles import PROFILES as PROFILES, Profile as Profile

_HOME = {
    "AI21Backend": "backends",
    "AnthropicBackend": "backends",
    "AuthenticationError": "errors",
    "AzureOpenAIBackend": "backends",
    "BadRequestError": "errors",
    "CerebrasBackend": "backends",
    "CohereBackend": "backends",
    "CompatibleBackend": "backends",
    "ConnectionLostError": "errors",
    "ContentFilterError": "errors",
    "DeadlineError": "errors",
    "DeepSeekBackend": "backends",
    "FireworksBackend": "backends",
    "GeminiBackend": "backends",
    "GroqBackend": "backends",
    "HTTPBackend": "backend",
    "HTTPEmbedder": "embedder",
    "HuggingFaceInferenceBackend": "backends",
    "LMStudioBackend": "backends",
    "LlamaCppBackend": "backends",
    "MistralBackend": "backends",
    "NotFoundError": "errors",
    "OllamaBackend": "backends",
    "OpenAIBackend": "backends",
    "OpenRouterBackend": "backends",
    "PROFILES": "profiles",
    "PermissionDeniedError": "errors",
    "Profile": "profiles",
    "PromptTooLongError": "errors",
    "ProviderError": "errors",
    "QuotaExceededError": "errors",
    "RateLimitedError": "errors",
    "RedirectedError": "errors",
    "RefusedError": "errors",
    "ReplicateBackend": "backends",
    "RequestTooLargeError": "errors",
    "SGLangBackend": "backends",
    "ServerError": "errors",
    "TGIBackend": "backends",
    "TemporaryError": "errors",
    "TogetherBackend": "backends",
    "TransformersServeBackend": "backends",
    "UnreadableReplyError": "errors",
    "VLLMBackend": "backends",
    "XAIBackend": "backends",
    "prices_of": "prices",
}

__all__ = [
    "PROFILES",
    "AI21Backend",
    "AnthropicBackend",
    "AuthenticationError",
    "AzureOpenAIBackend",
    "BadRequestError",
    "CerebrasBackend",
    "CohereBackend",
    "CompatibleBackend",
    "ConnectionLostError",
    "ContentFilterError",
    "DeadlineError",
    "DeepSeekBackend",
    "FireworksBackend",
    "GeminiBackend",
    "GroqBackend",
    "HTTPBackend",
    "HTTPEmbedder",
    "HuggingFaceInferenceBackend",
    "LMStudioBackend",
    "LlamaCppBackend",
    "MistralBackend",
    "NotFoundError",
    "OllamaBackend",
    "OpenAIBackend",
    "OpenRouterBackend",
    "PermissionDeniedError",
    "Profile",
    "PromptTooLongError",
    "ProviderError",
    "QuotaExceededError",
    "RateLimitedError",
    "RedirectedError",
    "RefusedError",
    "ReplicateBackend",
    "RequestTooLargeError",
    "SGLangBackend",
    "ServerError",
    "TGIBackend",
    "TemporaryError",
    "TogetherBackend",
    "TransformersServeBackend",
    "UnreadableReplyError",
    "VLLMBackend",
    "XAIBackend",
    "prices_of",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value  # found at once from now on
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
