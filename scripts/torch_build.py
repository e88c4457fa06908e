"""Tell which build of PyTorch pip would install here, without installing it.

``python torch_build.py LOCK`` prints ``cpu``, or what stands against it. Run by the Python of the
environment that is to get it.
"""

from __future__ import annotations

import json
import subprocess
import sys


def build_of(report: str) -> str:
    """Return ``cpu`` for a report of pip's on a build without CUDA, else what it brings along."""
    for item in json.loads(report)["install"]:
        metadata = item["metadata"]
        lines = metadata.get("requires_dist", [])
        if metadata["name"] == "torch":
            cuda = [line for line in lines if line.startswith(("nvidia-", "cuda-"))]
            return f"torch {metadata['version']} requires {cuda[0]}" if cuda else "cpu"
    return "pip reports no torch"


def main(lock: str) -> int:
    """Ask pip for a report; only metadata is fetched."""
    pip = (sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps")
    command = [*pip, "--quiet", "--report", "-", "-c", lock, "torch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = build_of(done.stdout) if done.returncode == 0 else "pip finds none"
    print(told)
    return 0 if told == "cpu" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
