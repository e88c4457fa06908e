"""What each provider wants: rows of data, no code.

`quirks` are words that the codecs know:

======================  ==================================================================
``openai``              OpenAI itself: speakers' names, ``developer``, ``max_completion_tokens``
``merge``               neighbours of one role become one message; some templates demand it
``hoist``               instructions in the middle move to the beginning, for the same reason
``ids9``                tool call ids must have nine letters or digits
``call_extra``          unknown fields of tool calls are sent back
``reasoning_with_calls``reasoning goes back with tool calls and never without
``no_stream_options``   ``stream_options`` is refused; the usage comes unasked
``count_tokenize``      exact counts from ``/tokenize`` beside the API
``count_input_tokens``  exact counts from ``/chat/completions/input_tokens``
======================  ==================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

REAL, SDK, SCHEMA = "a real server", "the provider's SDK types", "published schemas"
"""How a profile was checked, from the best to the least."""

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Vectors:
    """How a provider gives vectors of texts.

    Attributes:
        texts: the most of them that one request holds.
        bytes: the most bytes of them; no tokenizer makes more tokens than that.
        path: where, below its base URL.
        auth: the header that carries the key there; None for the profile's.
        dimensions: its field for how many dimensions are wanted.
    """

    texts: int = 64
    bytes: int = 64_000
    path: str = "/embeddings"
    auth: str | None = None
    dimensions: str = "dimensions"


@dataclass(frozen=True, slots=True)
class Profile:
    """One provider.

    Attributes:
        name: what `load_backend` and prices call it.
        codec: the wire format that it speaks; `OpenAIBackend` may choose another.
        base_url: where; None where every account has its own.
        variable: the environment variable of its key; None where there is none.
        needs_key: whether a request without a key makes sense.
        auth: the header that carries the key; ``authorization`` carries it as a bearer token.
        quirks: see above.
        kept: fields of a message's `extra` that it takes back.
        marks: how cache breakpoints are written: "", "openai" or "anthropic".
        cache_key: the field that carries the session, for routing to the same cache.
        affinity: the header that does.
        truncates: whether it silently drops what does not fit its window.
        checked: what it was checked against.
        vectors: how it gives vectors of texts; None where it gives none.
    """

    name: str
    codec: str = "openai-chat"
    base_url: str | None = None
    variable: str | None = None
    needs_key: bool = True
    auth: str = "authorization"
    quirks: frozenset[str] = _NONE
    kept: frozenset[str] = _NONE
    marks: str = ""
    cache_key: str | None = None
    affinity: str | None = None
    truncates: bool = False
    checked: str = SCHEMA
    vectors: Vectors | None = Vectors()


_STRICT = frozenset({"merge", "hoist"})
_KEY = "prompt_cache_key"


def _own(
    name: str,
    port: int,
    *quirks: str,
    truncates: bool = False,
    checked: str = SCHEMA,
    vectors: Vectors | None = Vectors(),
) -> Profile:
    """Return the row of a server that people run themselves: chat templates are strict."""
    return Profile(
        name,
        base_url=f"http://127.0.0.1:{port}/v1",
        variable=f"{name.upper()}_API_KEY",
        needs_key=False,
        quirks=_STRICT | set(quirks),
        kept=frozenset({"reasoning_content"}),
        truncates=truncates,
        checked=checked,
        vectors=vectors,
    )


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "openai",
            base_url="https://api.openai.com/v1",
            variable="OPENAI_API_KEY",
            quirks=frozenset({"openai"}),
            marks="openai",
            cache_key=_KEY,
            checked=SDK,
        ),
        Profile(
            "azure",
            variable="AZURE_OPENAI_API_KEY",
            auth="api-key",
            quirks=frozenset({"openai"}),
            marks="openai",
            cache_key=_KEY,
            checked=SDK,
        ),
        Profile(
            "anthropic",
            codec="anthropic-messages",
            base_url="https://api.anthropic.com/v1",
            variable="ANTHROPIC_API_KEY",
            auth="x-api-key",
            marks="anthropic",
            checked=SDK,
            vectors=None,
        ),
        Profile(
            "gemini",
            codec="gemini",
            base_url="https://generativelanguage.googleapis.com/v1beta",
            variable="GEMINI_API_KEY",
            auth="x-goog-api-key",
            checked=SDK,
            vectors=Vectors(path="/openai/embeddings", auth="authorization"),
        ),
        Profile(
            "deepseek",
            base_url="https://api.deepseek.com",
            variable="DEEPSEEK_API_KEY",
            quirks=frozenset({"reasoning_with_calls"}),
            kept=frozenset({"reasoning_content"}),
            vectors=None,
        ),
        Profile(
            "mistral",
            base_url="https://api.mistral.ai/v1",
            variable="MISTRAL_API_KEY",
            quirks=_STRICT | {"ids9", "no_stream_options"},
            cache_key=_KEY,
            vectors=Vectors(bytes=16_000, dimensions="output_dimension"),
        ),
        Profile(
            "groq", base_url="https://api.groq.com/openai/v1", variable="GROQ_API_KEY", vectors=None
        ),
        Profile("together", base_url="https://api.together.xyz/v1", variable="TOGETHER_API_KEY"),
        Profile(
            "fireworks",
            base_url="https://api.fireworks.ai/inference/v1",
            variable="FIREWORKS_API_KEY",
            affinity="x-session-affinity",
        ),
        Profile(
            "xai",
            base_url="https://api.x.ai/v1",
            variable="XAI_API_KEY",
            affinity="x-grok-conv-id",
            vectors=None,
        ),
        Profile(
            "cerebras",
            base_url="https://api.cerebras.ai/v1",
            variable="CEREBRAS_API_KEY",
            vectors=None,
        ),
        Profile(
            "openrouter",
            base_url="https://openrouter.ai/api/v1",
            variable="OPENROUTER_API_KEY",
            quirks=frozenset({"call_extra"}),
            kept=frozenset({"reasoning_details"}),
            marks="anthropic",
        ),
        Profile(
            "cohere",
            base_url="https://api.cohere.ai/compatibility/v1",
            variable="COHERE_API_KEY",
        ),
        Profile(
            "ai21", base_url="https://api.ai21.com/studio/v1", variable="AI21_API_KEY", vectors=None
        ),
        Profile(
            "huggingface",
            base_url="https://router.huggingface.co/v1",
            variable="HF_TOKEN",
            vectors=None,
        ),
        Profile(
            "replicate",
            base_url="https://openai-proxy.replicate.com/v1",
            variable="REPLICATE_API_TOKEN",
            vectors=None,
        ),
        _own("vllm", 8000, "count_tokenize"),
        _own("sglang", 30000),
        _own("tgi", 8080, vectors=None),
        _own("llamacpp", 8080, "count_input_tokens", checked=REAL),
        _own("lmstudio", 1234),
        _own("ollama", 11434, truncates=True),
        _own("transformers", 8000, truncates=True, vectors=None),
        Profile(
            "compatible",
            variable=None,
            needs_key=False,
            quirks=_STRICT,
            vectors=Vectors(texts=32, bytes=32_000),
        ),
    )
}
