"""The Grafana dashboard asks for metrics that are exported, and the documents list them all."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finite_memory_core.telemetry import MEASURES

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = ROOT / "docs" / "deploy" / "grafana-dashboard.json"
DOCUMENT = ROOT / "docs" / "telemetry.md"
SERVER = ROOT / "packages/finite-memory-api/src/finite_memory_api/server"

pytestmark = pytest.mark.skipif(not DASHBOARD.is_file(), reason="needs the repository's docs")

SERIES = re.compile(r"(finite_memory_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"[^\"]*\"")
BY = re.compile(r"sum by \(([^)]*)\) \((?:rate\()?(finite_memory_\w+)")


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    made: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return made


def panels() -> list[dict[str, Any]]:
    """Return the panels that ask for something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    """Return all queries, each with its legend."""
    asked = [(t["expr"], t["legendFormat"]) for panel in panels() for t in panel["targets"]]
    variables = [v["query"] for v in dashboard()["templating"]["list"] if v["type"] == "query"]
    return [*asked, *((query["query"], "") for query in variables)]


def exported() -> dict[str, set[str]]:
    """Return the labels of every series that an observer or the server exports."""
    series: dict[str, set[str]] = {}
    for measure in MEASURES:
        labels = set(measure.labels)
        if measure.bounds:
            series[f"{measure.prometheus}_bucket"] = {*labels, "le"}
            series[f"{measure.prometheus}_sum"] = series[f"{measure.prometheus}_count"] = labels
        else:
            series[measure.prometheus] = labels
    return {**series, **dict(server_series())}


def server_series() -> Iterator[tuple[str, set[str]]]:
    """Yield the server's series, from its source: it needs more than core to be imported."""
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse((SERVER / "metrics.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant | ast.Dict)
    }
    counted = (SERVER / "_app.py").read_text(encoding="utf-8")
    for name in (*constants["_HELP"], *constants["_GAUGES"]):
        calls = re.findall(rf'metrics\.add\("{name}"([^)]*)\)', counted)
        labels = {label for call in calls for label in re.findall(r"(\w+)=", call)}
        yield constants["PREFIX"] + name, labels


def test_every_query_asks_for_what_is_exported() -> None:
    """Its metrics exist, with the labels that it selects and groups by; its legend shows those."""
    known = exported()
    assert len(queries()) > 40
    for query, legend in queries():
        found = SERIES.findall(query)
        assert found, query
        for name, selected in found:
            assert name in known, f"{name} of {query}"
            assert {m[1] for m in MATCHER.finditer(selected)} <= known[name], query
        grouped: set[str] = set()
        for labels, name in BY.findall(query):
            asked = {label.strip() for label in labels.split(",")}
            assert asked <= known[name], query
            grouped |= asked - {"le"}
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) == grouped, query
        if query.startswith("label_values"):
            label = query.rstrip(")").rpartition(",")[2].strip()
            assert label in known[found[0][0]]


def test_every_query_is_well_formed() -> None:
    """Brackets close, rates have a window, quantiles are of buckets by their bounds."""
    for query, _ in queries():
        for opening, closing in ("()", "{}", "[]"):
            assert query.count(opening) == query.count(closing), query
        assert query.count("rate(") == query.count("[$__rate_interval]"), query
        for name, _ in SERIES.findall(query):
            assert name.endswith("_bucket") == ("histogram_quantile" in query), query
            counter = name.endswith(("_total", "_bucket", "_sum", "_count"))
            assert counter == ("rate(" in query) or query.startswith("label_values"), query
        if "histogram_quantile" in query:
            assert "sum by (le" in query


def test_everything_that_is_exported_is_on_the_dashboard() -> None:
    """A metric that nobody can look at is a metric too many."""
    shown = {name for query, _ in queries() for name, _ in SERIES.findall(query)}
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert {measure.prometheus for measure in MEASURES} <= asked
    assert {name for name, _ in server_series()} <= asked


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """The classic model: ids, places on a grid of 24 that do not overlap, and a data source."""
    board = dashboard()
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= board.keys()
    assert 36 <= board["schemaVersion"] <= 42
    assert "id" not in board  # Grafana gives it
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert "prometheus" == variables["datasource"]["query"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
        for source in (panel, *panel["targets"]):
            assert {"type": "prometheus", "uid": "${datasource}"} == source["datasource"]
    for name in re.findall(r"\$(\w+|\{\w+\})", json.dumps(board)):
        assert name.strip("{}") in {*variables, "__rate_interval"}


def test_the_documents_list_every_metric() -> None:
    """The table has each measure's name, labels and meaning, and nothing else."""
    rows = re.findall(
        r"^\| `(finite_memory_\w+)` \| ([^|]*) \| ([^|]*) \|$",
        DOCUMENT.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    listed = {name: (labels.replace("`", "").strip(), told.strip()) for name, labels, told in rows}
    assert listed == {m.prometheus: (", ".join(m.labels), m.help) for m in MEASURES}
