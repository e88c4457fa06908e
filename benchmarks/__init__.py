"""The benchmarks. `benchmarks/run.py` is the entry; every figure in the docs comes from it."""
