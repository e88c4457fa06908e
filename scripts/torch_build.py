"""Tell which build of PyTorch would be installed here, without installing it."""

from __future__ import annotations


def build_of(resolved: str) -> str:
    """Return ``cpu`` for a resolution of torch without CUDA, else what stands against it.

    Args:
        resolved: What ``uv pip compile`` wrote: a requirement a line.
    """
    lines = resolved.splitlines()
    torch = next((line for line in lines if line.startswith("torch==")), None)
    if torch is None:
        return "no torch is found"
    cuda = [line for line in lines if line.startswith(("nvidia-", "cuda-"))]
    return f"{torch} requires {cuda[0]}" if cuda else "cpu"
