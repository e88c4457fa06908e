"""A summarizer that needs no model: it quotes the sentences that say most.

It is extractive: each line of the summary is a sentence somebody said, so it states nothing that
was never said. What it can lose is whatever it has no room for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .blocks import Block
from .counting import TokenCounter
from .facts import speaker_of
from .messages import Message
from .policies.information import asks
from .quoting import chosen_lines, joined
from .text.sentences import sentences


class ExtractiveSummarizer:
    """Chooses sentences by the new words and the facts that they add for their tokens.

    Its lines are word for word themselves, so the ledger gets only the room that it leaves.
    """

    ledger_share = 0.0

    def summarize(
        self, previous: str, blocks: Sequence[Block], max_tokens: int, count: TokenCounter
    ) -> str:
        """See `Summarizer.summarize`."""
        old = dict.fromkeys(line for line in previous.split("\n") if line)
        said = dict.fromkeys(line for block in blocks for line in lines_of(block))
        texts = [*old, *(line for line in said if line not in old)]
        return joined(texts, chosen_lines(texts, len(old), max_tokens, count))


def lines_of(block: Block) -> Iterator[str]:
    """Yield what a block says, a sentence a line, each with its speaker; questions are left out."""
    for message in block.messages:
        speaker = speaker_of(message)
        for call in message.tool_calls:
            yield f"{speaker}: called {' '.join(f'{call.name} {call.arguments}'.split())}"
        yield from (f"{speaker}: {sentence}" for sentence in _sentences(message))


def _sentences(message: Message) -> Iterator[str]:
    text = message.text
    for start, end in sentences(text):
        sentence = " ".join(text[start:end].split())
        if sentence and not asks(sentence):
            yield sentence
