"""Every error of a provider becomes the right one of ours, with what the provider said."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from finite_memory_api import errors
from finite_memory_api.failures import failure, retry_after
from finite_memory_core import BackendError, ContextOverflowError, Interrupted

from .replies import KEY

# (status, body, limit, actual). From the providers' documentation, SDK sources and issue reports.
OVERFLOWS: dict[str, tuple[int | None, Any, int | None, int | None]] = {
    "OpenAI": (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens. However, your "
                "messages resulted in 10000 tokens. Please reduce the length of the messages.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
        8_192,
        10_000,
    ),
    "OpenAI, new words": (
        400,
        {
            "error": {
                "message": "Input tokens exceed the configured limit of 272000 tokens. Your "
                "messages resulted in 300001 tokens.",
                "code": "context_length_exceeded",
            }
        },
        272_000,
        300_001,
    ),
    "OpenAI Responses, in the stream": (
        None,
        {
            "type": "error",
            "code": "context_length_exceeded",
            "message": "Your input exceeds the context window of this model.",
        },
        None,
        None,
    ),
    "Anthropic": (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "prompt is too long: 208310 tokens > 200000 maximum",
            },
        },
        200_000,
        208_310,
    ),
    "Anthropic, with the reply": (
        400,
        {
            "error": {
                "type": "invalid_request_error",
                "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > "
                "200000, decrease input length or `max_tokens` and try again",
            }
        },
        200_000,
        190_000,
    ),
    "Gemini": (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (1200000) exceeds the maximum number of "
                    "tokens allowed (1048576).",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        1_048_576,
        1_200_000,
    ),
    "llama.cpp": (
        400,
        {
            "error": {
                "code": 400,
                "message": "request (4013 tokens) exceeds the available context size (512 tokens)",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 4_013,
                "n_ctx": 512,
            }
        },
        512,
        4_013,
    ),
    "llama.cpp's embeddings": (
        500,
        {
            "error": {
                "code": 500,
                "message": "input (992 tokens) is too large to process. increase the physical "
                "batch size (current batch size: 512)",
                "type": "server_error",
            }
        },
        512,
        992,
    ),
    "llama.cpp's embeddings, before it told numbers": (
        500,
        {
            "error": {
                "code": 500,
                "message": "input is too large to process. increase the physical batch size",
                "type": "server_error",
            }
        },
        None,
        None,
    ),
    "OpenAI's embeddings": (
        400,
        {
            "error": {
                "message": "Invalid 'input[22]': maximum input length is 8192 tokens.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            }
        },
        8_192,
        None,
    ),
    "Text Embeddings Inference": (
        413,
        {
            "error": "Input validation error: `inputs` must have less than 512 tokens. Given: 534",
            "error_type": "Validation",
        },
        512,
        534,
    ),
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested "
            "5000 tokens (4900 in the messages, 100 in the completion).",
            "type": "BadRequestError",
            "code": 400,
        },
        4_096,
        5_000,
    ),
    "SGLang": (
        400,
        {
            "message": "The input (9000 tokens) is longer than the model's context length "
            "(8192 tokens)."
        },
        8_192,
        9_000,
    ),
    "Groq": (
        400,
        {
            "error": {
                "message": "Please reduce the length of the messages or completion.",
                "type": "invalid_request_error",
                "code": "context_length_exceeded",
            }
        },
        None,
        None,
    ),
    "xAI": (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 140000 "
            "tokens.",
        },
        131_072,
        140_000,
    ),
    "Mistral": (
        400,
        {
            "object": "error",
            "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with "
            "32768 maximum context length",
            "type": "invalid_request_prompt",
            "code": "3051",
        },
        32_768,
        40_000,
    ),
    "TGI": (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. "
            "Given: 4000 `inputs` tokens and 200 `max_new_tokens`",
            "error_type": "validation",
        },
        4_096,
        4_000,
    ),
    "Cerebras": (
        400,
        {"message": "Current length is 9000 while limit is 8192", "code": "x"},
        8_192,
        9_000,
    ),
    "Kimi": (
        400,
        {"error": {"message": "Your request exceeded model token limit: 8192 (requested: 9000)"}},
        8_192,
        9_000,
    ),
    "MiniMax": (400, {"error": {"message": "context window exceeds limit (2013)"}}, None, None),
    "LM Studio, with status 200": (
        200,
        {
            "error": "The number of tokens to keep from the initial prompt is greater than the "
            "context length."
        },
        None,
        None,
    ),
    "a rate bucket that is too small": (
        429,
        {
            "error": {
                "message": "Request too large for gpt-4o in organization org-x on tokens per min "
                "(TPM): Limit 30000, Requested 45000.",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            }
        },
        30_000,
        45_000,
    ),
}

# (status, body, class)
OTHERS: dict[str, tuple[int | None, Any, type[Any]]] = {
    "no key": (401, {"error": {"message": "no key"}}, errors.AuthenticationError),
    "Gemini's wrong key": (
        400,
        {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}},
        errors.AuthenticationError,
    ),
    "forbidden": (403, {"error": {"message": "no"}}, errors.PermissionDeniedError),
    "no model": (404, {"error": {"code": "model_not_found"}}, errors.NotFoundError),
    "an option": (400, {"error": {"message": "unknown field"}}, errors.BadRequestError),
    "FastAPI": (422, {"detail": [{"msg": "field required"}]}, errors.BadRequestError),
    "a long string": (
        400,
        {
            "error": {
                "message": "Invalid 'user': string too long. Expected a string with maximum length "
                "64, but got a string with length 100 instead.",
                "code": "string_above_max_length",
            }
        },
        errors.BadRequestError,
    ),
    "bytes": (
        413,
        {"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}},
        errors.RequestTooLargeError,
    ),
    "no money": (402, {"error": {"message": "pay"}}, errors.QuotaExceededError),
    "OpenAI's quota": (
        429,
        {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}},
        errors.QuotaExceededError,
    ),
    "Anthropic's credit": (
        400,
        {"error": {"message": "Your credit balance is too low to access the API."}},
        errors.QuotaExceededError,
    ),
    "rate": (429, {"error": {"message": "slow down"}}, errors.RateLimitedError),
    "a rate bucket that fills again": (
        429,
        {
            "error": {
                "message": "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, "
                "Used 29000, Requested 2000. Please try again in 2s.",
                "code": "rate_limit_exceeded",
            }
        },
        errors.RateLimitedError,
    ),
    "Gemini's rate": (
        None,
        {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow"}},
        errors.RateLimitedError,
    ),
    "overloaded": (529, {"error": {"type": "overloaded_error"}}, errors.ServerError),
    "overloaded in the stream": (
        None,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        errors.ServerError,
    ),
    "a bad request in the stream": (
        None,
        {"error": {"type": "invalid_request_error", "message": "no"}},
        errors.BadRequestError,
    ),
    "OpenRouter's code in the stream": (
        None,
        {"error": {"code": 502, "message": "Provider returned error"}},
        errors.ServerError,
    ),
    "an unknown error in the stream": (None, {"error": {"message": "?"}}, errors.ServerError),
    "Azure's filter": (
        400,
        {
            "error": {
                "code": "content_filter",
                "message": "The prompt was filtered",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        errors.ContentFilterError,
    ),
    "timeout": (408, b"", errors.TemporaryError),
    "conflict": (409, {"error": "locked"}, errors.TemporaryError),
    "a gateway": (502, b"<html>Bad gateway</html>", errors.ServerError),
    "text": (500, b"oops", errors.ServerError),
    "a teapot": (418, b"null", errors.BadRequestError),
}


def told(status: int | None, body: Any) -> Any:
    """The error for an answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = body if status is None else raw
    return failure("some:model", status, {"x-request-id": "req_1"}, given, key=KEY)


