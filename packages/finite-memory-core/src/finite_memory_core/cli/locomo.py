"""LoCoMo conversations as transcripts.

LoCoMo (Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents", ACL 2024)
has two people talk in dated sessions. Here the one becomes the user, the other the assistant; both
keep their names, and what they say the time of its session.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ..errors import MessageError
from ..messages import Message, Role

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_TIME = re.compile(r"(\d{1,2}):(\d\d) ([ap])m on (\d{1,2}) (\w+), (\d{4})", re.IGNORECASE)


class Malformed(ValueError):
    """A file that is no LoCoMo conversation; `place` says where."""

    def __init__(self, place: str, why: object) -> None:
        super().__init__(str(why))
        self.place = place


def messages(conversation: Any) -> Iterator[tuple[str, Message]]:
    """Yield the turns of a conversation as messages, each with its place.

    What a shared picture shows is appended in brackets; the turn's ``dia_id`` is in the metadata.

    Raises:
        Malformed: a part is missing, or not what it should be.
    """
    speakers = _speakers(conversation)
    numbers = [int(key[8:]) for key in conversation if re.fullmatch(r"session_\d+", key)]
    for number in sorted(numbers):
        place = f"session_{number}"
        when = _when(conversation.get(f"{place}_date_time"), f"{place}_date_time")
        turns = conversation[place]
        if not isinstance(turns, list):
            raise Malformed(place, "a list of turns must stand here")
        for index, turn in enumerate(turns):
            where = f"{place}[{index}]"
            yield where, _message(turn, where, speakers, when)


def _speakers(conversation: Any) -> dict[str, Role]:
    names = ("speaker_a", "speaker_b")
    if not isinstance(conversation, Mapping) or any(name not in conversation for name in names):
        raise Malformed(
            "its beginning",
            'no LoCoMo conversation: an object with "speaker_a", "speaker_b" and "session_1" '
            "must stand here; leave out --format for other transcripts",
        )
    first, second = (str(conversation[name]) for name in names)
    return {first: Role.USER, second: Role.ASSISTANT}


def _when(text: object, place: str) -> datetime | None:
    """Read a session's time, such as ``"1:56 pm on 8 May, 2023"``; None where there is none."""
    if text is None:
        return None
    found = _TIME.fullmatch(str(text).strip())
    if found is None or found[5].lower() not in _MONTHS:
        raise Malformed(place, f'{text!r:.80} is no time such as "1:56 pm on 8 May, 2023"')
    hour = int(found[1]) % 12 + (12 if found[3].lower() == "p" else 0)
    month = _MONTHS.index(found[5].lower()) + 1
    try:
        return datetime(int(found[6]), month, int(found[4]), hour, int(found[2]))  # noqa: DTZ001
    except ValueError as error:
        raise Malformed(place, f"{text!r:.80}: {error}") from error


def _message(turn: Any, place: str, speakers: Mapping[str, Role], when: datetime | None) -> Message:
    if not isinstance(turn, Mapping) or turn.get("speaker") not in speakers:
        raise Malformed(place, f"a turn of one of {', '.join(speakers)} must stand here")
    said = str(turn.get("text") or "").strip()
    if caption := turn.get("blip_caption"):
        said = f"{said} [picture: {caption}]".lstrip()
    metadata = {"dia_id": turn["dia_id"]} if "dia_id" in turn else {}
    try:
        return Message(
            speakers[turn["speaker"]],
            said,
            name=turn["speaker"],
            timestamp=when,
            metadata=metadata,
        )
    except MessageError as error:
        raise Malformed(place, error) from error
