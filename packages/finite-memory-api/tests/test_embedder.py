"""Vectors over HTTP: what is sent, what is taken for an answer, and what is not."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from finite_memory_api import PROFILES, HTTPEmbedder, Profile, errors
from finite_memory_api.profiles import Vectors
from finite_memory_core import BackendError, ConfigError, Embedder, Prices
from finite_memory_core.testing import WordEmbedder

from .checking import check
from .leaks import seen_of
from .replies import KEY
from .servers import JSON, Answer, Server
from .test_retries import NOT_RETRIED, RETRIED, failing
from .vectors import by_words, embedder, listed, taking, told

Serve = Callable[..., Server]
TEXTS = [f"text {number} of the garden" for number in range(10)]
WORDS = WordEmbedder(dimension=64)
TOO_LONG = {
    "error": {
        "code": 500,
        "message": "input (80 tokens) is too large to process. increase the physical batch size "
        "(current batch size: 20)",
        "type": "server_error",
    }
}
SERVING = [name for name, row in PROFILES.items() if row.vectors is not None]


# -- what is sent -----------------------------------------------------------------------------


def test_it_is_an_embedder(serve: Serve) -> None:
    """As core knows them: one vector a text, in the order of the texts and not of the answer."""
    made = embedder(serve(by_words()).url)
    assert isinstance(made, Embedder)
    assert WORDS.embed(TEXTS) == made.embed(TEXTS)
    assert made.embed([]) == []


def test_a_request(serve: Serve) -> None:
    """Model and texts, numbers and not base64, and the key where it belongs."""
    server = serve(by_words())
    embedder(server.url, dimensions=64, options={"user": "u"}).embed(["one", "two"])
    (asked,) = server.asked
    assert asked.line == "POST /v1/embeddings HTTP/1.1"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.json == {
        "input": ["one", "two"],
        "encoding_format": "float",
        "model": "some-model",
        "dimensions": 64,
        "user": "u",
    }


@pytest.mark.parametrize("settings", [{}, {"dimensions": 64, "options": {"user": "u"}}], ids=str)
def test_the_sdks_types_accept_both_ways(serve: Serve, settings: dict[str, Any]) -> None:
    """The request, with unknown fields forbidden, and what our servers answer."""
    server = serve(by_words())
    embedder(server.url, **settings).embed(TEXTS)
    check("openai-embeddings", server.asked[0].body)
    openai.types.CreateEmbeddingResponse.model_validate(listed([[1.0]]), strict=True)


def test_requests_are_bounded_in_number_and_in_bytes(serve: Serve) -> None:
    """By the profile, or by `batch`; the vectors come together in order."""
    server = serve(by_words())
    assert WORDS.embed(TEXTS) == embedder(server.url, batch=4).embed(TEXTS)
    assert [4, 4, 2] == [len(asked.json["input"]) for asked in server.asked]
    server = serve(by_words())
    row = Profile("mine", base_url=server.url, vectors=Vectors(bytes=50))
    assert WORDS.embed(TEXTS) == HTTPEmbedder("m", row, api_key=KEY).embed(TEXTS)
    assert [2] * 5 == [len(asked.json["input"]) for asked in server.asked]
    for asked in server.asked:
        assert sum(len(text.encode()) for text in asked.json["input"]) <= 50


def test_a_text_without_words_is_not_sent(serve: Serve) -> None:
    """Providers refuse it; its vector is zeros, like nothing else."""
    server = serve(by_words())
    assert [[0.0] * 64, *WORDS.embed(["one"]), [0.0] * 64] == embedder(server.url).embed(
        ["", "one", " \n"]
    )
    assert server.asked[0].json["input"] == ["one"]
    assert [[0.0] * 64] * 2 == embedder(server.url).embed(["", " "])


def test_the_same_text_is_sent_once(serve: Serve) -> None:
    """However often it stands among the texts: much of a chat is "thanks"."""
    server = serve(by_words())
    assert WORDS.embed(["a", "b", "a"]) == embedder(server.url).embed(["a", "b", " a"])
    assert server.asked[0].json["input"] == ["a", "b"]


def test_what_no_json_can_carry_is_replaced(serve: Serve) -> None:
    """Half a character, and NUL."""
    server = serve(by_words())
    embedder(server.url).embed(["a\ud83d\0b"])
    assert "\0" not in server.asked[0].json["input"][0]


@pytest.mark.parametrize("name", SERVING)
def test_every_profile_that_serves(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The path, the header of the key, and the field for dimensions are data."""
    row, server = PROFILES[name], serve(by_words())
    assert row.vectors is not None
    key: dict[str, Any] = {}
    if row.variable is None:
        key = {"api_key": KEY}
    else:
        monkeypatch.setenv(row.variable, KEY)
    HTTPEmbedder("m", name, base_url=server.url, dimensions=64, **key).embed(["one"])
    (asked,) = server.asked
    assert asked.line.split()[1] == f"/v1{row.vectors.path}"
    auth = row.vectors.auth or row.auth
    assert asked.headers[auth] == (f"Bearer {KEY}" if auth == "authorization" else KEY)
    assert asked.json[row.vectors.dimensions] == 64


