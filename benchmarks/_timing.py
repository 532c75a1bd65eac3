"""Times that can be compared: medians over repetitions in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

__all__ = ["median_seconds"]

_REPEATS = 5


def median_seconds(work: Callable[[], object]) -> float:
    """The median over a few repetitions, after one that is not counted."""
    work()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
