"""Claim: a wrong number in the trusted pass is noticed by its tests, or explained.

Every mutant of the checker's kernel that cosmic-ray makes with the operators of ``mutation.toml``
is tested in a copy of the package. What survives has to stand in ``mutation_survivors.toml`` with
the reason why it may. Takes twenty minutes on two cores, and goes on where it was stopped: what was
found of a file in ``out/mutation/`` holds until that file changes, or the operators.
``--survivors`` asks the tests again about what survived, after some were added. ``make mutation``.

cosmic-ray is not the only such tool: mutmut 3 is quicker, but leaves out what lies outside of
functions (the unit roundoff, the limits) and what is decorated (properties).
"""

from __future__ import annotations

import argparse
import ast
import compileall
import difflib
import hashlib
import itertools
import json
import os
import queue
import re
import resource
import shutil
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, NamedTuple

import cosmic_ray.plugins
from _results import RUNS, table, write
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult

ROOT = Path(__file__).parent.parent
PLACE = Path(__file__).parent
CHECKER = Path("asi_verify") / "checker"
MEMORY = 12 << 30
"""Bytes that a run may address: a mutant that asks for more is noticed, and not the machine's."""

sys.path.insert(0, str(ROOT / "tests"))
from support.preloaded import Preloaded, Run  # noqa: E402
from support.survivors import KINDS, Survivor, read_survivors  # noqa: E402

_COLUMNS = ["mutants", "noticed", *KINDS, "unexplained"]


_FAILED = re.compile(r"^FAILED .*?(tests/\S+?\.py::.+?)(?: - |$)", re.MULTILINE)


class Settings(NamedTuple):
    """``mutation.toml``."""

    kernel: list[str]
    tests: list[str]
    also: dict[str, list[str]]
    operators: re.Pattern[str]

    @classmethod
    def read(cls) -> Settings:
        """As it stands beside this file."""
        found = tomllib.loads((PLACE / "mutation.toml").read_text("utf-8"))
        names = re.compile("|".join(f"(?:core/{name})" for name in found["operators"]))
        return cls(found["kernel"], found["tests"], found["also"], names)

    def session(self, name: str) -> str:
        """Names the results on a file as it is with these operators; everything else may change."""
        text = (ROOT / CHECKER / f"{name}.py").read_text("utf-8")
        digest = hashlib.sha256(f"{text}\0{self.operators.pattern}".encode()).hexdigest()
        return f"{name}-{digest[:12]}.sqlite"


class Mutant(NamedTuple):
    """One changed file.

    Attributes:
        file: below ``checker/``.
        function: the innermost class or function that is changed.
        original: the lines that were changed, each without its indentation.
        changed: what stands in their place.
        code: the whole file.
    """

    file: str
    function: str
    original: str
    changed: str
    code: str

    @classmethod
    def of(cls, item: WorkItem) -> Mutant | None:
        """The mutant, or None if nothing that is run differs: annotations are not."""
        (spec,) = item.mutations
        before = (ROOT / spec.module_path).read_text("utf-8")
        operator = cosmic_ray.plugins.get_operator(spec.operator_name)(**spec.operator_args)
        after = mutate_code(before, operator, spec.occurrence)
        try:
            if after is None or _executed(before) == _executed(after):
                return None
        except SyntaxError:  # the "*" of keyword arguments is taken for a product
            return None
        lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
        old, new = (
            "\n".join(line[2:].strip() for line in lines if line[0] == sign).strip()
            for sign in "-+"
        )
        return cls(spec.module_path.name, _function(before, spec.start_pos[0]), old, new, after)


