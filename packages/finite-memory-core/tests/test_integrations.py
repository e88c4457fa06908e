"""What holds of the adapters where no framework is installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest

from finite_memory_core.errors import MissingExtraError

EXTRAS = {
    "pydantic-ai": "pydantic_ai",
    "langchain": "langchain",
    "openai-agents": "agents",
    "llama-index": "llama_index",
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_framework_names_its_extra(extra: str) -> None:
    """The import says what to install."""
    if find_spec(EXTRAS[extra]) is not None:
        pytest.skip(f"{EXTRAS[extra]} is installed")
    with pytest.raises(MissingExtraError, match=rf"finite-memory-core\[{extra}\]"):
        import_module(f"finite_memory_core.integrations.{extra.replace('-', '_')}")
