"""A picture of a replay, as SVG: what stood in the context over time, and what each turn cost.

Panels share the x axis, the turns. In a panel of lifetimes each block of the transcript is a line
at its own height, the oldest at the bottom, from the turn where it came in to the turn where it
left; summaries have a lane below. The last panel has the tokens of each turn beside those of the
full history.

The file stands alone (no script, font or link) and follows the reader's light or dark theme.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby
from math import ceil, floor, log10

from .replaying import Lifetime, Replay
from .terminal import clean

_WIDTH, _LEFT, _RIGHT = 960, 76, 20
_TOP, _GAP = 78, 34
_ALONE, _SMALL, _TOKENS = 320, 120, 240
_LANE, _LANE_GAP = 8, 4
_SPAN = _WIDTH - _LEFT - _RIGHT
_FINEST = 4  # points of a curve that a pixel column can show: first, lowest, highest, last

_LIGHT = {
    "back": "#ffffff", "ink": "#1f2328", "dim": "#59636e", "rule": "#d1d9e0",
    "kept": "#3b78b8", "pinned": "#d2691e", "summary": "#2f8f5b",
    "full": "#8c959f", "budget": "#c0392b", "low": "#c0392b",
    "line0": "#0072b2", "line1": "#c75000", "line2": "#00875f", "line3": "#a0468f",
    "line4": "#8a6d00",
}  # fmt: skip
_DARK = {
    "back": "#0d1117", "ink": "#e6edf3", "dim": "#9198a1", "rule": "#3d444d",
    "kept": "#6cb6ff", "pinned": "#f69d50", "summary": "#57ab5a",
    "full": "#7d8590", "budget": "#ff7b72", "low": "#ff7b72",
    "line0": "#56b4e9", "line1": "#ff9c5a", "line2": "#35c9a0", "line3": "#e28fcf",
    "line4": "#d8bd4a",
}  # fmt: skip


def draw(replays: Sequence[Replay], title: str) -> str:
    """Return the SVG of one replay, or of several of the same transcript."""
    picture = _Picture(replays, title)
    return "\n".join([*picture.head(), *picture.body(), "</svg>", ""])


class _Picture:
    """Where everything stands.

    Attributes:
        turns: how many there are, the width of the x axis.
        ranks: the place of each block, by the transcript index of its first message.
        rows: how many blocks there are, the height of the y axis of lifetimes; 1 for none.
    """

    def __init__(self, replays: Sequence[Replay], title: str) -> None:
        self._replays = replays
        self._title = clean(title)
        self._alone = len(replays) == 1
        self._panel = _ALONE if self._alone else _SMALL
        self.turns = max(len(replay.turns) for replay in replays)
        seen = {life.index for replay in replays for life in replay.lifetimes if life.index >= 0}
        self.ranks = {index: rank for rank, index in enumerate(sorted(seen))}
        self.rows = max(1, len(seen))
        self._summarized = [
            any(life.kind == "summary" for life in replay.lifetimes) for replay in replays
        ]

    # -- the whole ------------------------------------------------------------------------------

    @property
    def _tokens_top(self) -> int:
        lanes = sum(self._summarized) * (_LANE + _LANE_GAP)
        return _TOP + len(self._replays) * (self._panel + _GAP) + lanes

    @property
    def _height(self) -> int:
        return self._tokens_top + _TOKENS + 52

    def head(self) -> Iterator[str]:
        """Yield the opening, the styles and the title."""
        said = f"What stays in the context: {self._title}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {self._height}" '
            f'width="{_WIDTH}" height="{self._height}" role="img" aria-labelledby="t d">'
        )
        yield f'<title id="t">{escape(said)}</title>'
        yield f'<desc id="d">{escape(self._description())}</desc>'
        yield f"<style>{_styles()}</style>"
        yield f'<rect class="back" width="{_WIDTH}" height="{self._height}"/>'
        yield _text(_LEFT, 28, said, "head")

    def _description(self) -> str:
        settings, last = self._replays[0].settings, self._replays[0].turns[-1]
        by = f" by {clean(settings.policy)}" if self._alone else ""
        return (
            f"{last.number:,} turns through a context of {settings.budget:,} tokens{by}; the full "
            f"history came to {last.full_tokens:,}."
        )

    def body(self) -> Iterator[str]:
        """Yield the legend and the panels."""
        yield _text(_LEFT, 48, self._description(), "dim")
        yield from self._legend()
        top = _TOP
        for replay, summarized in zip(self._replays, self._summarized, strict=True):
            yield from self._lifetimes(replay, top, summarized)
            top += self._panel + _GAP + (_LANE + _LANE_GAP if summarized else 0)
        yield from self._tokens(self._tokens_top)

    def _legend(self) -> Iterator[str]:
        kinds = {life.kind for replay in self._replays for life in replay.lifetimes}
        x = _LEFT
        for kind, label in (
            ("kept", "block in the context"),
            ("pinned", "instructions and pinned blocks"),
            ("summary", "summary of what left"),
        ):
            if kind in kinds:
                yield f'<path class="{kind}" stroke-width="6" d="M{x} 62h18"/>'
                yield _text(x + 24, 66, label, "dim")
                x += 40 + 7 * len(label)

    def _x(self, turn: float) -> float:
        """Return where turn `turn` begins; turn 1 begins at the left edge."""
        return _LEFT + _SPAN * (min(turn, self.turns + 1) - 1) / self.turns

    # -- lifetimes ------------------------------------------------------------------------------

    def _lifetimes(self, replay: Replay, top: int, summarized: bool) -> Iterator[str]:
        bottom = top + self._panel
        name = "" if self._alone else replay.settings.policy
        yield f'<g id="lifetimes-{escape(clean(replay.settings.policy))}">'
        yield from self._frame(top, bottom, "block")
        yield from _y_axis(self.rows, top, bottom)
        height = max(self._panel / self.rows, 0.9)
        lives = sorted(replay.lifetimes, key=lambda life: life.kind)
        for kind, group in groupby(lives, key=lambda life: life.kind):
            lane = kind == "summary"
            level = bottom + _LANE_GAP + _LANE / 2 if lane else None
            lines = [self._line(life, top, bottom, level) for life in group]
            width = _LANE if lane else height
            yield _path(kind, width, "".join(dict.fromkeys(lines)), len(lines))
        if name:
            yield _text(_LEFT + 8, top + 17, name, "name")
        if self._alone:
            yield from self._x_axis(bottom + (_LANE + _LANE_GAP if summarized else 0))
        yield "</g>"

    def _line(self, life: Lifetime, top: int, bottom: int, level: float | None) -> str:
        start = self._x(life.start)
        end = self._x(self.turns + 1 if life.end is None else life.end)
        y = level
        if y is None:
            y = bottom - (self.ranks[life.index] + 0.5) / self.rows * (bottom - top)
        gap = 0.8 if level is not None else 0  # between two summaries
        return f"M{_short(start)} {_short(y)}h{_short(max(end - start - gap, 0.5))}"

    def _frame(self, top: int, bottom: int, label: str) -> Iterator[str]:
        yield f'<path class="rule" d="M{_LEFT} {top}V{bottom}H{_WIDTH - _RIGHT}"/>'
        middle = (top + bottom) / 2
        turned = f"rotate(-90 14 {_short(middle)})"
        yield _text(14, middle, label, "dim", f'text-anchor="middle" transform="{turned}"')

    def _x_axis(self, y: float, label: str = "") -> Iterator[str]:
        for turn in _ticks(0, self.turns, 10):
            if 1 <= turn <= self.turns:
                x = self._x(turn + 0.5)
                yield f'<path class="rule" d="M{_short(x)} {_short(y)}v4"/>'
                yield _text(x, y + 17, f"{turn:,}", "dim", 'text-anchor="middle"')
        if label:
            middle = _LEFT + _SPAN / 2
            yield _text(middle, y + 38, label, "dim", 'text-anchor="middle"')

    # -- tokens ---------------------------------------------------------------------------------

    def _tokens(self, top: int) -> Iterator[str]:
        bottom = top + _TOKENS
        settings, turns = self._replays[0].settings, self._replays[0].turns
        scale = _Scale(settings.budget, max(turn.full_tokens for turn in turns), top, bottom)
        yield '<g id="tokens">'
        yield from self._frame(top, bottom, "tokens per turn")
        yield from scale.axis()
        full = [(turn.number, turn.full_tokens) for turn in turns]
        yield self._curve("full", "full", full, scale)
        for i, replay in enumerate(self._replays):
            points = [(turn.number, turn.tokens) for turn in replay.turns]
            yield self._curve(f"line{i % 5}", replay.settings.policy, points, scale)
        low = self._replays[0].stats.low_water * (settings.budget - settings.reserve)
        for kind, tokens in (("budget", settings.budget), ("low", low)):
            yield f'<path class="{kind}" d="M{_LEFT} {_short(scale.y(tokens))}h{_SPAN}"/>'
        yield from self._names(top)
        yield from self._x_axis(bottom, "turns (calls of a model)")
        yield "</g>"

    def _curve(self, kind: str, name: str, points: Sequence[tuple[int, int]], scale: _Scale) -> str:
        drawn = " ".join(
            f"{_short(self._x(turn + 0.5))},{_short(scale.y(tokens))}"
            for turn, tokens in _thinned(points)
        )
        return f'<polyline class="{kind}" data-name="{escape(clean(name))}" points="{drawn}"/>'

    def _names(self, top: int) -> Iterator[str]:
        """Yield what the lines are, in a row above them."""
        named = [("full", "full history"), ("budget", "budget"), ("low", "low water")]
        named += [(f"line{i % 5}", r.settings.policy) for i, r in enumerate(self._replays)]
        x, y = _LEFT + 10, top + 12
        for kind, label in named:
            yield f'<path class="{kind}" d="M{x} {y}h18"/>'
            yield _text(x + 23, y + 4, clean(label), "dim")
            x += 38 + 7 * len(label)


class _Scale:
    """The y axis of tokens.

    Where the full history grows far beyond the budget, the axis is broken: the part up to the
    budget takes most of the height, the rest is compressed above a marked break.
    """

    def __init__(self, budget: int, most: int, top: int, bottom: int) -> None:
        self._top, self._bottom = top + 24, bottom  # the names stand above
        self._most = max(most, budget) * 1.02
        self._break = budget * 1.08
        self.broken = self._most > 2.5 * budget
        share = 0.62 if self.broken else self._break / self._most
        self._level = bottom - share * (bottom - self._top)

    def y(self, tokens: float) -> float:
        """Return the height of `tokens`."""
        if tokens <= self._break:
            return self._bottom - tokens / self._break * (self._bottom - self._level)
        share = (tokens - self._break) / max(1, self._most - self._break)
        return self._level - share * (self._level - self._top)

    def axis(self) -> Iterator[str]:
        """Yield ticks with their numbers, and the break."""
        ticks = _ticks(0, self._break if self.broken else self._most, 5)
        if self.broken:
            ticks += [tick for tick in _ticks(0, self._most, 3) if tick > 1.5 * self._break]
            y = _short(self._level)
            yield f'<path class="rule" d="M{_LEFT} {y}h{_SPAN}" stroke-dasharray="2 5"/>'
            yield f'<path class="back" d="M{_LEFT - 6} {y}l12 -4v5l-12 4z"/>'
            yield f'<path class="rule" d="M{_LEFT - 6} {y}l12 -4m0 5l-12 4"/>'
            right = _WIDTH - _RIGHT
            note = "scale changes here"
            yield _text(right, self._level - 5, note, "note", 'text-anchor="end"')
        for tick in ticks:
            yield from _tick(self.y(tick), f"{tick:,}")


def _y_axis(count: int, top: int, bottom: int) -> Iterator[str]:
    for tick in _ticks(0, count, 4):
        yield from _tick(bottom - tick / count * (bottom - top), f"{tick:,}")


def _tick(y: float, label: str) -> Iterator[str]:
    yield f'<path class="rule" d="M{_LEFT - 4} {_short(y)}h4"/>'
    yield _text(_LEFT - 8, y + 4, label, "dim", 'text-anchor="end"')


def _ticks(low: float, high: float, count: int) -> list[int]:
    """Return about `count` round numbers in [low, high], at distances of 1, 2 or 5 times 10^n."""
    rough = max(1.0, (high - low) / count)
    power = 10 ** floor(log10(rough))
    step = int(power * next(m for m in (1, 2, 5, 10) if m * power >= rough))
    return list(range(ceil(low / step) * step, floor(high) + 1, step))


def _thinned(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return at most as many points as can be told apart, peaks and troughs among them."""
    if len(points) <= _FINEST * _SPAN:
        return list(points)
    size = ceil(len(points) / _SPAN)
    thinned: list[tuple[int, int]] = []
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        ends = (bucket[0], min(bucket, key=_tokens), max(bucket, key=_tokens), bucket[-1])
        thinned += sorted(set(ends))
    return thinned


