"""Helpers of a thread that computed: they leave when told to, and come back when needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="counts threads as Linux tells them"
)

COUNTED = """
import os, torch
from finite_memory_local.teams import dismiss

def threads():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(3)
total = torch.ones(10**7).sum()
before = threads()
assert dismiss()
assert threads() == before - 2, (before, threads())
assert torch.ones(10**7).sum() == total and torch.get_num_threads() == 3
assert threads() == before, (before, threads())
assert dismiss() and dismiss() and threads() == before - 2
"""

REPLYING = """
import os, torch
from families import context, model, tokenizer
from finite_memory_core import Message
from finite_memory_local import HuggingFaceBackend
from finite_memory_local.teams import dismiss

def has_helpers():
    before = len(os.listdir("/proc/self/task"))
    dismiss()
    return len(os.listdir("/proc/self/task")) < before

torch.set_num_threads(3)
loaded = model("Llama")
torch.ones(10**7).sum()
assert has_helpers()
torch.ones(10**7).sum()
backend = HuggingFaceBackend(loaded, tokenizer=tokenizer(), max_new_tokens=4, min_new_tokens=4)
assert not has_helpers(), "whoever built it need not be who asks"
for _ in range(2):
    torch.ones(10**7).sum()
    assert list(backend.stream(context(Message.user("Who am I?"))))
    assert not has_helpers(), "whoever waits for a reply needs none"
"""


FORKING = """
import os, signal, torch
from families import context, model, tokenizer
from finite_memory_core import Message
from finite_memory_local import HuggingFaceBackend

torch.set_num_threads(3)
backend = HuggingFaceBackend(model("Llama"), tokenizer=tokenizer(), max_new_tokens=4)
torch.ones(10**7).sum()
child = os.fork()
if not child:
    signal.alarm(240)
    assert list(backend.stream(context(Message.user("Who am I?"))))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0, "the child ended badly, or never"
"""


def run(code: str) -> None:
    """Run it in a fresh process, whose threads are its own."""
    beside = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=beside, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_helpers_leave_and_come_back() -> None:
    """As many as before, with the same outcome; whoever has none may say it again."""
    run(COUNTED)


def test_whoever_asks_for_a_reply_keeps_no_helpers_meanwhile() -> None:
    """Else the process has more than CPUs, and those of the reply fall asleep: see `teams`."""
    run(REPLYING)


def test_a_forked_process_waits_for_no_helpers_of_its_parent() -> None:
    """They are not there, and whoever lets them go would wait for them to go."""
    run(FORKING)
