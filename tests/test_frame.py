"""README, CI, workflows and sessions say the same."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from distributions import ROOT, Distribution, discover

DISTRIBUTIONS = discover()
COMMANDS = {"demo": "python3 run.py demo", "test": "python3 run.py test"}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(*parts: str) -> str:
    """A file of the repository as text."""
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def jobs(workflow: str) -> dict[str, Any]:
    """The jobs of a workflow by name."""
    found: dict[str, Any] = yaml.safe_load(read(".github", "workflows", workflow))["jobs"]
    return found


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_readme_has_the_two_commands(command: str) -> None:
    """Each command stands alone on a line of the README."""
    assert command in read("README.md").splitlines()


def test_ci_run_calls_the_readmes_command() -> None:
    """The last line of ``.ci/run`` is the README's command, word for word."""
    assert COMMANDS["test"] == read(".ci", "run").splitlines()[-1]


def test_sections_of_the_guide_are_there() -> None:
    """CONTRIBUTING has the three recipes."""
    titles = re.findall(r"(?m)^## (.+)$", read("CONTRIBUTING.md"))
    assert {"Add a policy", "Add a backend", "Add a store"} <= set(titles)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_actions_are_pinned(path: Any) -> None:
    """Every action is named by a full commit and its version stands beside it."""
    uses = re.findall(r"(?m)^\s*-?\s*uses: (.+)$", path.read_text(encoding="utf-8"))
    assert [u for u in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d[\d.]*", u)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_sessions_named_in_workflows_exist(path: Any) -> None:
    """A workflow calls no session that the noxfile does not define."""
    defined = set(re.findall(r"(?m)^def (\w+)\(session", read("noxfile.py")))
    called = re.findall(r"run\.py (?:-\S+ )*-s ([a-z]+(?: [a-z]+)*)", path.read_text("utf-8"))
    assert set() == {name for names in called for name in names.split()} - defined


def test_one_check_waits_for_all() -> None:
    """The job ``all-green`` needs every other job, whatever their outcome."""
    ci = jobs("ci.yml")
    assert set(ci) - {"all-green"} == set(ci["all-green"]["needs"])
    assert ci["all-green"]["if"] == "${{ always() }}"


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda d: d.short)
def test_each_distribution_is_published_after_its_siblings(distribution: Distribution) -> None:
    """A publishing job a distribution, in an environment of its own, in dependency order."""
    job = jobs("release.yml")[f"publish-{distribution.short}"]
    siblings = {f"publish-{d.short}" for d in DISTRIBUTIONS if distribution.requires(d)}
    assert f"release-{distribution.short}" == job["environment"]["name"]
    assert job["permissions"] == {"id-token": "write"}
    assert siblings <= set(job["needs"])
