"""Who may look at the page, and what a browser may load."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from finite_memory_api.page.guarding import POLICY

from ..pages import TOKEN, Served, harbour, serve_chat
from ..serving import PLAIN

SHOWN = {"authorization": f"Bearer {TOKEN}"}
FILES = ("", "main.js", "api.js", "list.js", "strip.js", "plots.js", "panel.js", "page.css",
         "icon.svg")  # fmt: skip
READS = ("state", "session", "texts", "message", "events", "export")
WRITES = ("search", "preview", "replay", "history", "pin", "forget", "chat")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A page with a few messages, the same for all tests: none may change it."""
    page = serve_chat(harbour(3))
    yield page
    page.close()


def get(served: Served, path: str, headers: dict[str, str]) -> httpx2.Response:
    return httpx2.get(f"{served.url}/{path}", headers=headers, verify=PLAIN)


def post(served: Served, path: str, headers: dict[str, str]) -> httpx2.Response:
    return httpx2.post(f"{served.url}/{path}", headers=headers, json={}, verify=PLAIN)


@pytest.mark.parametrize("name", FILES)
def test_files_need_no_token_and_load_nothing_else(served: Served, name: str) -> None:
    """They hold nothing that was said; the policy allows no inline script and no other host."""
    answer = get(served, name, {})
    assert 200 == answer.status_code
    assert POLICY == answer.headers["content-security-policy"]
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert "nosniff" == answer.headers["x-content-type-options"]
    text = answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text
    again = get(served, name, {"if-none-match": answer.headers["etag"]})
    assert (304, b"") == (again.status_code, again.content)


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", "Basic tok", "Bearer t\xf6k"])
@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_without_the_token_nothing_is_told(served: Served, name: str, token: str) -> None:
    """Whatever is asked for."""
    headers = {b"authorization": token.encode("latin-1")} if token else {}
    ask = httpx2.get if name in READS else httpx2.post
    answer = ask(f"{served.url}/api/{name}", headers=headers, verify=PLAIN)
    assert 401 == answer.status_code
    assert {"error"} == set(answer.json())


@pytest.mark.parametrize("name", ["", "main.js", "api/state"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_machines_name_is_refused(served: Served, name: str, host: str) -> None:
    """A web page whose name resolves to this machine gets nothing, with the token neither."""
    assert 421 == get(served, name, {**SHOWN, "host": host}).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("name", WRITES)
def test_another_sites_page_changes_nothing(
    served: Served, name: str, headers: dict[str, str]
) -> None:
    """Not even with the token."""
    assert 403 == post(served, f"api/{name}", {**SHOWN, **headers}).status_code
    assert 7 == served.chat.memory.stats.messages


def test_a_form_of_another_site_is_no_json(served: Served) -> None:
    """What a browser sends without asking first is refused."""
    plain = {**SHOWN, "content-type": "text/plain"}
    answer = httpx2.post(
        f"{served.url}/api/forget", headers=plain, content='{"index": 1}', verify=PLAIN
    )
    assert 415 == answer.status_code


def test_this_page_may_ask(served: Served) -> None:
    """With its own origin and the token."""
    headers = {**SHOWN, "origin": served.url, "sec-fetch-site": "same-origin"}
    answer = get(served, "api/state", headers)
    assert 200 == answer.status_code
    assert "no-store" == answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("pin", b"{", 400),
        ("pin", b"[]", 400),
        ("pin", b"[" * 100_000, 400),
        ("pin", b'{"index": true}', 400),
        ("pin", b'{"index": -1}', 400),
        ("pin", b'{"index": 99, "pinned": true}', 400),
        ("forget", b'{"index": "1"}', 400),
        ("preview", b'{"budget": "many"}', 400),
        ("preview", b'{"policy": "os.system"}', 400),
        ("preview", b'{"budget": 0}', 400),
        ("preview", b'{"budget": 1%s}' % (b"0" * 400), 400),
        ("search", b'{"query": " "}', 400),
        ("chat", b'{"text": ""}', 400),
        ("chat", b'{"text": 7}', 400),
        ("chat", b" " * (5 << 20), 413),
    ],
)
def test_bad_requests_are_told_what_is_wrong(
    served: Served, name: str, body: bytes, status: int
) -> None:
    """And change nothing."""
    session = served.chat.memory.session_id
    answer = httpx2.post(
        f"{served.url}/api/{name}?id={session}",
        headers={**SHOWN, "content-type": "application/json"},
        content=body,
        verify=PLAIN,
    )
    assert status == answer.status_code
    assert answer.json()["error"]
    assert 7 == served.chat.memory.stats.messages


@pytest.mark.parametrize("query", ["start=x&stop=2", "start=-1&stop=2", "start=1", "stop=1e9"])
def test_bad_numbers_are_refused(served: Served, query: str) -> None:
    """In a query too."""
    session = served.chat.memory.session_id
    assert 400 == get(served, f"api/texts?id={session}&{query}", SHOWN).status_code


@pytest.mark.parametrize(
    "path", ["api", "api/", "api//state", "%2fapi/state", "x", "static/main.js"]
)
def test_what_is_no_file_of_the_page_needs_the_token(served: Served, path: str) -> None:
    """Whether there is such a path or not."""
    assert 401 == get(served, path, {}).status_code
    assert 404 == get(served, path, SHOWN).status_code


def test_a_session_that_is_not_there(served: Served) -> None:
    """It is told as missing."""
    assert 404 == get(served, "api/session?id=nobody", SHOWN).status_code
