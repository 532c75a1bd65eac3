"""Times that can be compared: medians over repetitions in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

__all__ = ["median_seconds"]


def median_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The median over repetitions, after one that is not counted; more of what takes little."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
