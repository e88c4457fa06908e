"""Tiny models are fastest on one thread, and a busy machine stays usable."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
