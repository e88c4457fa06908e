"""What is public is a list, and importing it is cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

import finite_memory_local


def test_the_public_names() -> None:
    """Nothing becomes public by accident, and everything on the list is there."""
    expected = [
        "AttentionScorer",
        "CacheStats",
        "Capability",
        "FallBack",
        "HuggingFaceBackend",
        "SentenceTransformerEmbedder",
        "Span",
    ]
    assert expected == finite_memory_local.__all__
    assert all(getattr(finite_memory_local, name) for name in expected)
    assert set(expected) <= set(dir(finite_memory_local))
    with pytest.raises(AttributeError, match="Nothing"):
        _ = finite_memory_local.Nothing


@pytest.mark.uncovered
def test_the_import_brings_neither_torch_nor_transformers() -> None:
    """Also with the backend's class: they are imported when one is built."""
    program = (
        "import sys; from finite_memory_local import HuggingFaceBackend; "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "[]" == done.stdout.strip()