def _executed(code: str) -> str:
    """The program without its annotations, which nothing evaluates."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def _function(code: str, line: int) -> str:
    """The dotted name of the innermost definition around a line; ``<module>`` outside of all."""

    def inside(nodes: Iterable[ast.AST]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                if start <= line <= (node.end_lineno or start):
                    yield node.name
                    yield from inside(node.body)

    return ".".join(inside(ast.parse(code).body)) or "<module>"


Databases = dict[str, WorkDB]
"""For each file of the kernel, what was found of its mutants."""


def prepare(database: WorkDB, name: str, settings: Settings) -> None:
    """All mutants of a file; those of operators not asked for are never made."""
    init([CHECKER / f"{name}.py"], database, {})
    skipped = [
        item.job_id
        for item in database.work_items
        if not settings.operators.fullmatch(item.mutations[0].operator_name)
    ]
    database.set_multiple_results(skipped, WorkResult(WorkerOutcome.SKIPPED))


def pending(databases: Databases, *, survivors: bool) -> list[WorkItem]:
    """What is to be tested, in the order of the files; the survivors are the last to be again."""
    done = {job: result for database in databases.values() for job, result in database.results}
    items = [
        item
        for database in databases.values()
        for item in database.work_items
        if item.job_id not in done
        or (survivors and done[item.job_id].test_outcome is TestOutcome.SURVIVED)
    ]
    return sorted(
        items,
        key=lambda item: (
            item.job_id in done,
            item.mutations[0].module_path,
            item.mutations[0].start_pos,
            item.mutations[0].operator_name,
            item.mutations[0].occurrence,
        ),
    )


def _digest_of_tests() -> str:
    """Of all of them, and of what they share: a test that is being written notices anything."""
    digest = hashlib.sha256()
    for folder in ("checker", "soundness", "support"):
        for path in sorted((ROOT / "tests" / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Bench:
    """Copies of the package with a process each, on which mutants are tested."""

    def __init__(self, count: int, settings: Settings, place: Path) -> None:
        self._settings = settings
        self._digest = _digest_of_tests()
        self._noticed: dict[str, list[str]] = {}
        self._free: queue.SimpleQueue[tuple[Preloaded, Path]] = queue.SimpleQueue()
        for number in range(count):
            copy, runs = place / f"copy{number}", place / f"runs{number}"
            runs.mkdir()
            shutil.copytree(
                ROOT / "asi_verify",
                copy / "asi_verify",
                ignore=shutil.ignore_patterns("__pycache__"),
            )
            compileall.compile_dir(copy, quiet=1)
            self._free.put((Preloaded(runs), copy))

    def run(self, file: str, code: str) -> Run:
        """Run the tests on a copy with one file's code replaced."""
        process, copy = self._free.get()
        path = copy / CHECKER / file
        original = path.read_text("utf-8")
        try:
            # Compiled code is matched by time and size, which a quick change can leave equal.
            Path(cache_from_source(str(path))).unlink(missing_ok=True)
            path.write_text(code, "utf-8")
            # What noticed the last mutants of this file often notices the next, and soonest.
            recent = self._noticed.setdefault(file, [])
            also = self._settings.also.get(path.stem, [])
            for tests in filter(None, [list(recent), self._settings.tests, also]):
                run = process.run(copy, tests)
                if run.code:
                    for test in _FAILED.findall(run.output):
                        recent[:] = [test, *(other for other in recent if other != test)][:5]
                    break
            if _digest_of_tests() != self._digest:
                raise SystemExit("the tests were changed while they were run: run again")
            return run
        finally:
            Path(cache_from_source(str(path))).unlink(missing_ok=True)
            path.write_text(original, "utf-8")
            self._free.put((process, copy))

    def close(self) -> None:
        """End the processes."""
        while not self._free.empty():
            self._free.get()[0].close()


