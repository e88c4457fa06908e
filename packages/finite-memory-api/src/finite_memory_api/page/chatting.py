"""What ``finite-memory chat --ui`` runs: the page of one chat, on this machine alone."""

from __future__ import annotations

from collections.abc import Callable

from finite_memory_core import Chat, MissingExtraError
from finite_memory_core.events import MemoryEvent


class ChatPage:
    """The page of one chat. It is an observer of the chat's memory, and has to be made before it.

    Raises:
        MissingExtraError: Starlette or uvicorn is not installed.
    """

    def __init__(self) -> None:
        try:
            from ._running import run_chat
        except ImportError as error:
            raise MissingExtraError(
                f"the page needs {error.name}, which is not installed; "
                "pip install 'finite-memory-api[server]'"
            ) from error
        self._run = run_chat
        self._hear: Callable[[MemoryEvent], object] | None = None

    def __call__(self, event: MemoryEvent) -> None:
        """Hear of an event."""
        if self._hear is not None:
            self._hear(event)

    def listen(self, hear: Callable[[MemoryEvent], object]) -> None:
        """Have events told to `hear` from now on."""
        self._hear = hear

    def run(self, chat: Chat, *, port: int, title: str, told: Callable[[str], object]) -> None:
        """Serve the page until Ctrl-C.

        Args:
            chat: what is shown, and talks.
            port: where to listen on 127.0.0.1; 0 for any free one.
            title: what to call the backend.
            told: called with the address once it listens.
        """
        self._run(self, chat, port=port, title=title, told=told)
