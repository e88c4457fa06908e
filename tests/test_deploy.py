"""The examples of deployment: YAML that parses, and says what the server says."""

from __future__ import annotations

import re
from typing import Any

import yaml

from distributions import ROOT

FOLDER = ROOT / "docs" / "deploy"
SERVER = ROOT / "packages" / "finite-memory-api" / "src" / "finite_memory_api" / "server"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
OBJECTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8"))
)


def pod() -> dict[str, Any]:
    """The pod of the Deployment."""
    (found,) = [o for o in OBJECTS if o["kind"] == "Deployment"]
    template: dict[str, Any] = found["spec"]["template"]
    return template


def commands() -> list[str]:
    """The shell lines that start the server."""
    (container,) = pod()["spec"]["containers"]
    return [COMPOSE["services"]["memory"]["command"][-1], container["args"][0]]


def test_every_service_of_compose_is_there() -> None:
    """Each has an image, waits for services that exist, and uses volumes that are declared."""
    services = COMPOSE["services"]
    assert {"memory", "vllm", "postgres"} == services.keys()
    for service in services.values():
        assert service["image"]
        assert services.keys() >= service.get("depends_on", {}).keys()
        named = {volume.split(":")[0] for volume in service.get("volumes", ())}
        assert named <= COMPOSE["volumes"].keys()


def test_every_object_of_kubernetes_is_one() -> None:
    """Each says what it is, and selects the pods that there are."""
    assert [o["kind"] for o in OBJECTS] == ["Deployment", "Service", "PodDisruptionBudget"]
    labels = pod()["metadata"]["labels"]
    for one in OBJECTS:
        assert one["apiVersion"]
        assert one["metadata"]["name"] == "finite-memory"
        selector = one["spec"]["selector"]
        assert labels == selector.get("matchLabels", selector)


def test_probes_ask_for_what_the_server_has() -> None:
    """Paths and ports agree with the server's."""
    routes = set(re.findall(r'Route\("(/\w+)"', (SERVER / "_app.py").read_text(encoding="utf-8")))
    (container,) = pod()["spec"]["containers"]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["path"] for probe in probes} <= routes
    assert {probe["port"] for probe in probes} == {container["ports"][0]["name"]}


def test_the_options_exist() -> None:
    """The command lines use no option that the server does not have."""
    text = (SERVER / "command.py").read_text(encoding="utf-8")
    there = {f"--{n.replace('_', '-')}" for n in re.findall(r'(?m)^    "(\w+)": \(', text)}
    there |= set(re.findall(r'"(--[a-z-]+)"', text))
    for line in commands():
        used = set(re.findall(r"(--[a-z-]+)", line.partition("finite-memory serve")[2]))
        assert used
        assert used <= there


def test_no_secret_is_written_down() -> None:
    """Tokens and passwords come from the environment or from a secret."""
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    assert text.count("${FINITE_MEMORY_SERVE_TOKEN:?") == 1
    assert text.count("${POSTGRES_PASSWORD:?") == 2
    (container,) = pod()["spec"]["containers"]
    assert all("secretKeyRef" in variable["valueFrom"] for variable in container["env"])
