"""What mutation testing left over is explained, and the explanations are about the code there is.

That nothing else survives takes twenty minutes to see: ``benchmarks/mutation_score.py``.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from support.survivors import KINDS, PLACE, Survivor, read_survivors

CHECKER = Path(__file__).resolve().parents[2] / "asi_verify" / "checker"


def definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """Every class and function with its dotted name."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield prefix + node.name, node
            yield from definitions(node.body, f"{prefix}{node.name}.")


def lines_of(survivor: Survivor) -> list[str]:
    """The lines of the definition that a survivor changes, without indentation."""
    text = (CHECKER / survivor.file).read_text("utf-8")
    lines = [line.strip() for line in text.splitlines()]
    if survivor.function == "<module>":
        return lines
    node = dict(definitions(ast.parse(text).body))[survivor.function]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return lines[start - 1 : node.end_lineno]


def test_every_explained_line_still_stands_in_its_function():
    """Who changes one of these lines looks at its mutants again."""
    for survivor in read_survivors():
        present = lines_of(survivor)
        for line in survivor.original.split("\n"):
            assert line in present, f"{survivor.file}, {survivor.function}: {line!r} is gone"


def test_every_explanation_is_one():
    """Of a known kind, about a change, with a reason, and given once."""
    survivors = read_survivors()
    assert survivors
    for survivor in survivors:
        assert survivor.kind in KINDS
        assert survivor.original != survivor.changed
        assert len(survivor.why) > 20
    assert len({survivor.key for survivor in survivors}) == len(survivors)


def test_every_file_of_the_kernel_is_mutated():
    """The kernel is what ``benchmarks/trusted_size.py`` counts as it."""
    kernel = tomllib.loads((PLACE.parent / "mutation.toml").read_text("utf-8"))["kernel"]
    assert {f"{name}.py" for name in kernel} <= {path.name for path in CHECKER.glob("*.py")}
    assert {survivor.file for survivor in read_survivors()} <= {f"{name}.py" for name in kernel}
