"""The backends by name: the contract of core, loading, and the public list."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import httpx2
import pytest

import finite_memory_api
from finite_memory_api import PROFILES, HTTPBackend
from finite_memory_core import (
    Backend,
    BackendError,
    ConfigError,
    available_backends,
    load_backend,
)
from finite_memory_core.testing import BackendContract

from .replies import KEY, WIRES, Wire
from .servers import JSON, Answer, Server

Serve = Callable[..., Server]
OURS = [p for p in entry_points(group="finite_memory.backends") if "finite_memory_api" in p.value]


class WireContract(BackendContract):
    """A wire's backend on a server that always gives the same reply."""

    wire: Wire
    deterministic = True

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        self.server = Server([self.wire.answer("Some ", "words in a row.")])
        self.broken = Server([Answer([b"{}"], 500, JSON)])
        yield
        self.server.close()
        self.broken.close()

    def backend(self) -> Backend:
        return self.wire.backend(self.server.url)

    def failing_backend(self) -> Backend:
        return self.wire.backend(self.broken.url)


class TestChatCompletions(WireContract):
    wire = WIRES["openai-chat"]


class TestResponses(WireContract):
    wire = WIRES["openai-responses"]


class TestMessages(WireContract):
    wire = WIRES["anthropic-messages"]


class TestGemini(WireContract):
    wire = WIRES["gemini"]


def test_every_profile_has_an_entry_point() -> None:
    """And none has one without a profile."""
    assert sorted(PROFILES) == sorted(point.name for point in OURS)


def test_core_knows_where_they_are() -> None:
    """Without this distribution, core says what to install for each."""
    from finite_memory_core.backends import _ELSEWHERE

    missing = {name for name, home in _ELSEWHERE.items() if home == "finite-memory-api"}
    assert set(PROFILES) == missing
    assert all(available_backends()[name] is None for name in PROFILES)


@pytest.mark.parametrize("name", sorted(set(PROFILES) - {"azure", "compatible"}))
def test_a_name_and_a_model_make_a_backend(name: str) -> None:
    """``name:model``, with the options of the backend."""
    backend: Any = load_backend(f"{name}:some-model", max_tokens=7)
    assert isinstance(backend, HTTPBackend)
    assert f"{name}:some-model" == backend.name
    assert backend._codec.settings.max_tokens == 7
    assert PROFILES[name].base_url == backend._base


def test_an_address_makes_a_backend(serve: Serve) -> None:
    """With the model behind a ``#``, or the only one that the server has."""
    named: Any = load_backend("vllm:http://host:8000#org/model:tag")
    assert ("http://host:8000/v1", "org/model:tag") == (named._base, named.model)
    body = json.dumps({"data": [{"id": "the-model"}]}).encode()
    server = serve(Answer([body], kind=JSON))
    asked: Any = load_backend(f"vllm:{server.url}", api_key=KEY)
    assert (server.url, "the-model") == (asked._base, asked.model)
    assert f"Bearer {KEY}" == server.asked[0].headers["authorization"]
    several = json.dumps({"data": [{"id": "a"}, {"id": "b"}]}).encode()
    with pytest.raises(ConfigError, match=r"2 models \(a, b\)"):
        load_backend(f"sglang:{serve(Answer([several], kind=JSON)).url}")
    with pytest.raises(BackendError, match="does not tell its models"):
        load_backend(f"ollama:{serve(Answer(status=404)).url}")


