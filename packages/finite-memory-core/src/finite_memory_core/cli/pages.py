"""The page behind ``chat --ui``, which another distribution brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..chat import Chat
from ..errors import MissingExtraError
from ..events import MemoryEvent

_GROUP, _NAME = "finite_memory.pages", "chat"
"""The entry point: a class that takes no arguments, whose objects are pages."""


class Page(Protocol):
    """A page of one chat. It is an observer, so it is made before the chat's memory."""

    def __call__(self, event: MemoryEvent, /) -> object:
        """Hear of an event of the memory."""
        ...

    def run(self, chat: Chat, *, port: int, title: str, told: Callable[[str], object]) -> None:
        """Serve the page until it is interrupted; `told` is called with its address."""
        ...


def load_page() -> Page:
    """Return a page.

    Raises:
        MissingExtraError: the distribution that has it is not installed, or what it needs is not.
    """
    from importlib.metadata import entry_points  # slow to import

    for point in entry_points(group=_GROUP, name=_NAME):
        page: Page = point.load()()
        return page
    raise MissingExtraError(
        "the page is part of finite-memory-api[server], which is not installed; "
        "pip install 'finite-memory-api[server]'"
    )
