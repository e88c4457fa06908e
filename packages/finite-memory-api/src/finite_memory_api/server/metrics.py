"""What the server counts, as text for Prometheus."""

from __future__ import annotations

from collections import Counter

PREFIX = "finite_memory_serve_"
KIND = "text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    "requests_total": "Requests, by endpoint and by the status that the client got.",
    "passed_total": "Requests that passed through unbounded, by what had failed.",
    "refused_total": "Requests that were refused here, by status.",
    "resent_total": "Requests that were made shorter, and sent again, after the upstream refused.",
    "hang_ups_total": "Requests that the client left before their answer had ended.",
    "cut_total": "Answers that the upstream left unfinished.",
    "messages_total": "Messages that clients sent.",
    "dropped_total": "Messages that were not sent upstream.",
    "recalled_total": "Messages that were brought back from an archive.",
    "evictions_total": "Evictions.",
    "tokens_total": "Tokens that were sent upstream, by our own corrected count.",
    "prompt_tokens_total": "Tokens of prompts, as the upstream reported them.",
    "cached_tokens_total": "Those of them that the upstream's cache served.",
    "bound_seconds_total": "Seconds spent on bounding requests.",
}
_GAUGES = {
    "in_flight": "Requests that are under way.",
    "cursors": "Sessions whose cursor is held.",
}


class Metrics:
    """Counts, by name and labels."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds = 0.0
        self.in_flight = 0

    def add(self, name: str, amount: int = 1, **labels: object) -> None:
        """Count `amount` more of `name`, which is one of those in this module."""
        told = ",".join(f'{key}="{value}"' for key, value in labels.items())
        self._counts[name, told] += amount

    def took(self, seconds: float) -> None:
        """Add to the time that was spent on bounding."""
        self._seconds += seconds

    def count(self, name: str) -> int:
        """Return how many of `name` were counted, whatever the labels."""
        return sum(n for (known, _), n in self._counts.items() if known == name)

    def text(self, cursors: int) -> str:
        """Return everything in Prometheus' text format."""
        lines = []
        for name, told in _HELP.items():
            lines += [f"# HELP {PREFIX}{name} {told}", f"# TYPE {PREFIX}{name} counter"]
            if name == "bound_seconds_total":
                lines.append(f"{PREFIX}{name} {self._seconds:.6f}")
                continue
            found = sorted(
                (label, n) for (known, label), n in self._counts.items() if known == name
            )
            for label, n in found or [("", 0)]:
                lines.append(f"{PREFIX}{name}{f'{{{label}}}' if label else ''} {n}")
        for name, value in (("in_flight", self.in_flight), ("cursors", cursors)):
            lines += [f"# HELP {PREFIX}{name} {_GAUGES[name]}", f"# TYPE {PREFIX}{name} gauge"]
            lines.append(f"{PREFIX}{name} {value}")
        return "\n".join(lines) + "\n"
