"""Train the small model that the quality figures and some tests use.

::

    python benchmarks/kv/train.py            # some thirty minutes on two CPU cores
    python benchmarks/kv/train.py --stories  # goes on from the model that is there: the last stages

A Llama of three layers (rotary positions, grouped queries), trained from a seed on the chats of
`world`. A model learns to look things up only after a phase change, which copying brings on: so
every second batch of the first stage is a random sequence said twice. Then come more facts and
longer chats, and at last stories: facts that replace others, facts that lead to others, people
nobody told of. The result goes to ``benchmarks/kv/model``.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.kv import world

MODEL = Path(__file__).resolve().parent / "model"
IGNORED = -100
LM_WEIGHT = 0.2
"""How much all tokens count beside the answers."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the curriculum.

    Attributes:
        steps: the most steps.
        facts: the most facts in a chat.
        filler: the most words of small talk in a chat.
        batch: chats a step.
        copying: whether every second batch is copying.
        enough: the share of right answers, on average over 50 steps, that ends it early.
        stories: whether chats are stories: what makes them hard.
        fade: whether the learning rate falls to a twentieth on the way.
    """

    steps: int
    facts: int
    filler: int
    batch: int
    copying: bool
    enough: float
    stories: bool = False
    fade: bool = False


STAGES = (
    Stage(4_000, 4, 16, 48, copying=True, enough=0.98),
    Stage(600, 8, 64, 32, copying=False, enough=0.98),
    Stage(600, 12, 160, 16, copying=False, enough=0.98),
    Stage(900, 16, 320, 8, copying=False, enough=1.01, fade=True),
)
STORIES = (
    Stage(1_500, 8, 32, 24, copying=False, enough=0.97, stories=True),
    Stage(500, 12, 160, 12, copying=False, enough=0.98, stories=True),
)
"""What follows, with a new optimizer and the random numbers from their beginning."""


def config() -> LlamaConfig:
    """Return the shape of the model."""
    return LlamaConfig(
        vocab_size=len(world.WORDS),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8_192,
        pad_token_id=world.IDS["<pad>"],
        bos_token_id=world.IDS["<s>"],
        eos_token_id=world.END,
        tie_word_embeddings=True,
    )


def chat(rng: random.Random, stage: Stage) -> tuple[list[int], list[int]]:
    """Return the ids of a chat and the labels of its answers."""
    count = rng.randint(1, stage.facts)
    known, strangers = world.story(rng, count) if stage.stories else (world.facts(rng, count), [])
    ids, labels = [world.IDS["<s>"]], [IGNORED]

    def say(user: str, bot: str, counts: bool) -> None:
        asked = [world.USER, *(world.IDS[w] for w in user.split()), world.END, world.BOT]
        answered = [*(world.IDS[w] for w in bot.split()), world.END]
        ids.extend([*asked, *answered])
        labels.extend([IGNORED] * len(asked))
        labels.extend(answered if counts else [IGNORED] * len(answered))

    for user, bot in world.turns(rng, known, rng.randint(0, stage.filler)):
        say(user, bot, counts=False)
    if stage.stories:
        asked = sorted({fact.name for fact in known} | set(strangers))
        for name in rng.sample(asked, min(len(asked), 6)):
            say(f"recall {name}", world.answer(known, name), counts=True)
    else:
        for fact in rng.sample(known, min(len(known), 6)):
            say(fact.question, fact.answer, counts=True)
    return ids, labels


def chats(rng: random.Random, stage: Stage) -> tuple[Tensor, Tensor]:
    """Return ids and labels of a batch, (batch, length) each, padded at the end."""
    made = [chat(rng, stage) for _ in range(stage.batch)]
    longest = max(len(ids) for ids, _ in made)
    pad = world.IDS["<pad>"]
    ids = torch.tensor([i + [pad] * (longest - len(i)) for i, _ in made])
    labels = torch.tensor([k + [IGNORED] * (longest - len(k)) for _, k in made])
    return ids, labels


def copies(rng: random.Random, batch: int) -> tuple[Tensor, Tensor]:
    """Return sequences of random words, each said twice; the labels are the second half."""
    length = rng.randint(8, 48)
    first = torch.tensor(
        [[rng.randrange(len(world.SPECIAL), len(world.WORDS)) for _ in range(length)]
         for _ in range(batch)]
    )  # fmt: skip
    start = torch.full((batch, 1), world.IDS["<s>"])
    ids = torch.cat([start, first, first], 1)
    labels = torch.cat([torch.full((batch, length + 2), IGNORED), first[:, 1:]], 1)
    return ids, labels


def losses(
    model: LlamaForCausalLM, ids: Tensor, labels: Tensor, talk: bool
) -> tuple[Tensor, float]:
    """Return the loss, and the share of things told that are right."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].flatten(0, 1)
    wanted, following = labels[:, 1:].flatten(), ids[:, 1:].flatten()
    loss = cross_entropy(logits, wanted, ignore_index=IGNORED)
    if talk:
        loss = loss + LM_WEIGHT * cross_entropy(logits, following, ignore_index=world.IDS["<pad>"])
    things = (wanted >= world.IDS[world.THINGS[0]]) & (wanted <= world.IDS[world.THINGS[-1]])
    things |= wanted == world.IDS["unknown"]
    right = (logits.argmax(-1) == wanted)[things]
    return loss, float(right.float().mean()) if len(right) else 0.0


def train(model: LlamaForCausalLM, stages: tuple[Stage, ...], out: Path) -> None:
    """Train through the stages; what each of them made is saved."""
    rng = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    started, done = time.perf_counter(), 0
    total = sum(stage.steps for stage in stages)
    for number, stage in enumerate(stages):
        shares: list[float] = []
        for step in range(stage.steps):
            fade = 1 - step / stage.steps if stage.fade else 1.0
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min(1.0, (done + 1) / 100) * max(0.05, fade)
            copying = stage.copying and step % 2 == 0
            ids, labels = copies(rng, stage.batch) if copying else chats(rng, stage)
            loss, share = losses(model, ids, labels, talk=not copying)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            done += 1
            if not copying:
                shares = [*shares[-49:], share]
            if step % 50 == 49:
                mean = sum(shares) / len(shares)
                minutes = (time.perf_counter() - started) / 60
                print(
                    f"stage {number} step {step + 1:4d} ({done} of {total}): loss {loss:.3f}, "
                    f"right {mean:.3f}, {minutes:.1f} min",
                    flush=True,
                )
                if len(shares) == 50 and mean >= stage.enough:
                    break
        model.save_pretrained(out)


def main() -> int:
    """Train and save."""
    parser = argparse.ArgumentParser(description="Train the small model.")
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it works")
    parser.add_argument("--stories", action="store_true", help="only the stages of stories")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    made: LlamaForCausalLM
    made = LlamaForCausalLM.from_pretrained(MODEL) if asked.stories else LlamaForCausalLM(config())
    model = made.train()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    if asked.quick:
        train(model, (Stage(4, 4, 16, 8, copying=True, enough=1.01),), asked.out)
    else:
        for stages in (STORIES,) if asked.stories else (STAGES, STORIES):
            train(model, stages, asked.out)
    world.tokenizer().save_pretrained(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
