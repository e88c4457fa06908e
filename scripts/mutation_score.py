"""Say what share of the mutants the tests caught: ``mutation_score.py STATS``.

``STATS`` is the JSON that ``mutmut export-cicd-stats`` writes. A mutant that ran into a timeout
counts as caught; one that no test reaches counts as survived.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(path: str) -> None:
    """Print the score; exits when there is nothing to score."""
    stats: dict[str, int] = json.loads(Path(path).read_text(encoding="utf-8"))
    caught = stats["killed"] + stats["timeout"]
    total = caught + stats["survived"] + stats["no_tests"] + stats["suspicious"]
    if not total:
        raise SystemExit(f"no mutants in {path}: {stats}")
    print(f"mutation score {100 * caught / total:.1f} %: {caught} of {total} mutants caught")


if __name__ == "__main__":
    main(*sys.argv[1:])
