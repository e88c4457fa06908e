"""What each family of models allows, as the probe finds it on tiny models."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from benchmarks.tables import Table
from finite_memory_local import HuggingFaceBackend

_HOME = Path(__file__).resolve().parents[2] / "packages" / "finite-memory-local" / "tests"


def _module() -> Any:
    """Return the tests' own models, so that the table shows what is tested."""
    spec = importlib.util.spec_from_file_location("local_families", _HOME / "families.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def table() -> Table:
    """Examine each family."""
    made, rows = _module(), []
    for family in made.FAMILIES:
        backend = HuggingFaceBackend(made.model(family), tokenizer=made.tokenizer(), kv="shift")
        found = backend.capability
        kinds = sorted({str(kind) for kind in found.layers})
        mode = "shift" if found.shift else "exact" if found.reuse else "off"
        limit = "" if found.limit is None else f"; up to {found.limit:,} tokens"
        rows.append([family, f'`kv="{mode}"`', (", ".join(kinds) or found.why_not or "") + limit])
    return Table("Families", ["family", "most that it allows", "why"], rows)
