"""How hypothesis looks for examples."""

from __future__ import annotations

import os

from hypothesis import Phase, settings

from .examples import some

settings.register_profile(
    "core",
    deadline=None,
    max_examples=some(40),
    print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining takes minutes
)
# A mutant is caught or not: no example need be small, and none may depend on what ran before.
settings.register_profile(
    "mutation",
    deadline=None,
    max_examples=8,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
MUTATED = "MUTANT_UNDER_TEST" in os.environ  # mutmut says so before it collects the tests
if MUTATED:
    settings.load_profile("mutation")

CORE = settings.get_profile("mutation" if MUTATED else "core")
