"""Mutate a distribution's modules, run its tests on a sample, and report what they caught.

Runs in a copy of the distribution's folder (the session ``mutation`` makes it), with mutmut, whose
table ``tool.mutmut`` names the modules and the tests. The sample is the same for the same seed and
the same code, and a larger one holds the smaller.

Survivors that change nothing anyone could see are explained in ``docs/mutation.toml``, by what
they change and not by a number, so that an explanation outlives changes elsewhere. They count as
survivors all the same.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import sqrt
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.tables import Table, write_between  # noqa: E402

DOCUMENT = ROOT / "docs" / "mutation.md"
EXPLAINED = ROOT / "docs" / "mutation.toml"
CAUGHT = ("killed", "timeout")
UNKNOWN = ("not checked", "check was interrupted by user")
_Z = 1.96
"""Standard deviations of a 95 % interval."""


@dataclass(frozen=True, order=True)
class Change:
    """What a mutant changes.

    Attributes:
        file: the module, from the package's folder.
        function: the function or method, with its class.
        before: the lines that are changed, without indentation.
        after: what stands there instead.
        nth: how many equal changes of the function stand before it.
    """

    file: str
    function: str
    before: str
    after: str
    nth: int = 0

    def place(self, seed: int) -> str:
        """Where it stands in the random order of `seed`."""
        told = "\0".join((str(seed), self.file, self.function, self.before, self.after))
        return hashlib.sha256(f"{told}\0{self.nth}".encode()).hexdigest()


@dataclass(frozen=True)
class Module:
    """How the tests did on one module's mutants.

    Attributes:
        file: the module.
        mutants: how many it has.
        verdicts: mutmut's word for each mutant that was run.
    """

    file: str
    mutants: int
    verdicts: Mapping[Change, str]

    @property
    def caught(self) -> int:
        return sum(verdict in CAUGHT for verdict in self.verdicts.values())

    @property
    def survivors(self) -> list[Change]:
        """Those that were not caught, in the order of their text."""
        return sorted(change for change, told in self.verdicts.items() if told not in CAUGHT)

    @property
    def ran(self) -> int:
        return len(self.verdicts)

    @property
    def score(self) -> float:
        return self.caught / self.ran


# ---------------------------------------------------------------- what is run


def changes() -> dict[Change, str]:
    """Every mutant of the distribution, with mutmut's name for it."""
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import get_mutant_name

    found: dict[Change, str] = {}
    for path in sorted(walk_mutatable_files()):
        mutated = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
        lines, spans = mutated.code.split("\n"), mutated.line_span_by_function_name
        seen: Counter[Change] = Counter()
        for name in mutated.mutant_names:
            mangled = name.partition("__mutmut_")[0]
            texts = [
                "\n".join(lines[spans[one].start - 1 : spans[one].end]).replace(one, mangled)
                for one in (f"{mangled}__mutmut_orig", name)
            ]
            function = mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
            short = Path(*path.parts[2:]).as_posix()
            change = Change(short, function, *changed_lines(*texts))
            nth = seen[change]
            seen[change] += 1
            counted = Change(short, function, change.before, change.after, nth)
            found[counted] = get_mutant_name(path, name)
    return found


def changed_lines(before: str, after: str) -> tuple[str, str]:
    """What of two texts differs, by whole lines, without indentation."""
    a, b = ([line.strip() for line in text.split("\n")] for text in (before, after))
    parts = [
        code for code in SequenceMatcher(None, a, b, False).get_opcodes() if code[0] != "equal"
    ]
    left = [line for _, i, j, _, _ in parts for line in a[i:j]]
    right = [line for _, _, _, i, j in parts for line in b[i:j]]
    return "\n".join(left), "\n".join(right)


def sampled(mutants: Iterable[Change], most: int | None, seed: int) -> list[Change]:
    """At most `most` mutants of each module, chosen at random by `seed`; all for None."""
    by_file: dict[str, list[Change]] = {}
    for change in sorted(mutants, key=lambda change: change.place(seed)):
        by_file.setdefault(change.file, []).append(change)
    return [change for group in by_file.values() for change in group[:most]]


def verdicts() -> dict[str, str]:
    """What mutmut found of each mutant, by its name."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    found: dict[str, str] = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        found |= {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}
    return found


# ---------------------------------------------------------------- what is told


def interval(caught: float, ran: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share that was seen in `ran` of many."""
    share = caught / ran
    middle = (share + _Z**2 / (2 * ran)) / (1 + _Z**2 / ran)
    half = _Z * sqrt(share * (1 - share) / ran + _Z**2 / (4 * ran**2)) / (1 + _Z**2 / ran)
    return max(0.0, middle - half), min(1.0, middle + half)


def overall(modules: Sequence[Module]) -> tuple[float, float, float]:
    """The share of all mutants that are caught, each module by its size, and its 95 % interval.

    The usual estimate from strata. A module of which all that ran were caught does not count as
    certain: its variance is that of one more caught and one more not.
    """
    everything = sum(module.mutants for module in modules)
    score = variance = 0.0
    for module in modules:
        weight, ran = module.mutants / everything, module.ran
        score += weight * module.score
        careful = (module.caught + 1) / (ran + 2)
        unseen = 1 - ran / module.mutants
        variance += weight**2 * unseen * careful * (1 - careful) / ran
    half = _Z * sqrt(variance)
    return score, max(0.0, score - half), min(1.0, score + half)


