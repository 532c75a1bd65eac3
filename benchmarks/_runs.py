"""Runs that benchmarks share: ``asi-verify run``, each made once, in a process of its own.

A run lies in ``RUNS`` under a name that says what was asked. One that was stopped goes on there;
one that is finished is not made again, whichever benchmark asks for it. What it cost lies beside
it, since a folder in which a run is to begin may hold nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from _results import RUNS

__all__ = ["BOUNDS", "NETWORK", "RADIUS", "Cost", "Ended", "Wanted", "keep", "made", "measured"]

NETWORK = "small-cnn"
RADIUS = "1/255"
BOUNDS = "intervals"


@dataclass(frozen=True)
class Wanted:
    """What is asked of a run; all else has its default.

    Attributes:
        dataset: the data set's name.
        seed: of everything random.
        network: the architecture.
        radius: that the network is corrected for, a fraction.
        bounds: that it is trained on.
    """

    dataset: str
    seed: int
    network: str = NETWORK
    radius: str = RADIUS
    bounds: str = BOUNDS

    @property
    def folder(self) -> Path:
        """The run folder; the usual network, radius and bounds are not in its name."""
        network = [] if self.network == NETWORK else [self.network]
        levels = str(Fraction(self.radius) * 255).replace("/", "_")
        radius = [] if levels == "1" else ["radius", levels]
        bounds = [] if self.bounds == BOUNDS else [self.bounds]
        return RUNS / "-".join([self.dataset, *network, str(self.seed), *radius, *bounds])


@dataclass(frozen=True)
class Cost:
    """What a process cost, or several that did one thing.

    Attributes:
        seconds: wall time; of parts that were killed, up to the last file that they wrote.
        processor_seconds: of the processor, whatever else the machine does; None if not known.
        peak_bytes: the most memory that a process had resident at once, in the last part; None if
            not known.
        parts: how many times it was begun.
    """

    seconds: float
    processor_seconds: float | None
    peak_bytes: int | None
    parts: int = 1


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: the exit code; negative if it was killed by a signal.
        last_line: of standard error.
        cost: its cost, with that of processes of its own.
    """

    code: int
    last_line: str
    cost: Cost


def measured(command: Sequence[str | Path]) -> Ended:
    """Run a command, its standard error shown as it comes.

    Linux counts towards a process what the one that started it had resident: a benchmark that
    measures others holds no data and loads neither torch nor ONNX Runtime before.
    """
    start = time.perf_counter()
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                sys.stderr.write(line)
                last = line.strip() or last
            # Of this process alone; RUSAGE_CHILDREN would be of all that have ended so far.
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            process.kill()
            raise
    seconds = time.perf_counter() - start
    processor, unit = used.ru_utime + used.ru_stime, 1 if sys.platform == "darwin" else 1024
    cost = Cost(round(seconds, 1), round(processor, 1), used.ru_maxrss * unit)
    return Ended(process.returncode, last, cost)


def made(wanted: Wanted, out: Path | None = None) -> Cost | None:
    """Make a run, or go on with it, unless it is finished.

    Args:
        wanted: what is asked.
        out: its folder, if not the usual one.

    Returns:
        What it cost; None for a finished run that was brought here, if nothing tells.

    Raises:
        RuntimeError: it cannot be made, or the folder is another run's; says why in one line.
    """
    folder = wanted.folder if out is None else out
    noted = folder.with_name(f"{folder.name}.cost.json")
    # Who deletes a folder wants another run.
    known: dict[str, Any] = {}
    if folder.is_dir() and noted.is_file():
        known = json.loads(noted.read_text())
    finished = "cost" in known or (not known and (folder / "result.json").is_file())
    killed: list[float] = known.get("killed", [])
    if "began" in known:
        killed = [*killed, max(0.0, _last_write(folder) - known["began"])]
    if not finished:
        keep(noted, {"began": time.time(), "killed": killed})
    # A finished run too: its settings are compared with what is asked now.
    command = ["run", wanted.dataset, "--radius", wanted.radius, "--seed", str(wanted.seed)]
    command += ["--bounds", wanted.bounds]
    command += ["--architecture", wanted.network, "--out", str(folder), "--json"]
    ended = measured([sys.executable, "-m", "asi_verify.cli", *command])
    if ended.code < 0:
        raise RuntimeError(f"{folder.name}: killed by signal {-ended.code}; ask again to go on")
    if ended.code > 1:
        if not finished and killed:
            keep(noted, {"killed": killed})
        elif not finished:
            noted.unlink()
        raise RuntimeError(f"{folder.name}: {ended.last_line}")
    if not finished:
        known = {"cost": asdict(_after(killed, ended.cost))}
        keep(noted, known)
    return Cost(**known["cost"]) if known else _told(folder)


def keep(place: Path, value: Any) -> None:
    """Write JSON so that a process that is killed leaves the old file or the new one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f"{place.name}.new")
    unfinished.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    unfinished.replace(place)


def _after(killed: Sequence[float], last: Cost) -> Cost:
    """The cost of all parts; the processor's time of those that were killed is not known."""
    if not killed:
        return last
    return Cost(round(sum(killed) + last.seconds, 1), None, last.peak_bytes, len(killed) + 1)


def _told(folder: Path) -> Cost | None:
    """What ``benchmarks/zero_repeatable_errors.py`` kept in the folder of a run that it timed."""
    kept = folder / "benchmark.json"
    told = json.loads(kept.read_text()) if kept.is_file() else {}
    return Cost(told["seconds"], told.get("processor_seconds"), None) if "seconds" in told else None


def _last_write(folder: Path) -> float:
    """When the newest file of a folder was written, in seconds since 1970; 0 if there is none."""
    return max((file.stat().st_mtime for file in folder.rglob("*") if file.is_file()), default=0.0)
