"""``finite-memory serve``."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import MISSING, fields
from secrets import token_urlsafe
from typing import Any

from finite_memory_core import ConfigError, MissingExtraError

from .settings import POLICIES, SECRETS, ServeSettings

PURPOSE = "bound the context of programs that cannot be changed, as a proxy"
TOKEN, KEY = "FINITE_MEMORY_SERVE_TOKEN", "FINITE_MEMORY_SERVE_UPSTREAM_KEY"
ANTHROPIC_KEY = "FINITE_MEMORY_SERVE_ANTHROPIC_KEY"
PAGE_TOKEN = "FINITE_MEMORY_SERVE_PAGE_TOKEN"  # noqa: S105  (a variable's name)
BUDGET = 16_000
_ENDING = f"""The environment variables {TOKEN} (what clients must show; needed for any address \
but this machine's own), {KEY} (sent upstream in place of the client's key), {ANTHROPIC_KEY} (the \
same where Anthropic's API has another host) and {PAGE_TOKEN} (what the page of --ui asks for; \
default: a random one, printed at the start) hold secrets, which would be seen by others as \
arguments. Point clients here: OPENAI_BASE_URL=http://127.0.0.1:8088/v1 \
or ANTHROPIC_BASE_URL=http://127.0.0.1:8088"""

_HELP = {
    "upstream": ("URL", "where requests go (default OpenAI's and Anthropic's own)"),
    "anthropic_upstream": ("URL", "where those of Anthropic's API go (default: the same)"),
    "reserve": ("TOKENS", "tokens of the budget that are kept free for the reply"),
    "store": ("STORE", "keep what is said in sqlite:PATH or postgresql://…"),
    "recall": ("SHARE", "bring back what a question asks for, within this share of the budget"),
    "host": ("ADDRESS", "what to bind to"),
    "port": ("PORT", "the port"),
    "sessions": ("N", "how many sessions' cursors are held"),
    "max_body": ("BYTES", "the largest request"),
    "max_messages": ("N", "the most messages of a request"),
    "max_requests": ("N", "the most requests at one time"),
    "body_seconds": (
        "S",
        "how long a request may take to arrive, or a piece of the answer to be read",
    ),
    "connect_seconds": ("S", "how long connecting to the upstream may take"),
    "read_seconds": ("S", "how long the upstream may be silent"),
    "grace_seconds": ("S", "how long open streams may go on after the server was told to stop"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = _ENDING
    parser.add_argument(
        "--budget",
        type=int,
        default=BUDGET,
        metavar="TOKENS",
        help=f"the most tokens of a context, everything counted (default {BUDGET})",
    )
    parser.add_argument(
        "--policy", choices=POLICIES, default="sliding", help="what decides who leaves"
    )
    parser.add_argument(
        "--low-water", type=float, default=0.75, metavar="SHARE", help="where an eviction stops"
    )
    parser.add_argument(
        "--strict", action="store_true", help="refuse a request that cannot be bounded"
    )
    parser.add_argument(
        "--ui",
        action="store_true",
        help="a page under /_memory/ that shows what the server does; with --store, what is said",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    for field in fields(ServeSettings):
        if field.name in _HELP and field.default is not MISSING:
            metavar, told = _HELP[field.name]
            shown = (
                f" (default {field.default:g})" if isinstance(field.default, float | int) else ""
            )
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=type(field.default),
                default=field.default,
                metavar=metavar,
                help=told + shown,
            )


def settings_from(options: argparse.Namespace) -> ServeSettings:
    """Return the settings that the options and the environment give."""
    names = {field.name for field in fields(ServeSettings)} - {*SECRETS}
    given: dict[str, Any] = {name: getattr(options, name) for name in names}
    variables = zip(SECRETS, (TOKEN, KEY, ANTHROPIC_KEY, PAGE_TOKEN), strict=True)
    given |= {name: os.environ.get(variable, "") for name, variable in variables}
    if given["ui"] and not given["page_token"]:
        given["page_token"] = token_urlsafe(24)
    return ServeSettings(**given)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = settings_from(options)
    if options.workers < 1:
        raise ConfigError(f"workers must be 1 or more, got {options.workers}")
    if options.ui and options.workers > 1:
        raise ConfigError(
            "a page sees what its own process does, so --ui needs --workers 1, got "
            f"{options.workers}"
        )
    try:
        from ._running import serve
    except ImportError as error:
        raise MissingExtraError(
            f"the server needs {error.name}, which is not installed; "
            "pip install 'finite-memory-api[server]'"
        ) from error
    if settings.ui:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        where = f"http://{host}:{settings.port}/_memory/#token={settings.page_token}"
        sys.stderr.write(f"The page is at {where}\n")
    serve(settings, options.workers)
    return 0