def report(
    modules: Sequence[Module], explained: Mapping[Change, str], how: Sequence[str]
) -> list[Table]:
    """The tables of a run: the scores, the survivors that nobody explained, and the others."""
    columns = (
        "module", "mutants", "run", "caught", "by timeout", "no test", "survived", "explained",
        "score", "95 %",
    )  # fmt: skip
    rows = [_row(module, explained) for module in modules]
    score, low, high = overall(modules)
    sums = [str(sum(int(row[i]) for row in rows)) for i in range(1, 8)]
    rows.append(["all, by size", *sums, _percent(score), f"{_percent(low)} to {_percent(high)}"])
    survivors = [change for module in modules for change in module.survivors]
    open_ones = [_shown(change) for change in survivors if change not in explained]
    known = [[*_shown(change), explained[change]] for change in survivors if change in explained]
    tables = [Table("What the tests caught", columns, rows, how)]
    heads = ("module", "function", "what stood there", "what the mutant has")
    if open_ones:
        tables.append(Table("Survivors that no explanation covers", heads, open_ones))
    if known:
        tables.append(Table("Survivors that are explained", (*heads, "why it may live"), known))
    return tables


def _row(module: Module, explained: Mapping[Change, str]) -> list[str]:
    told = Counter(module.verdicts.values())
    numbers = (
        module.mutants,
        module.ran,
        module.caught,
        told["timeout"],
        told["no tests"],
        len(module.survivors) - told["no tests"],
        sum(change in explained for change in module.survivors),
    )
    low, high = interval(module.caught, module.ran)
    whole = module.ran == module.mutants
    told_interval = "all were run" if whole else f"{_percent(low)} to {_percent(high)}"
    return [f"`{module.file}`", *map(str, numbers), _percent(module.score), told_interval]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _shown(change: Change) -> list[str]:
    before, after = (text.replace("\n", " ⏎ ") for text in (change.before, change.after))
    code = [f"`` {text} ``" if "`" in text else f"`{text}`" for text in (before, after)]
    return [f"`{change.file}`", f"`{change.function}`", *code]


def explanations(name: str) -> dict[Change, str]:
    """The survivors of a distribution that are explained, and why each may live."""
    found: dict[Change, str] = {}
    for entry in tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get(name, []):
        file, function, before = entry["file"], entry["function"], entry["before"]
        for after in entry["after"]:
            for nth in entry.get("nth", [0]):
                found[Change(file, function, before, after, nth)] = entry["why"]
    return found


# ---------------------------------------------------------------- the command


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what `arguments` ask for, print the tables, and write them if asked."""
    parser = argparse.ArgumentParser(description="Run the tests on mutants; report the score.")
    parser.add_argument("name", help="the distribution's short name, for the document")
    parser.add_argument("--sample", type=int, help="mutants a module (default: all of them)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--max-children", type=int, default=1, help="at once (default: 1)")
    parser.add_argument("--tested", action="store_true", help="report what has run, run nothing")
    parser.add_argument("--write", action="store_true", help=f"into docs/{DOCUMENT.name}")
    asked = parser.parse_args(arguments)
    names = changes()
    chosen = sampled(names, asked.sample, asked.seed)
    if not asked.tested:
        mutmut = str(Path(sys.executable).with_name("mutmut"))
        command = [mutmut, "run", "--max-children", str(asked.max_children)]
        subprocess.run([*command, *(names[change] for change in chosen)], check=True)
    explained = explanations(asked.name)
    tables = report(judged(names, chosen), explained, [how(asked)])
    for table in tables:
        print(table.text(), flush=True)
    for change in sorted(explained.keys() - names.keys()):
        print(f"explained, but no mutant any more: {change}")
    if asked.write:
        parts = [table.markdown() for table in tables]
        write_between(DOCUMENT, asked.name, "\n\n".join(parts))


def judged(names: Mapping[Change, str], chosen: Sequence[Change]) -> list[Module]:
    """What mutmut found of the chosen mutants, module by module.

    Raises:
        SystemExit: a mutant was not run, so that no score would be honest.
    """
    told, sizes = verdicts(), Counter(change.file for change in names)
    missing = [names[c] for c in chosen if told.get(names[c], "not checked") in UNKNOWN]
    if missing:
        raise SystemExit(f"{len(missing)} mutants were not run, such as {missing[0]}")
    by_file: dict[str, dict[Change, str]] = {file: {} for file in sizes}
    for change in chosen:
        by_file[change.file][change] = told[names[change]]
    return [Module(file, sizes[file], found) for file, found in by_file.items()]


def how(asked: argparse.Namespace) -> str:
    """One paragraph: what the figures are of."""
    command = f"python3 run.py -s 'mutation({asked.name})'"
    if asked.sample is None:
        return f"All mutants, by `{command} -- --write`."
    options = f"--sample {asked.sample} --seed {asked.seed} --write"
    return (
        f"At most {asked.sample} mutants of each module, chosen at random (seed {asked.seed}), by "
        f"`{command} -- {options}`. Beside each score stands its 95 % interval (Wilson's); the "
        "last line is the estimate for all mutants, each module by its size."
    )


if __name__ == "__main__":
    main()
