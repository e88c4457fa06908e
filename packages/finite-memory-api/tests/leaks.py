"""What somebody sees of an error, so that a test can look for what must not be there."""

from __future__ import annotations

import traceback


def seen_of(error: BaseException) -> str:
    """Return its traceback, and what hangs on it and on all that it came from."""
    seen = traceback.format_exception(error)
    cause: BaseException | None = error
    while cause is not None:
        seen.append(repr(vars(cause)))
        cause = cause.__cause__ or cause.__context__
    return "".join(seen)