@pytest.mark.parametrize("name", sorted(PROFILES.keys() - {*SERVING}))
def test_a_provider_without_embeddings_says_so(name: str) -> None:
    """When it is made, with those that have some."""
    with pytest.raises(ConfigError, match=f"{name} has no embeddings.*openai"):
        HTTPEmbedder("m", name, api_key=KEY)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": " "}, "model must name"),
        ({"profile": "closedai"}, "no profile 'closedai'"),
        ({"profile": "compatible", "base_url": None}, "pass base_url"),
        ({"base_url": "ftp://host"}, "must be http"),
        ({"base_url": "https://me:secret@host/v1"}, "credentials"),
        ({"dimensions": 0}, "dimensions"),
        ({"batch": True}, "batch"),
        ({"timeout": 0}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"api_key": "sk with space"}, "strip"),
        ({"options": {"x": object()}}, "options"),
        ({"headers": {"x": "a\nb"}}, "header 'x'"),
        ({"client": object()}, "httpx2, httpx, openai"),
        ({"client": httpx2.AsyncClient()}, "a blocking client, got AsyncClient"),
        ({"client": anthropic.Anthropic(api_key="k")}, "anthropic does not speak openai-emb"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, Any], said: str) -> None:
    """At once, with what was wrong, and without showing a secret."""
    with pytest.raises(ConfigError, match=said) as caught:
        HTTPEmbedder(**{"model": "m", "profile": "openai", **settings})
    assert "secret" not in str(caught.value)


# -- who it is --------------------------------------------------------------------------------


def test_another_model_place_or_dimension_is_another_embedder() -> None:
    """Its name says which vectors are stored: no two that differ have the same."""
    made = [
        HTTPEmbedder("a", "openai"),
        HTTPEmbedder("b", "openai"),
        HTTPEmbedder("a", "mistral"),
        HTTPEmbedder("a", "openai", dimensions=256),
        HTTPEmbedder("a", "openai", base_url="http://host/v1"),
        HTTPEmbedder("a", base_url="http://host/v1"),
        HTTPEmbedder("a", base_url="http://host:81/v1"),
        HTTPEmbedder("a", "openai", client=openai.OpenAI(api_key="k", base_url="http://x/v1")),
    ]
    assert [
        "openai:a",
        "openai:b",
        "mistral:a",
        "openai:a:256",
        "openai:a@http://host/v1",
        "compatible:a@http://host/v1",
        "compatible:a@http://host:81/v1",
        "openai:a@http://x/v1",
    ] == [one.name for one in made]
    assert HTTPEmbedder("a", base_url="http://host/v1", name="mine").name == "mine"