def _tokens(point: tuple[int, int]) -> int:
    return point[1]


def _path(kind: str, width: float, d: str, count: int) -> str:
    return f'<path class="{kind}" data-count="{count}" stroke-width="{_short(width)}" d="{d}"/>'


def _text(x: float, y: float, text: str, kind: str, more: str = "") -> str:
    place = f'x="{_short(x)}" y="{_short(y)}"'
    return f'<text {place} class="{kind}" {more}>{escape(text)}</text>'


def _short(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _styles() -> str:
    dark = "".join(_rules(_DARK))
    fixed = (
        "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif}"
        ".head{font-size:17px;font-weight:600}.name{font-weight:600}.note{font-size:10px}"
        "path,polyline{fill:none}polyline{stroke-width:1.4;stroke-linejoin:round}"
        ".full,.budget,.low{stroke-width:1.3}.full{stroke-dasharray:6 3}"
        ".low{stroke-dasharray:2 3}"
    )
    light = "".join(_rules(_LIGHT))
    return f"{fixed}{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _rules(colors: dict[str, str]) -> Iterable[str]:
    texts = {"ink": ".head,.name", "dim": ".dim,.note"}
    for name, color in colors.items():
        if name == "back":
            yield f".back{{fill:{color}}}"
        elif name in texts:
            yield f"{texts[name]}{{fill:{color}}}"
        else:
            yield f".{name}{{stroke:{color}}}"
