"""Tombstones: what stands in the transcript where something was forgotten.

One says that something was removed, and when; not what, nor who had said it. The places of all
other messages stay what they were.
"""

from __future__ import annotations

from datetime import datetime

from .messages import Message
from .window import MARK

_FORGOTTEN = "forgotten"


def tombstone(at: datetime) -> Message:
    """Return what stands in the place of a message that was forgotten at that time."""
    text = f"[Forgotten on {at.date().isoformat()}]"
    return Message.assistant(text, metadata={MARK: _FORGOTTEN, "at": at.isoformat()})


def is_tombstone(message: Message) -> bool:
    """Whether a message of the transcript stands for one that was forgotten."""
    return message.metadata.get(MARK) == _FORGOTTEN