@pytest.mark.parametrize("given", ["environment", "function"])
def test_a_server_is_asked_with_the_key_that_it_will_get(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Wherever that comes from."""
    monkeypatch.setenv("VLLM_API_KEY", KEY if given == "environment" else "not-this-one")
    body = json.dumps({"data": [{"id": "the-model"}]}).encode()
    server = serve(Answer([body], kind=JSON))
    options = {} if given == "environment" else {"api_key": lambda: KEY}
    load_backend(f"vllm:{server.url}", **options)
    assert f"Bearer {KEY}" == server.asked[0].headers["authorization"]


def test_a_server_that_cannot_be_asked_leaves_no_key_in_the_error(serve: Serve) -> None:
    """Nothing that the error holds on to is the request."""
    gone = serve(Answer())
    gone.close()
    with pytest.raises(BackendError, match="does not tell its models") as caught:
        load_backend(f"vllm:{gone.url}", api_key=KEY)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_azure_finds_its_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment, as its own SDK does."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com/")
    backend: Any = load_backend("azure:gpt")
    assert backend._base == "https://mine.openai.azure.com/openai/v1"


def test_what_is_missing_is_asked_for() -> None:
    """A model, or an address."""
    with pytest.raises(ConfigError, match="needs a model behind the colon"):
        load_backend("anthropic:")
    with pytest.raises(ConfigError, match="'compatible' needs an address"):
        load_backend("compatible:m")


def test_affinity_headers_carry_the_session(serve: Serve) -> None:
    """xAI and Fireworks route a session to the machine that has its cache."""
    from finite_memory_core import Message

    from .turns import context_of

    server = serve(WIRES["openai-chat"].answer("Here."))
    for name in ("xai", "fireworks"):
        backend = HTTPBackend("m", name, base_url=server.url, api_key=KEY)
        list(backend.stream(context_of(Message.user("x"))))
        assert server.asked[-1].headers[PROFILES[name].affinity or ""] == "session-1"


def test_anthropic_is_asked_for_its_version(serve: Serve) -> None:
    """The one that every model takes."""
    from finite_memory_core import Message

    from .turns import context_of

    wire = WIRES["anthropic-messages"]
    server = serve(wire.answer("Here."))
    list(wire.backend(server.url).stream(context_of(Message.user("x"))))
    assert server.asked[0].headers["anthropic-version"] == "2023-06-01"


# -- the public list --------------------------------------------------------------------------

PUBLIC = frozenset(
    """
    AI21Backend AnthropicBackend AuthenticationError AzureOpenAIBackend BadRequestError
    CerebrasBackend CohereBackend CompatibleBackend ConnectionLostError ContentFilterError
    DeadlineError DeepSeekBackend FireworksBackend GeminiBackend GroqBackend HTTPBackend
    HTTPEmbedder HuggingFaceInferenceBackend LMStudioBackend LlamaCppBackend MistralBackend
    NotFoundError OllamaBackend OpenAIBackend OpenRouterBackend PROFILES
    PermissionDeniedError Profile PromptTooLongError ProviderError QuotaExceededError
    RateLimitedError RedirectedError RefusedError ReplicateBackend RequestTooLargeError
    SGLangBackend ServerError TGIBackend TemporaryError TogetherBackend
    TransformersServeBackend UnreadableReplyError VLLMBackend XAIBackend prices_of
    """.split()  # noqa: SIM905  # a hundred quotes are no easier to read
)


def test_the_list() -> None:
    """The public names are these, and a change to them is a change to this test."""
    assert sorted(PUBLIC) == sorted(finite_memory_api.__all__)
    assert sorted(PUBLIC) == sorted(finite_memory_api._HOME)
    assert set(dir(finite_memory_api)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_name_resolves_and_is_documented(name: str) -> None:
    """A public name is what its module has under it, with a docstring of its own."""
    found = getattr(finite_memory_api, name)
    home = import_module(f"finite_memory_api.{finite_memory_api._HOME[name]}")
    assert getattr(home, name) is found
    if inspect.isclass(found) or inspect.isroutine(found):
        assert found.__doc__


def test_other_names_are_none() -> None:
    """A name that is not on the list is an ordinary AttributeError."""
    with pytest.raises(AttributeError, match="has no attribute 'LiteLLM'"):
        finite_memory_api.LiteLLM  # noqa: B018


def test_making_a_backend_or_an_embedder_loads_no_client() -> None:
    """Until the first request neither an HTTP library nor an SDK is imported."""
    code = (
        "import sys\nfrom finite_memory_api import HTTPEmbedder, OpenAIBackend\n"
        "OpenAIBackend('gpt-4o', api_key='k')\n"
        "HTTPEmbedder('text-embedding-3-small', 'openai', api_key='k')\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", code],
        check=True,
        capture_output=True,
        text=True,
    )
    heavy = {"httpx2", "httpx", "openai", "anthropic", "pydantic", "ssl", "asyncio"}
    assert set() == set(done.stdout.split()) & heavy


def test_the_library_is_there() -> None:
    """httpx2 comes with the distribution."""
    assert httpx2.Client.__name__ == "Client"