@pytest.mark.parametrize("provider", list(OVERFLOWS))
def test_a_prompt_that_is_too_long_is_known_in_every_shape(provider: str) -> None:
    """With the provider's own numbers, where it gives them."""
    status, body, limit, actual = OVERFLOWS[provider]
    error = told(status, body)
    assert isinstance(error, ContextOverflowError)
    assert isinstance(error, errors.PromptTooLongError)
    assert (limit, actual) == (error.limit, error.actual)
    assert "some:model" in str(error)


@pytest.mark.parametrize("what", list(OTHERS))
def test_every_other_error_has_its_class(what: str) -> None:
    """And says which backend it was, what the provider said, and what to do."""
    status, body, kind = OTHERS[what]
    error = told(status, body)
    assert kind is type(error)
    assert status == error.status
    assert error.request_id == "req_1"
    assert "'some:model'" in str(error)
    assert "[request req_1]" in str(error)


def test_a_page_is_not_quoted() -> None:
    """HTML is told as what it is."""
    assert "an HTML page instead of JSON" in str(told(502, b"<!doctype html><html>..."))


def test_json_nested_without_end_is_no_json() -> None:
    """It is the provider's failure, and not one of the parser's."""
    assert isinstance(failure("b", 500, {}, b'{"a":' * 100_000), errors.ServerError)


def test_keys_are_blotted_out() -> None:
    """A provider that quotes the key does not put it into an error."""
    for key in (KEY, "sk-ant-api03-abcdefghijkl", "Bearer abcdefghijkl"):
        error = told(401, {"error": {"message": f"Incorrect API key provided: {key}."}})
        assert key not in str(error) + error.provider_message
        assert "[key]" in str(error)


ALL = [getattr(errors, name) for name in vars(errors) if name.endswith("Error")]
EACH = pytest.mark.parametrize("kind", [k for k in ALL if k.__module__ == errors.__name__])


@EACH
def test_errors_survive_a_pickle_and_a_copy(kind: Any) -> None:
    """With all that they say."""
    made = kind("text", status=429, code="x", request_id="r", retry_after=2.5)
    for again in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert type(made) is type(again)
        assert vars(made) == vars(again)
        assert str(again) == "text"


@EACH
def test_errors_are_drawn_in_their_tree(kind: Any) -> None:
    """The picture at the head of the module has every one of them."""
    assert kind.__name__ in (errors.__doc__ or "")
    assert issubclass(kind, BackendError)


def test_refusals_interrupt() -> None:
    """A refusal is no answer: whoever keeps only answers catches it as an interruption."""
    assert issubclass(errors.RefusedError, Interrupted)


NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "5"}, 5.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Fri, 27 Nov 2026 09:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 27 Nov 2026 08:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 27 Nov 2026 09:00:30 -0000"}, 30.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds, dates."""
    assert seconds == retry_after(headers, NOW)
