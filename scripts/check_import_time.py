"""CPU that ``import PACKAGE`` costs above a bare interpreter: ``check_import_time.py PACKAGE MS``.

Both are started in fresh processes, in turns so that a drift of the machine hits both alike; the
user and system time of each child is read from the system. The median of the pairs' differences
is held against ``MS`` milliseconds. Needs ``os.wait4``, which Windows lacks.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

PAIRS = 25


def child_milliseconds(program: str) -> float:
    """User and system CPU of one fresh interpreter that runs the program."""
    child = subprocess.Popen([sys.executable, "-I", "-c", program])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{program!r} exited with {child.returncode}.")
    return (usage.ru_utime + usage.ru_stime) * 1000


def main(package: str, limit: str) -> None:
    """Print the medians; exits when the difference is over the limit."""
    program = f"import {package}"
    child_milliseconds(program)
    pairs = [(child_milliseconds("pass"), child_milliseconds(program)) for _ in range(PAIRS)]
    bare = statistics.median(first for first, _ in pairs)
    cost = statistics.median(second - first for first, second in pairs)
    spread = statistics.quantiles([second - first for first, second in pairs], n=4)
    print(
        f"import {package}: {cost:.1f} ms CPU above a bare interpreter ({bare:.1f} ms); "
        f"median of {PAIRS} pairs, quartiles {spread[0]:.1f} to {spread[2]:.1f}; "
        f"the limit is {limit} ms"
    )
    if cost >= float(limit):
        raise SystemExit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