def test(databases: Databases, items: list[WorkItem], bench: Bench, count: int) -> None:
    """Test the mutants, and keep each result as soon as it is there."""

    def one(item: WorkItem) -> WorkResult:
        mutant = Mutant.of(item)
        if mutant is None:
            return WorkResult(WorkerOutcome.NO_TEST)
        run = bench.run(mutant.file, mutant.code)
        found = TestOutcome.SURVIVED if run.code == 0 else TestOutcome.KILLED
        kept = {**mutant._asdict(), "code": "", "exit": run.code, "output": run.output[-1500:]}
        return WorkResult(WorkerOutcome.NORMAL, json.dumps(kept), found)

    with ThreadPoolExecutor(count) as pool:
        futures: dict[Future[WorkResult], WorkItem] = {pool.submit(one, i): i for i in items}
        try:
            for number, future in enumerate(as_completed(futures), 1):
                result = future.result()
                item = futures[future]
                databases[item.mutations[0].module_path.stem].set_result(item.job_id, result)
                if result.test_outcome is TestOutcome.SURVIVED:
                    kept = json.loads(result.output or "")
                    print(f"{kept['file']}, {kept['function']}: {kept['original']}")
                    print(f"    survives as: {kept['changed']}", flush=True)
                if number % 50 == 0:
                    print(f"{number} of {len(items)}", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _share(count: Counter[str], of: int) -> str:
    return f"{count['noticed'] / max(1, of):.1%}"


def _score(count: Counter[str]) -> str:
    """As usual: of the mutants that are not equivalent, the share that is noticed."""
    return _share(count, count["mutants"] - count["equivalent"])


def report(databases: Databases, settings: Settings, explained: list[Survivor]) -> int:
    """Print the score, write the page if nothing is left to do; how much is to be explained."""
    reasons = {survivor.key: survivor for survivor in explained}
    counts = {f"{name}.py": Counter(dict.fromkeys(_COLUMNS, 0)) for name in settings.kernel}
    survivors: list[Survivor] = []
    for _, result in itertools.chain(*(database.results for database in databases.values())):
        if result.worker_outcome is not WorkerOutcome.NORMAL:
            continue
        kept = json.loads(result.output or "")
        count = counts[kept["file"]]
        count["mutants"] += 1
        if result.test_outcome is TestOutcome.KILLED:
            count["noticed"] += 1
            continue
        key = (kept["file"], kept["function"], kept["original"], kept["changed"])
        survivors.append(reasons.get(key, Survivor(*key, "unexplained", "")))
        count[survivors[-1].kind] += 1
    survivors.sort()
    total = sum(counts.values(), Counter())
    rows: list[list[Any]] = [
        [name, *(c[column] for column in _COLUMNS), _share(c, c["mutants"]), _score(c)]
        for name, c in [*counts.items(), ("together", total)]
    ]
    score = table(["file", *_COLUMNS, "of all", "score"], rows)
    print(score)
    unexplained = [survivor for survivor in survivors if not survivor.why]
    stale = sorted(reasons.keys() - {survivor.key for survivor in survivors})
    for what, keys in (("UNEXPLAINED", [s.key for s in unexplained]), ("NOTICED", stale)):
        for file, function, original, changed in keys:
            print(f"{what} {file}, {function}:\n    {original}\n    {changed}")
    if pending(databases, survivors=False):
        print("some mutants are still to be tested: run again")
        return 1
    if unexplained or stale:
        print("explain what is unexplained, and remove what is noticed, in mutation_survivors.toml")
        return 1
    lines = [
        f"- `{s.file}`, `{s.function}`: `{s.original}` as `{s.changed}` ({s.kind}): {s.why}"
        for s in survivors
    ]
    figures = {
        "files": {name: dict(count) for name, count in counts.items()},
        "noticed_of_all": total["noticed"] / total["mutants"],
        "score": total["noticed"] / (total["mutants"] - total["equivalent"]),
        "survivors": [survivor._asdict() for survivor in survivors],
    }
    kinds = "; ".join(f"*{kind}*: {what}" for kind, what in KINDS.items())
    tests = dict.fromkeys([*settings.tests, *itertools.chain(*settings.also.values())])
    text = (
        f"{total['noticed']} of {total['mutants']} mutants of the checker's kernel are noticed by "
        f"{', '.join(f'`{test}`' for test in tests)}. Mutants are "
        f"those of cosmic-ray {version('cosmic-ray')} with the operators of "
        "`benchmarks/mutation.toml`; changes of annotations, which nothing evaluates, are left "
        "out. The score is, as usual, of the mutants that are not equivalent."
        f"\n\n{score}\n\nWhat survives, and why it may ({kinds}):\n\n" + "\n".join(lines)
    )
    write("mutation_score", "What the tests of the trusted pass notice", figures, text)
    return 0


def main() -> int:
    """Make what is missing, test it, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--survivors", action="store_true", help="test those that survived again")
    parser.add_argument("--report", action="store_true", help="test nothing")
    parser.add_argument("--only", nargs="*", help="files of the kernel, without .py")
    options = parser.parse_args()
    settings = Settings.read()
    os.chdir(ROOT)  # cosmic-ray's paths are relative
    folder = RUNS.parent / "mutation"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # tests are read again for every mutant
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with ExitStack() as stack:
        databases = {
            name: stack.enter_context(use_db(folder / settings.session(name)))
            for name in settings.kernel
        }
        for name, database in databases.items():
            if not database.num_work_items:
                prepare(database, name, settings)
        items = [] if options.report else pending(databases, survivors=options.survivors)
        if options.only:
            items = [i for i in items if i.mutations[0].module_path.stem in options.only]
        print(f"{len(items)} to do", flush=True)
        if items:
            place = stack.enter_context(tempfile.TemporaryDirectory())
            bench = Bench(options.processes, settings, Path(place))
            for name in {settings.kernel[0], *settings.also}:
                control = bench.run(
                    f"{name}.py", (ROOT / CHECKER / f"{name}.py").read_text("utf-8")
                )
                if control.code:
                    print(control.output)
                    raise SystemExit("the tests fail without a mutant")
            test(databases, items, bench, options.processes)
            bench.close()
        return report(databases, settings, read_survivors())


if __name__ == "__main__":
    sys.exit(main())
