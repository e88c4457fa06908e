"""Facts planted in small talk of ten languages, taken from the parallel conversations."""

from __future__ import annotations

from random import Random
from statistics import mean

from benchmarks.languages.conversations import CODES, load
from benchmarks.tables import Table
from finite_memory_core import Memory, Message

PLANTED = {
    "en": ("The rent is 1,250 euros.", "We decided to take the flat in Turin."),
    "de": ("Die Miete beträgt 1.250 Euro.", "Wir haben entschieden, nach Turin zu ziehen."),
    "es": ("El alquiler es de 1.250 euros.", "Hemos decidido mudarnos a Turín."),
    "fi": ("Vuokra on 1250 euroa.", "Päätimme muuttaa Torinoon."),
    "tr": ("Kira 1.250 avro.", "Torino'ya taşınmaya karar verdik, karar kesin."),
    "ru": ("Квартира стоит 1250 евро.", "Мы решили переехать в Турин."),
    "ar": ("الإيجار ١٢٥٠ يورو.", "قررنا الانتقال إلى تورينو."),
    "hi": ("किराया १२५० यूरो है।", "हमने ट्यूरिन जाने का फ़ैसला किया।"),
    "ja": ("家賃は1250ユーロです。", "トリノに引っ越すことに決めました。"),
    "zh": ("房租是1250欧元。", "我们决定搬到都灵去。"),
}
BUDGETS = (1_024, 2_048)


def language_table(seeds: int) -> Table:
    """Tabulate whether a number and a decision outlive a conversation in each language."""
    rows = []
    for code in CODES:
        cells = []
        for budget in BUDGETS:
            kept = [_kept(code, budget, seed) for seed in range(seeds)]
            cells += [f"{100 * mean(k[i] for k in kept):.0f}" for i in (0, 1)]
        rows.append([load(code).name, *cells])
    columns = [
        f"{what}, {budget:,} tokens" for budget in BUDGETS for what in ("a number", "a decision")
    ]
    note = (
        "Two facts are said among the first eight of the sixty turns of a conversation of two "
        "friends, which is itself full of names, days and numbers that the summary wants to keep "
        f"as well; {seeds} places each. The default summarizer, 15 % of the budget."
    )
    return Table(
        "Facts that stand in the context at the end of a conversation, percent of runs",
        ["", *columns],
        rows,
        [note],
    )


def _kept(code: str, budget: int, seed: int) -> tuple[bool, bool]:
    random = Random(seed)
    turns = list(load(code).turns)
    for fact in PLANTED[code]:
        turns.insert(random.randrange(8), Message.user(fact))
    memory = Memory(budget, "rolling_summary")
    memory.append(*turns)
    shown = "\n".join(message.text for message in memory.context())
    number, decision = (fact in shown for fact in PLANTED[code])
    return number, decision
