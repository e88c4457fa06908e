"""``finite-memory backends``: what can be used for ``--backend``, and where to get the rest."""

from __future__ import annotations

import argparse
import json
import sys

from ..backends import available_backends
from .terminal import clean, print_pairs


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """List them."""
    known = available_backends()
    if options.json:
        found = [
            {"name": name, "installed": missing is None, "distribution": missing}
            for name, missing in known.items()
        ]
        json.dump({"backends": found}, sys.stdout, indent=2)
        print()
        return 0
    pairs = [(clean(name), _state(missing)) for name, missing in known.items()]
    print_pairs([*pairs, ("module:function", "a function of yours that takes the context")])
    return 0


def _state(missing: str | None) -> str:
    return "installed" if missing is None else f"not installed: pip install {missing}"
