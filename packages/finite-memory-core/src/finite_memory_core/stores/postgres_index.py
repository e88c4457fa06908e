"""A session's search index, kept in its PostgreSQL database; see `packed_index`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from .packed_index import Database, PackedIndex
from .postgres_server import Unreachable

_LOCK = 0x464D4958  # "FMIX", the first half of the advisory lock that a writer holds
_LONGEST = 255  # bytes of a term that is kept as it is: an index takes no long ones

_NEWEST_OF_EACH = """
    SELECT newest.* FROM unnest(?::bytea[]) WITH ORDINALITY AS asked (term, number)
    LEFT JOIN LATERAL (
        SELECT first, number, places, checksum FROM posting
        WHERE session = ? AND term = asked.term AND first < ? ORDER BY first DESC LIMIT 1
    ) AS newest ON true
    ORDER BY asked.number
"""


class PostgresIndex(PackedIndex):
    """The index of a session in a PostgreSQL database; see `GrowingIndex`."""

    _column = "digest"
    _passing_errors = (Unreachable,)

    def _hold(self, db: Database) -> None:
        """See `PackedIndex._hold`. Others may append to the session meanwhile.

        `erase` and `delete` wait, for they drop what is written here.
        """
        held = "SELECT key FROM session WHERE digest = ? FOR KEY SHARE"
        row = db.execute(held, (self._session,)).fetchone()
        if row is not None:
            db.execute("SELECT pg_advisory_xact_lock(?::int, ?::int)", (_LOCK, row[0] % (1 << 31)))

    def _name(self, term: str) -> bytes:
        name = term.encode()
        # 0xFF begins no UTF-8, so what stands for a long term is no other term.
        return name if len(name) <= _LONGEST else b"\xff" + sha256(name).digest()

    def _newest_kept(self, db: Database, names: Sequence[bytes]) -> Iterable[Any]:
        """Ask for all at once: each question is a journey over the network."""
        rows = db.execute(_NEWEST_OF_EACH, ([*names], self._key, self._kept.size)).fetchall()
        return (None if row[0] is None else row for row in rows)
