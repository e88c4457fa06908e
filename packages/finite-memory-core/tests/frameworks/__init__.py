"""The memory inside agent frameworks; each file skips where its framework is not installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def require(module: str) -> None:
    """Skip the file that is being collected unless `module` is installed; if broken, it fails."""
    if find_spec(module) is None:
        why = f"{module} is not installed (the session 'frameworks' installs it)"
        pytest.skip(why, allow_module_level=True)
