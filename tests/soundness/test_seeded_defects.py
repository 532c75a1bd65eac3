"""Seeded defects: each makes the library unsound in one place, and a test has to notice.

A proof is worth as much as the tests of what it rests on. Every case changes one line of a copy
of the package, and runs the one test that is there to catch such a thing.
"""

from __future__ import annotations

import compileall
import contextlib
import importlib.util
import os
import queue
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from support.defects import DEFECTS, Defect
from support.preloaded import REPOSITORY, Preloaded, Run

# The defect has to be in what the copy does: that it cannot be imported or run is no detection.
_BROKEN = re.compile(
    r"^E\s+(NameError|TypeError|SyntaxError|IndentationError|ImportError|ModuleNotFoundError)",
    re.MULTILINE,
)
_MOST_PROCESSES = 8
_CONTROL = None
"""Stands for no defect."""

Runs = dict[Defect | None, "Future[Run]"]


@contextlib.contextmanager
def seeded(defect: Defect, package: Path) -> Iterator[None]:
    """The one change, for a while.

    What was there is moved away and back: compiled code is matched by time and size, which a
    quick change can leave equal, and a file that is written anew would be compiled in every run.
    """
    path = package / defect.file
    text = path.read_text(encoding="utf-8")
    count = text.count(defect.original)
    assert count == 1, (
        f"{defect.name}: {defect.original!r} occurs {count} times in {defect.file}; the code has "
        "moved, so move the defect in tests/support/defects.py with it"
    )
    compiled = Path(importlib.util.cache_from_source(str(path)))
    with tempfile.TemporaryDirectory(dir=package.parent) as aside:
        for file in (path, compiled):
            file.rename(Path(aside) / file.name)
        try:
            path.write_text(text.replace(defect.original, defect.changed), encoding="utf-8")
            yield
        finally:
            for file in (path, compiled):
                (Path(aside) / file.name).replace(file)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """The runs of all selected cases, begun at once, as many together as there are processors."""
    # Copied once, so that a change of the package meanwhile does not mix versions.
    original = tmp_path_factory.mktemp("original") / "asi_verify"
    shutil.copytree(
        REPOSITORY / "asi_verify", original, ignore=shutil.ignore_patterns("__pycache__")
    )
    free: queue.SimpleQueue[tuple[Preloaded, Path]] = queue.SimpleQueue()

    def run(defect: Defect | None) -> Run:
        detecting = DEFECTS if defect is _CONTROL else [defect]
        tests = sorted({d.detector for d in detecting})
        process, package = free.get()
        try:
            with contextlib.nullcontext() if defect is _CONTROL else seeded(defect, package):
                return process.run(package.parent, tests)
        finally:
            free.put((process, package))

    count = min(os.cpu_count() or 1, _MOST_PROCESSES)
    made = []
    for _ in range(count):
        package = tmp_path_factory.mktemp("copy") / "asi_verify"
        shutil.copytree(original, package)
        compileall.compile_dir(package, quiet=1)
        made.append(Preloaded(tmp_path_factory.mktemp("process")))
        free.put((made[-1], package))
    with ThreadPoolExecutor(count) as pool:
        yield {defect: pool.submit(run, defect) for defect in _selected(request.session.items)}
        pool.shutdown(cancel_futures=True)
    for process in made:
        process.close()


def _selected(items: list[pytest.Item]) -> Iterator[Defect | None]:
    """The control first, because it takes longest; then the defects."""
    functions = [item for item in items if isinstance(item, pytest.Function)]
    if any(f.originalname == "test_without_a_defect_every_detector_passes" for f in functions):
        yield _CONTROL
    for function in functions:
        if function.originalname == "test_a_defect_is_noticed":
            yield function.callspec.params["defect"]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_is_noticed(defect: Defect, runs: Runs) -> None:
    """The detecting test fails on the changed copy; that it could not begin does not count."""
    run = runs[defect].result()
    survived = f"the defect {defect.name!r} in {defect.file} survives {defect.detector}"
    assert run.code != 0, survived
    assert run.code == 1, f"{defect.name}: pytest ended with {run.code}\n{run.output}"
    assert re.search(r"^1 failed\b", run.output, re.MULTILINE), run.output
    assert not _BROKEN.search(run.output), run.output


def test_without_a_defect_every_detector_passes(runs: Runs) -> None:
    """What the detectors notice is the defects, and not that they run on a copy."""
    run = runs[_CONTROL].result()
    assert run.code == 0, run.output
    assert re.search(r"^\d+ passed in ", run.output, re.MULTILINE), run.output


def test_the_defects_are_different_ones() -> None:
    """At least 45, each with a name and a change of its own."""
    assert len(DEFECTS) >= 45
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    assert len({(d.file, d.original, d.changed) for d in DEFECTS}) == len(DEFECTS)
