"""What a server is started with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from finite_memory_core import ConfigError
from finite_memory_core.policies import build_policy
from finite_memory_core.settings import check_limits

OPENAI = "https://api.openai.com"
ANTHROPIC = "https://api.anthropic.com"
POLICIES = ("sliding", "importance", "semantic", "hybrid")
"""Those that keep no text of their own."""
SECRETS = ("token", "upstream_key", "anthropic_key", "page_token")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What a server is started with.

    Attributes:
        budget: the most tokens of a request's context, instructions, tools and `reserve` included.
        upstream: the base URL that requests go to, with or without ``/v1``.
        anthropic_upstream: the one for Anthropic's API; "" for the same.
        policy: what decides who leaves; one of `POLICIES`.
        low_water: where an eviction stops, as a share of what the budget leaves to messages.
        reserve: tokens of the budget that are kept free for the reply.
        recall: the share of the budget for what is recalled; 0 for no recall. Needs a store.
        store: ``"sqlite:PATH"`` or ``"postgresql://…"``; "" to keep nothing of what is said.
        strict: whether a request that could not be bounded is refused, rather than passed on.
        host: the address that the server binds to.
        port: the port that it binds to.
        token: what clients have to show; required for any address but this machine's own.
        upstream_key: sent to `upstream` in place of the client's key, if it is not "".
        anthropic_key: the same for Anthropic's API; no key is ever sent to another's host.
        sessions: how many cursors are held.
        max_body: the most bytes of a request.
        max_messages: the most messages of a request.
        max_requests: the most requests at one time.
        body_seconds: how long a client may take to send its request, or read a piece of the answer.
        connect_seconds: how long connecting to the upstream may take.
        read_seconds: how long the upstream may be silent.
        grace_seconds: how long open streams may go on after the server was told to stop.
        ui: whether a page shows what the server does, under ``/_memory/``.
        page_token: what has to be shown to see the page, in place of `token`, which is the
            clients'; with `ui` it must not be "", nor the same.

    Raises:
        ConfigError: a setting that cannot work.
    """

    budget: int
    upstream: str = OPENAI
    anthropic_upstream: str = ""
    policy: str = "sliding"
    low_water: float = 0.75
    reserve: int = 0
    recall: float = 0.0
    store: str = field(default="", repr=False)  # its URL may hold a password
    strict: bool = False
    host: str = "127.0.0.1"
    port: int = 8088
    token: str = field(default="", repr=False)
    upstream_key: str = field(default="", repr=False)
    anthropic_key: str = field(default="", repr=False)
    sessions: int = 100_000
    max_body: int = 32 << 20
    max_messages: int = 10_000
    max_requests: int = 400
    body_seconds: float = 30.0
    connect_seconds: float = 10.0
    read_seconds: float = 600.0
    grace_seconds: float = 30.0
    ui: bool = False
    page_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ConfigError(
                f"the server's policy must be one of {', '.join(POLICIES)}, got {self.policy!r}: "
                "others keep text of their own, which a server without a memory cannot"
            )
        if not 0 <= self.recall < 1:
            raise ConfigError(f"recall must be a share of the budget below 1, got {self.recall!r}")
        if self.recall and not self.store:
            raise ConfigError("recall needs a store to search; add --store sqlite:PATH")
        policy = build_policy(self.policy)
        check_limits(self.budget, self.low_water, self.reserve, "raise", None, policy, None)
        self._check_numbers()
        self._check_safety()
        for url in (self.upstream, self.anthropic_upstream):
            if url:
                _check_url(url)

    def _check_numbers(self) -> None:
        counts = ("sessions", "max_body", "max_messages", "max_requests")
        seconds = ("body_seconds", "connect_seconds", "read_seconds", "grace_seconds")
        for name in (*counts, *seconds):
            value = getattr(self, name)
            if not value > 0:
                raise ConfigError(f"{name} must be a positive number, got {value!r}")

    def _check_safety(self) -> None:
        if not self.local and not self.token:
            raise ConfigError(
                f"binding to {self.host!r} lets other machines in: set a token that clients must "
                "show (the environment variable FINITE_MEMORY_SERVE_TOKEN), or bind to 127.0.0.1"
            )
        if self.keyed and not self.token:
            raise ConfigError(
                "with a key of its own for the upstream the server would spend your money for "
                "anyone who reaches it: set FINITE_MEMORY_SERVE_TOKEN too"
            )
        if self.ui and self.page_token in ("", self.token):
            raise ConfigError("the page shows what everyone says; give it a page_token of its own")
        for name in SECRETS:
            value: str = getattr(self, name)
            if not value.isascii() or any(c <= " " for c in value):
                raise ConfigError(f"the {name} must be ASCII text without spaces")

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def keyed(self) -> bool:
        """Whether the server has a key of its own, so that clients show the token as theirs."""
        return bool(self.upstream_key or self.anthropic_key)

    def key(self, *, anthropic: bool) -> str:
        """Return the key of the host that `base` names; "" where the server has none for it."""
        if anthropic and self.anthropic_key:
            return self.anthropic_key
        shared = not anthropic or self.base(anthropic=True) == self.base(anthropic=False)
        return self.upstream_key if shared else ""

    def base(self, *, anthropic: bool) -> str:
        """Return the upstream's base URL, without ``/v1`` at its end."""
        if self.anthropic_upstream and anthropic:
            url = self.anthropic_upstream
        elif anthropic and self.upstream == OPENAI:
            url = ANTHROPIC
        else:
            url = self.upstream
        return url.rstrip("/").removesuffix("/v1")

    def dumps(self) -> str:
        """Return the settings as JSON text, for workers; `loads` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> ServeSettings:
        """Read what `dumps` wrote."""
        return cls(**json.loads(text))


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"an upstream is an http or https URL, got {url!r:.120}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"an upstream is a URL without a user, a query or a fragment; got one with such a part "
            f"for the host {parts.hostname!r}"
        )
