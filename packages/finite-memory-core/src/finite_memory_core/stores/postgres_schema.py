"""The tables of a PostgreSQL store, version by version."""

from __future__ import annotations

# STEPS[n] takes a schema from version n to n + 1. Add steps; never change one.
STEPS: tuple[tuple[str, ...], ...] = (
    (
        # A session is found by the SHA-256 of its id: an index takes no long text.
        """
        CREATE TABLE session (
            key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            digest BYTEA NOT NULL UNIQUE,
            id TEXT NOT NULL,
            settings TEXT NOT NULL,
            messages BIGINT NOT NULL,
            events BIGINT NOT NULL,
            checksum BIGINT NOT NULL,
            scope TEXT,
            scope_digest BYTEA
        ) WITH (fillfactor = 80)
        """,
        "CREATE INDEX session_by_scope ON session (scope_digest, key)",
        """
        CREATE TABLE message (
            session BIGINT NOT NULL,
            index BIGINT NOT NULL,
            tokens BIGINT NOT NULL,
            body TEXT NOT NULL,
            checksum BIGINT NOT NULL,
            PRIMARY KEY (session, index)
        )
        """,
        """
        CREATE TABLE event (
            session BIGINT NOT NULL,
            index BIGINT NOT NULL,
            kind TEXT COLLATE "C" NOT NULL,
            at BIGINT NOT NULL,
            body TEXT NOT NULL,
            checksum BIGINT NOT NULL,
            PRIMARY KEY (session, index)
        )
        """,
        "CREATE INDEX event_by_kind ON event (session, kind, index)",
        # From here on derived from the transcripts: see `packed_index`.
        """
        CREATE TABLE indexed (
            session BIGINT PRIMARY KEY,
            format TEXT NOT NULL,
            generation BIGINT NOT NULL,
            size BIGINT NOT NULL,
            terms BIGINT NOT NULL,
            speakers BIGINT NOT NULL,
            postings BIGINT NOT NULL,
            checksum BIGINT NOT NULL
        )
        """,
        """
        CREATE TABLE posting (
            session BIGINT NOT NULL,
            term BYTEA NOT NULL,
            first BIGINT NOT NULL,
            number BIGINT NOT NULL,
            places BYTEA NOT NULL,
            checksum BIGINT NOT NULL,
            PRIMARY KEY (session, term, first)
        )
        """,
        """
        CREATE TABLE fact (
            place BIGINT PRIMARY KEY,
            before BIGINT NOT NULL,
            entries BYTEA NOT NULL,
            checksum BIGINT NOT NULL
        )
        """,
        """
        CREATE TABLE speaker (
            session BIGINT NOT NULL,
            number BIGINT NOT NULL,
            name TEXT NOT NULL,
            first BIGINT NOT NULL,
            checksum BIGINT NOT NULL,
            PRIMARY KEY (session, number)
        )
        """,
    ),
)
