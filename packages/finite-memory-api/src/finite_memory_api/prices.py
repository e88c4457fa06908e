"""What hosted models cost: a dated table; ``prices=`` overrides it where it is out of date.

US dollars for a million tokens, the standard tier, prompts of ordinary length: batch and priority
tiers, and what some providers add for very long prompts, are not in it.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

from finite_memory_core import Prices

DATED = date(2026, 11, 27)
"""When the table was last gone through."""

_5_MINUTES, _30_MINUTES, _1_HOUR, _HOURS = 300.0, 1_800.0, 3_600.0, 7_200.0


class Row(NamedTuple):
    """The prices of `model`, whatever date or version of it is asked for."""

    model: str
    input: float
    output: float
    cached: float
    written: float
    minimum: int = 1_024


# Source: the provider's price page, platform.claude.com/docs/en/about-claude/pricing, October
# 2026. Writes are those of the five-minute cache. The minimum is the most that any page names for
# the model; whether a prompt was cached is read from the usage, never from this.
_ANTHROPIC = (
    Row("claude-fable-5-1", 10, 50, 0.25, 12.5, 2_048),
    Row("claude-fable-5", 10, 50, 1, 12.5, 2_048),
    Row("claude-opus-5-5", 4, 20, 0.2, 5, 4_096),
    Row("claude-opus-5", 5, 25, 0.5, 6.25, 4_096),
    Row("claude-opus-4-8", 5, 25, 0.5, 6.25, 4_096),
    Row("claude-opus-4-7", 5, 25, 0.5, 6.25, 4_096),
    Row("claude-opus-4-6", 5, 25, 0.5, 6.25, 4_096),
    Row("claude-opus-4-5", 5, 25, 0.5, 6.25, 4_096),
    Row("claude-opus-4-1", 15, 75, 1.5, 18.75),
    Row("claude-opus-4-0", 15, 75, 1.5, 18.75),
    Row("claude-opus-4", 15, 75, 1.5, 18.75),
    Row("claude-sonnet-5-5", 2, 10, 0.1, 2.5, 2_048),
    Row("claude-sonnet-5", 2, 10, 0.2, 2.5, 2_048),
    Row("claude-sonnet-4-6", 3, 15, 0.3, 3.75, 2_048),
    Row("claude-sonnet-4-5", 3, 15, 0.3, 3.75, 2_048),
    Row("claude-sonnet-4-0", 3, 15, 0.3, 3.75, 2_048),
    Row("claude-sonnet-4", 3, 15, 0.3, 3.75, 2_048),
    Row("claude-haiku-5-5", 0.1, 0.5, 0.01, 0.125, 4_096),
    Row("claude-haiku-4-5", 1, 5, 0.1, 1.25, 4_096),
)

# Source: openai.com/api/pricing as reported by trackers of it, June to October 2026. Models from
# 5.6 on charge for writing; before that, writing costs what reading without a cache costs.
# Embeddings, here and below, cost what they cost in 2025.
_OPENAI = (
    Row("gpt-6.1-terra", 1, 5, 0.05, 1.25),
    Row("gpt-6-sol", 2, 10, 0.2, 2.5),
    Row("gpt-6-luna", 0.1, 0.5, 0.01, 0.125),
    Row("gpt-5.6", 5, 30, 0.5, 6.25),
    Row("gpt-5.6-sol", 5, 30, 0.5, 6.25),
    Row("gpt-5.6-terra", 2.5, 15, 0.25, 3.125),
    Row("gpt-5.6-luna", 1, 6, 0.1, 1.25),
    Row("gpt-5.5", 5, 30, 0.5, 5),
    Row("gpt-5.4", 2.5, 15, 0.25, 2.5),
    Row("gpt-5.4-mini", 0.75, 4.5, 0.075, 0.75),
    Row("gpt-5.4-nano", 0.2, 1.25, 0.02, 0.2),
    Row("gpt-5.2", 1.75, 14, 0.175, 1.75),
    Row("gpt-5-mini", 0.25, 2, 0.025, 0.25),
    Row("gpt-5-nano", 0.05, 0.4, 0.005, 0.05),
    Row("gpt-5", 1.25, 10, 0.125, 1.25),
    Row("gpt-4.1", 2, 8, 0.5, 2),
    Row("gpt-4.1-mini", 0.4, 1.6, 0.1, 0.4),
    Row("gpt-4o", 2.5, 10, 1.25, 2.5),
    Row("gpt-4o-mini", 0.15, 0.6, 0.075, 0.15),
    Row("text-embedding-3-small", 0.02, 0, 0.02, 0.02),
    Row("text-embedding-3-large", 0.13, 0, 0.13, 0.13),
    Row("text-embedding-ada-002", 0.1, 0, 0.1, 0.1),
)

# Source: api-docs.deepseek.com/quick_start/pricing as reported in June 2026 (dollars, peak hours).
_DEEPSEEK = (
    Row("deepseek-v4-flash", 0.14, 0.28, 0.0028, 0.14, 64),
    Row("deepseek-flash", 0.14, 0.28, 0.0028, 0.14, 64),
    Row("deepseek-v4-pro", 0.435, 0.87, 0.003625, 0.435, 64),
)

# Source: ai.google.dev/gemini-api/docs/pricing, 2025; prompts of up to 200,000 tokens.
_GEMINI = (
    Row("gemini-2.5-pro", 1.25, 10, 0.125, 1.25, 2_048),
    Row("gemini-2.5-flash", 0.3, 2.5, 0.03, 0.3, 2_048),
    Row("gemini-2.5-flash-lite", 0.1, 0.4, 0.01, 0.1, 2_048),
    Row("gemini-embedding-001", 0.15, 0, 0.15, 0.15),
)

# Source: mistral.ai/pricing, 2025; its cache is not in the table.
_MISTRAL = (Row("mistral-embed", 0.1, 0, 0.1, 0.1),)

TABLE = {
    "anthropic": (_5_MINUTES, _ANTHROPIC),
    "azure": (_30_MINUTES, _OPENAI),
    "deepseek": (_HOURS, _DEEPSEEK),
    "gemini": (_5_MINUTES, _GEMINI),
    "mistral": (0.0, _MISTRAL),
    "openai": (_30_MINUTES, _OPENAI),
}
"""By profile: the seconds that a cached prefix lives after its last use, and the rows."""


_DATE = r"\d{8}|\d{4}-\d\d-\d\d|\d\d-\d{4}|\d\d-\d\d|\d{3,4}"
_SAME = re.compile(rf"(?:[-@](?:latest|preview|(?:preview-)?(?:{_DATE})))?")
"""What may follow a model's name without making it another model: ``-mini`` does, a date not."""


