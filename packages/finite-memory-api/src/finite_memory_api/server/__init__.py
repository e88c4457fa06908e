"""The drop-in server: a bounded, cache-stable context for a program that cannot be changed.

A client that speaks OpenAI's or Anthropic's API sends its whole history with every request. What
does not fit the budget is left out on the way to the upstream, by the same fold that serves
`Memory`; all else passes through as it came. ``finite-memory serve`` starts it; `create_app`
returns the application. It needs the extra: ``pip install 'finite-memory-api[server]'``.

::

    scanning    JSON with the place of each message in it, so that what stays keeps its bytes
    wires       what differs between the three APIs
    units       messages that stay or go together
    cursors     what has left, a few bytes a session
    bounding    the fold over a history: what stays of it
    identity    which session a request belongs to
    archive     with a store: what was said is kept, and recalled; so are the cursors
    shrinking   a prompt that the upstream found too long
    guarding    who may ask for what
    usage       what the upstream reports, and what is learnt from it
    metrics     what is counted
    _exchange   one request, upstream and back
    _app        all of it together
    _running    in uvicorn

Modules with an underscore need the extra; the others can be imported without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._app import create_app as create_app
    from .settings import ServeSettings as ServeSettings

__all__ = ["ServeSettings", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from ._app import create_app

        return create_app
    if name == "ServeSettings":
        from .settings import ServeSettings

        return ServeSettings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
