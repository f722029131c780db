"""`python -m forecasters train|serve`: the program that LOOPCAST_ALGORITHM names; for the image that holds all."""

from __future__ import annotations

import os
import runpy
import sys

ALGORITHMS = ("deepar", "boosted", "statistical", "empirical")

if __name__ == "__main__":
    algorithm = os.environ.get("LOOPCAST_ALGORITHM", "")
    if algorithm not in ALGORITHMS:
        sys.exit(f"LOOPCAST_ALGORITHM is {algorithm!r}: set it to one of {', '.join(ALGORITHMS)}")
    runpy.run_module(f"forecasters.{algorithm}", run_name="__main__", alter_sys=True)