def test_it_travels_in_a_pickle_without_its_key(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a backend does; a copy keeps the key."""
    server = serve(by_words())
    made = embedder(server.url)
    assert KEY.encode() not in pickle.dumps(made)
    assert KEY not in repr(made) + repr(vars(made))
    again = pickle.loads(pickle.dumps(made))
    with pytest.raises(errors.AuthenticationError, match="a pickle does not carry"):
        again.embed(["one"])
    assert WORDS.embed(["one"]) == copy.deepcopy(made).embed(["one"])
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    again = pickle.loads(pickle.dumps(embedder(server.url, api_key=None)))
    assert WORDS.embed(["one"]) == again.embed(["one"])


def test_connections_are_given_back(serve: Serve) -> None:
    """It is a context manager, and works again after it was closed."""
    made = embedder(serve(by_words()).url)
    with made:
        made.embed(["one"])
    assert WORDS.embed(["two"]) == made.embed(["two"])


@pytest.mark.parametrize(
    "client",
    [
        httpx2.Client,
        httpx.Client,
        lambda **more: openai.OpenAI(api_key=KEY, **more),
    ],
    ids=["httpx2", "httpx", "openai"],
)
def test_clients_of_ones_own(serve: Serve, client: Callable[..., Any]) -> None:
    """They send what we would, and an SDK brings address and key."""
    server = serve(by_words())
    with client(base_url=server.url) as given:
        made = embedder(server.url, client=given, dimensions=64)
        assert WORDS.embed(TEXTS) == made.embed(TEXTS)
        with pytest.raises(ConfigError, match="cannot be pickled"):
            pickle.dumps(made)
    embedder(server.url, dimensions=64).embed(TEXTS)
    theirs, ours = server.asked
    assert ours.json == theirs.json
    assert theirs.headers["authorization"] == f"Bearer {KEY}"


def test_one_serves_many_threads(serve: Serve) -> None:
    """At once, and what they spend is added up."""
    server = serve(by_words())
    made = embedder(server.url, "text-embedding-3-small")
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(made.embed, [[text] for text in TEXTS])]
    assert WORDS.embed(TEXTS) == [vector for (vector,) in found]
    assert made.usage.input_tokens == 30
    assert made.usage.cost == pytest.approx(30 * 0.02 / 1e6)


def test_what_it_costs(serve: Serve) -> None:
    """Tokens as the provider counts them; money by the table, by `prices`, or by its own word."""
    body = listed([[1.0]])
    for cost, prices, expected in (
        (None, "table", None),
        (None, Prices(2, 0, 2, 2, 0), 3 * 2 / 1e6),
        (0.25, "table", 0.25),
    ):
        usage = {**body["usage"], "cost": cost}
        made = embedder(serve(told({**body, "usage": usage})).url, prices=prices)
        made.embed(["one"])
        assert (3, expected) == (made.usage.input_tokens, made.usage.cost)
    del body["usage"]
    made = embedder(serve(told(body)).url)
    assert [[1.0]] == made.embed(["one"])
    assert made.usage.input_tokens == 0


# -- what is taken for an answer --------------------------------------------------------------


def test_places_that_are_left_out(serve: Serve) -> None:
    """Gemini leaves out a place that is 0, and some servers leave out all of them."""
    body = listed([[1.0], [2.0]])
    del body["data"][0]["index"]
    body["data"].reverse()
    assert [[1.0], [2.0]] == embedder(serve(told(body)).url).embed(["a", "b"])
    body = listed([[1.0], [2.0]])
    for row in body["data"]:
        del row["index"]
    assert [[1.0], [2.0]] == embedder(serve(told(body)).url).embed(["a", "b"])


def rows(*vectors: Any, **more: Any) -> Answer:
    """An answer whose rows are these, whatever they are."""
    return told({**listed([]), "data": [{"embedding": one} | more for one in vectors]})


NO_VECTORS: dict[str, tuple[Answer, str]] = {
    "too few": (told(listed([[1.0]])), "1 vectors for 2 texts"),
    "too many": (told(listed([[1.0]] * 3)), "3 vectors for 2 texts"),
    "one twice": (rows([1.0], [2.0], index=0), r"texts \[0, 0\] instead of one a text"),
    "a place beyond": (rows([1.0], [2.0], index=2), "instead of one a text"),
    "a place that is none": (rows([1.0], [2.0], index="0"), "instead of one a text"),
    "NaN": (rows([1.0], [float("nan")]), "NaN or infinity"),
    "infinity": (rows([1.0], [float("-inf")]), "NaN or infinity"),
    "nothing": (rows([1.0], []), "no list of numbers"),
    "null": (rows([1.0], [None]), "no list of numbers"),
    "text": (rows([1.0], ["1.0"]), "no list of numbers"),
    "base64": (rows("AACAPw==", "AACAPw=="), "no list of numbers"),
    "a number beyond all": (rows([1.0], [10**400]), "no list of numbers"),
    "two dimensions": (rows([1.0], [1.0, 2.0]), "dimension 1 and 2 together"),
    "no object": (told({"data": [1, 2]}), "no object with the field 'embedding'"),
    "no data": (told({"object": "list"}), "no list of vectors"),
    "a list": (told([[1.0], [2.0]]), "instead of a reply"),
    "events": (Answer([b"data: {}\n\n"]), "a stream"),
    "HTML": (Answer([b"<!DOCTYPE html><html>"], kind="text/html"), "an HTML page"),
    "no JSON": (Answer([b"fine"], kind="text/plain"), "."),
    "nothing at all": (Answer([], kind=JSON), "'nothing'"),
    "nested without end": (Answer([b'{"data":' * 100_000], kind=JSON), "instead of a reply"),
    "an error": (told({"error": {"message": "no room", "type": "server_error"}}), "no room"),
}


@pytest.mark.parametrize("what", list(NO_VECTORS))
def test_what_is_no_answer_is_said_so(serve: Serve, what: str) -> None:
    """With the name of who gave it; nothing of it is used."""
    answer, said = NO_VECTORS[what]
    with pytest.raises(BackendError, match=rf"(?s)backend 'openai:some-model@.*{said}"):
        embedder(serve(answer).url).embed(["a", "b"])


def test_dimensions_that_are_ignored_are_noticed(serve: Serve) -> None:
    """A server that knows no such field gives its own."""
    made = embedder(serve(by_words(dimension=64)).url, dimensions=32)
    with pytest.raises(errors.UnreadableReplyError, match=r"dimension 64 where 32.*leave dimen"):
        made.embed(["one"])


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        told({"error": {"message": "batch size 8 > maximum allowed batch size 3"}}, 422),
        told({"message": "Too many tokens in batch. Max is 16384 got 17555"}, 400),
        told({"error": {"message": "Requested 346134 tokens, max 300000 tokens"}}, 400),
        Answer([b"Payload Too Large"], 413, "text/plain"),
    ],
    ids=["TEI", "Mistral", "OpenAI", "bytes"],
)
def test_a_batch_that_is_refused_is_halved(serve: Serve, refusal: Answer) -> None:
    """In whatever words: each half is asked for, down to single texts."""
    server = serve(taking(3, 1_000, refusal))
    assert WORDS.embed(TEXTS) == embedder(server.url).embed(TEXTS)
    assert [10, 5, 2, 3, 5, 2, 3] == [len(asked.json["input"]) for asked in server.asked]


def test_a_text_that_is_too_long_is_cut(serve: Serve) -> None:
    """To what the numbers in the error allow, or to its half; those beside it stay whole."""
    long = "garden " * 80
    server = serve(taking(64, 20, told(TOO_LONG, 500)))
    made = embedder(server.url)
    found = made.embed(["one", long, "two"])
    assert WORDS.embed(["one", "two"]) == [found[0], found[2]]
    sent = [asked.json["input"] for asked in server.asked]
    assert [["one", long.strip(), "two"], ["one"], [long.strip(), "two"], [long.strip()]] == sent[
        :4
    ]
    assert (["two"], sent[4]) == (sent[5], [long.strip()[:125]])
    assert found[1] == made.embed([long])[0]  # whatever it is asked with
    plain = told({"error": {"message": "input is too large to process"}}, 500)
    server = serve(taking(64, 20, plain))
    embedder(server.url).embed([long])
    assert [559, 279, 139] == [len(asked.json["input"][0]) for asked in server.asked]


def test_what_is_never_short_enough_is_told(serve: Serve) -> None:
    """A server that says so of anything is not asked for ever."""
    server = serve(told(TOO_LONG, 500))
    with pytest.raises(errors.RequestTooLargeError, match=r"not even 125 characters.*too large to"):
        embedder(server.url).embed(["garden " * 80])
    assert [559, 125] == [len(asked.json["input"][0]) for asked in server.asked]


@pytest.mark.parametrize("status", NOT_RETRIED)
def test_what_will_not_pass_is_told_at_once(serve: Serve, status: int) -> None:
    """Trying a single text again would not help, and is not done."""
    server = serve(failing(status, retry_after="0"))
    with pytest.raises(errors.ProviderError, match="backend 'openai:some-model@") as caught:
        embedder(server.url, retries=3).embed(["a text of a few words"])
    assert (status, 1) == (caught.value.status, len(server.asked))


@pytest.mark.parametrize("status", RETRIED)
def test_what_may_pass_is_tried_again(serve: Serve, status: int) -> None:
    """As the provider asks for, and without the caller seeing it."""
    server = serve(failing(status, retry_after_ms="1"), by_words())
    assert WORDS.embed(["one"]) == embedder(server.url, retries=1).embed(["one"])
    assert server.asked[0].body == server.asked[1].body


def test_a_wait_beyond_the_deadline_is_not_begun(serve: Serve) -> None:
    """The error says how long the provider asks to wait."""
    server = serve(failing(429, retry_after="3600"))
    with pytest.raises(errors.RateLimitedError) as caught:
        embedder(server.url, retries=9).embed(["one"])
    assert (3_600, 1) == (caught.value.retry_after, len(server.asked))


@pytest.mark.parametrize("end", ["abort", "fin"])
def test_an_answer_that_breaks_is_asked_for_again(serve: Serve, end: str) -> None:
    """Nothing of it was used."""
    server = serve(Answer([b'{"data": ['], kind=JSON, end=end), by_words())
    assert WORDS.embed(["one"]) == embedder(server.url, retries=1).embed(["one"])
    with pytest.raises(BackendError, match="broke the connection"):
        embedder(serve(Answer([b"{"], kind=JSON, end=end)).url).embed(["one"])


@pytest.mark.parametrize("end", ["silent", "stall", "drip head", "drip chunk"])
def test_the_deadline_holds_in_every_phase(serve: Serve, end: str) -> None:
    """However busily a server says nothing."""
    server = serve(Answer([b"{"], kind=JSON, end=end))
    with pytest.raises(BackendError, match=r"did not finish within 0\.5 s"):
        embedder(server.url, timeout=0.5, retries=3).embed(["one"])
    assert server.hung_up.wait(10)


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    """The key and the texts go to no other host, whichever client sends."""
    elsewhere = serve(by_words())
    target = f"{elsewhere.url}/embeddings?key=leak"
    server = serve(Answer(status=307, headers={"location": target}))
    with (
        httpx2.Client(follow_redirects=True) as follows,
        openai.OpenAI(api_key=KEY, base_url=server.url) as sdk,
    ):
        for client in (None, follows, sdk):
            with pytest.raises(errors.RedirectedError, match="set base_url") as caught:
                embedder(server.url, client=client).embed(["one"])
            assert "leak" not in str(caught.value)
    assert [] == elsewhere.asked


def test_nobody_listens(serve: Serve) -> None:
    """A server that is not there is a lost connection, with advice."""
    server = serve(Answer())
    server.close()
    with pytest.raises(errors.ConnectionLostError, match=r"cannot be reached.*check base_url"):
        embedder(server.url).embed(["one"])


def test_no_key_is_seen_in_a_failure(serve: Serve) -> None:
    """A provider that echoes the key, and all that hangs on the error: no key."""
    body = json.dumps({"error": {"message": f"bad key {KEY} given"}}).encode()
    for answer in (Answer([body], 401, JSON), Answer([b"{"], end="abort"), Answer([body], 200)):
        server = serve(answer)
        with pytest.raises(BackendError) as caught:
            embedder(server.url).embed(["one"])
        assert KEY in str(server.asked[0].headers)
        assert KEY not in seen_of(caught.value)
