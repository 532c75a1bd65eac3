"""Work spread over processes, one for each core.

Queries have nothing to do with one another, and numpy lets go of Python's lock too rarely for
threads to be of use. The processes are joblib's: they do not import the caller's main module, they
compute with one thread each, and they wait a while for more work before they end.
"""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from asi_verify.checker import TrustedPass
from asi_verify.checker.folder import Way, region_margins
from asi_verify.core.family import RegionFamily
from asi_verify.core.network import Network
from asi_verify.core.properties import Property
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import SplitTree
from asi_verify.errors import UsageError

__all__ = ["margins_on", "portions", "spread"]

Job = TypeVar("Job")
Found = TypeVar("Found")

_JOBS_EACH = 4
"""Jobs for each core: whoever is done early takes over from the others."""


def portions(count: int, cores: int, most: int) -> list[slice]:
    """Some queries in jobs of at most so many each, and enough jobs for all cores."""
    size = most if cores == 1 else min(most, -(-count // (_JOBS_EACH * cores)))
    return [slice(start, min(start + size, count)) for start in range(0, count, max(size, 1))]


@contextmanager
def spread(
    work: Callable[[Job], Found], jobs: Iterable[Job], cores: int
) -> Iterator[Iterator[Found]]:
    """What comes of each job, in the order of the jobs; when the context ends, no job goes on.

    One run at a time has processes; another thread's waits.

    Args:
        work: a function of a module. What it takes and returns is copied between the processes.
        jobs: what it is asked; few are made ahead.
        cores: how many processes; with 1, or for a single job, none besides this one.

    Raises:
        UsageError: there can be no processes, one was ended from outside, or something cannot be
            copied.
    """
    waiting = iter(jobs)
    ahead = list(itertools.islice(waiting, 2))
    every = itertools.chain(ahead, waiting)
    if cores == 1 or len(ahead) < 2:
        yield map(work, every)
        return
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with _ONE_AT_A_TIME:
        try:
            with parallel_config("loky", n_jobs=cores, inner_max_num_threads=1):
                pool = Parallel(batch_size=1, return_as="generator")
        except AssertionError:
            raise UsageError(
                f"cores: {cores}; no processes can be started here; use cores=1"
            ) from None
        try:
            with _ended(pool(delayed(_watched)(work, job, os.getpid()) for job in every)) as found:
                yield found
        except TerminatedWorkerError as error:
            raise UsageError(
                f"cores: {cores}; one of so many processes was ended from outside, as it is where "
                "memory runs out; use fewer"
            ) from error
        except (BrokenProcessPool, pickle.PicklingError) as error:
            raise UsageError(
                f"cores: {cores}; what stages hold, find and raise is copied between processes, "
                f"and cannot be ({error}); use cores=1"
            ) from error


@contextmanager
def _ended(found: Generator[Found, None, None]) -> Iterator[Iterator[Found]]:
    """Answers that nobody waits for any more when the context ends."""
    try:
        yield found
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that there was more to wait for
            found.close()


_ONE_AT_A_TIME = threading.RLock()
"""joblib has one set of processes, and whoever fails ends it for all."""


def _watched(work: Callable[[Job], Found], job: Job, parent: int) -> Found:
    """Work in a process that ends with the one that asked it, however that one ended."""
    if os.getppid() == parent:
        _end_with(parent)
    return work(job)


@lru_cache(maxsize=1)
def _end_with(parent: int) -> None:
    """Watch, from a thread, whether this process is somebody else's child by now."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Asked(NamedTuple):
    """What is asked of the trusted pass; arguments as of ``checker.folder.region_margins``."""

    network: Network
    semantics: Semantics
    family: RegionFamily
    images: npt.NDArray[Any]
    property_: Property
    way: Way
    trees: Sequence[SplitTree]


def _answered(asked: _Asked) -> npt.NDArray[np.float64]:
    trusted = TrustedPass(asked.network, asked.semantics)
    return region_margins(
        trusted, asked.family, asked.images, asked.property_, asked.way, asked.trees
    )


def margins_on(cores: int) -> Callable[..., npt.NDArray[np.float64]]:
    """``checker.folder.region_margins`` by so many processes."""
    return region_margins if cores == 1 else partial(_margins, cores)


def _margins(
    cores: int,
    trusted: TrustedPass,
    family: RegionFamily,
    images: npt.NDArray[Any],
    property_: Property,
    way: Way,
    trees: Sequence[SplitTree],
) -> npt.NDArray[np.float64]:
    jobs = [
        _Asked(
            trusted.network, trusted.semantics, family, images[some], property_, way, trees[some]
        )
        for some in portions(len(images), cores, len(images))
    ]
    with spread(_answered, jobs, cores) as found:
        return np.concatenate([np.zeros(0), *found])
