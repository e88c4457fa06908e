"""What an upstream reports is read whole, or not at all."""

from __future__ import annotations

import pytest

from finite_memory_api.server.usage import HEAD, TAIL, Reader, Reported

USAGE = b'{"usage":{"prompt_tokens":12345}}'


@pytest.mark.parametrize("behind", [b"", b" " * TAIL, b" " * 3 * TAIL])
def test_a_number_across_an_edge_is_never_read_short(behind: bytes) -> None:
    """Wherever the looked-at bytes end, and however they are cut into chunks."""
    for place in range(HEAD - len(USAGE) - 1, HEAD + 1):
        data = b" " * place + USAGE + behind
        for size in (1_000, len(data)):
            reader = Reader()
            for at in range(0, len(data), size):
                reader.see(data[at : at + size])
            whole = place + len(USAGE) <= HEAD or len(behind) <= TAIL
            told = reader.reported()
            assert told in ((Reported(12345, None),) if whole else (None, Reported(12345, None)))


@pytest.mark.parametrize("number", [b"123", b"123.5", b"123e2", b"1234567890123"])
def test_what_is_no_whole_count_is_no_count(number: bytes) -> None:
    """Its end has not come yet, or it is another kind of number."""
    reader = Reader()
    reader.see(b'{"usage":{"prompt_tokens":' + number)
    assert reader.reported() is None
