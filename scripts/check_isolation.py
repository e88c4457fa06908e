"""Import every public module of an installed package alone, with warnings as errors.

``python check_isolation.py PACKAGE [--nothing-else] [FORBIDDEN ...]``, run by the Python of an
environment that holds the wheel and what it requires. Each module gets a fresh process, so that
none leans on what another has imported. ``--nothing-else``: no third-party module may be loaded.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_PROGRAM = """
import importlib, json, sys
if sys.argv[1]:
    try:
        importlib.import_module(sys.argv[1])
    except ImportError as error:
        # A module that is a framework's adapter says which extra is missing; nothing else may.
        if type(error).__name__ != "MissingExtraError":
            raise
print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))
"""


def public_modules(package: str) -> Iterator[str]:
    """Dotted names of the package and all modules below it that no underscore hides."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed for {sys.executable}.")
    root = Path(spec.submodule_search_locations[0])
    if "site-packages" not in root.parts:
        raise SystemExit(f"{package} comes from {root}, not from an installed wheel.")
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            yield ".".join((package, *parts))


def loaded_by(module: str) -> set[str]:
    """Top-level names in ``sys.modules`` after importing the module, or nothing for ``""``."""
    command = [sys.executable, "-I", "-W", "error", "-c", _PROGRAM, module]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"import {module} failed:\n{done.stderr}")
    names: list[str] = json.loads(done.stdout)
    return set(names)


def main(package: str, *rules: str) -> None:
    """Check every module; exits with the names of all offenders."""
    nothing_else = "--nothing-else" in rules
    # What a bare interpreter loads here (a virtual environment's own hooks) is not the package's.
    allowed = loaded_by("") | sys.stdlib_module_names | {package}
    wrong, modules = [], list(public_modules(package))
    for module in modules:
        foreign = loaded_by(module) - allowed
        bad = foreign if nothing_else else foreign & set(rules)
        if bad:
            wrong.append(f"import {module} loads {', '.join(sorted(bad))}")
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"{len(modules)} public modules of {package}: each imports alone, nothing foreign loaded")


if __name__ == "__main__":
    main(*sys.argv[1:])
