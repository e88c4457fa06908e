"""``python -m finite_memory_core.cli`` is the ``finite-memory`` command."""

from __future__ import annotations

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
