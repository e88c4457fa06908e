"""Evidence against cost, as a picture: each subject a point."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import hypot, log10
from xml.etree import ElementTree

from .costs import MAIN, Cost

WIDTH, HEIGHT = 860, 600
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 400, 46, 58
_RADIUS = 7.5
_TICKS = (0.05, 0.1, 0.2, 0.5, 1.0)
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 12px; fill: #59636e }
.number { font-size: 10px; font-weight: 600; fill: #ffffff; text-anchor: middle }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.recall { fill: #0969da } .plain { fill: #6e7781 } .other { fill: #bc4c00 }
.back { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d }
  .number { fill: #0d1117 } .back { fill: #0d1117 }
  .recall { fill: #58a6ff } .plain { fill: #9198a1 } .other { fill: #f0883e }
}
"""


def draw(costs: Sequence[Cost]) -> str:
    """Return the picture as SVG; the first of `costs` is what the others are compared with."""
    base = costs[0].prices[MAIN]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t">',
        '<title id="t">Evidence in the context against the cost of a turn</title>',
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        _text(_LEFT - 40, 26, "Evidence in the context against the cost of a turn", "title"),
        *_axes(),
    ]
    placed: list[tuple[float, float]] = []
    for number, cost in enumerate(costs, 1):
        x, y = _apart(_x(cost.prices[MAIN] / base), _y(cost.evidence), placed)
        placed.append((x, y))
        row = _TOP + 14 + 22 * number
        for cx, cy in ((x, y), (WIDTH - _RIGHT + 26, row - 4)):
            parts.append(
                f'<circle class="{_kind(cost)}" cx="{cx:.1f}" cy="{cy:.1f}" r="{_RADIUS}"/>'
            )
            parts.append(_text(cx, cy + 3.6, str(number), "number"))
        parts.append(_text(WIDTH - _RIGHT + 42, row, cost.name.replace("`", "")))
    svg = "\n".join([*parts, "</svg>", ""])
    ElementTree.fromstring(svg)  # raises if it is not well-formed
    return svg


def _axes() -> list[str]:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for share in range(0, 101, 20):
        y = _y(share / 100)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 40, y + 4, f"{share} %", "small"))
    for tick in _TICKS:
        x = _x(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(_text(x - 10, bottom + 18, f"{tick:g}", "small"))
    prices = MAIN.replace(" / ", ", read at ")
    label = f"cost of a turn, trimming every turn = 1 (cache written at {prices})"
    parts.append(_text(_LEFT - 40, bottom + 40, label, "small"))
    return parts


def _x(cost: float) -> float:
    low, high = log10(_TICKS[0]), log10(1.3)
    return _LEFT + (WIDTH - _RIGHT - _LEFT) * (log10(cost) - low) / (high - low)


def _y(evidence: float) -> float:
    return _TOP + (HEIGHT - _BOTTOM - _TOP) * (1 - evidence) * 0.98 + 6


def _apart(x: float, y: float, placed: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the free place that is nearest to a point, so that none covers another's number."""
    steps = [(dx, dy) for dx in range(-24, 25, 2) for dy in range(-24, 25, 2)]
    steps.sort(key=lambda step: (hypot(*step), step))
    free = (
        (x + dx, y + dy)
        for dx, dy in steps
        if all(hypot(x + dx - ox, y + dy - oy) >= 2 * _RADIUS for ox, oy in placed)
    )
    return next(free, (x, y))


def _kind(cost: Cost) -> str:
    if "recall" in cost.name:
        return "recall"
    return "plain" if cost.name.startswith(("sliding", "hybrid")) else "other"


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text{chosen} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