def prices_of(profile: str, model: str, ttl: str | None = None) -> Prices | None:
    """Return what `model` costs at a provider; None where the table does not know it.

    Args:
        profile: the provider, as profiles name it.
        model: the provider's name of the model.
        ttl: the lifetime that breakpoints ask for. At Anthropic writing for an hour costs twice
            the input; OpenAI's lifetimes cost the same.
    """
    seconds, rows = TABLE.get(profile, (0.0, ()))
    model = model.removeprefix("models/")
    fitting = [
        row
        for row in rows
        if model.startswith(row.model) and _SAME.fullmatch(model, len(row.model))
    ]
    if not fitting:
        return None
    row = max(fitting, key=lambda row: len(row.model))
    written = row.written
    if profile == "anthropic" and ttl == "1h":
        seconds, written = _1_HOUR, 2 * row.input
    elif profile in ("openai", "azure") and ttl == "12h":
        seconds = 12 * _1_HOUR
    return Prices(row.input, row.output, row.cached, written, seconds, row.minimum)


def cost(prices: Prices, total: int, cached: int, written: int, reply: int) -> float:
    """Return US dollars for one reply; `total` holds what was `cached` and `written`."""
    rest = max(0, total - cached - written)
    parts = (
        rest * prices.input,
        cached * prices.cached,
        written * prices.written,
        reply * prices.output,
    )
    return sum(parts) / 1_000_000
