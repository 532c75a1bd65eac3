"""The tables of the reference that follow from the code: ``python docs/_tables.py`` writes them.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``. A test compares what
is written there with what the code gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer

from asi_verify.checker.trusted import rule_for
from asi_verify.cli import app
from asi_verify.core.bilinear import MatMul
from asi_verify.core.moves import Pad, Select
from asi_verify.core.operators import (
    Activation,
    Add,
    Affine,
    Concat,
    Conv,
    MaxPool,
    Operator,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.semantics import Semantics
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh
from asi_verify.data import medmnist_sets
from asi_verify.export.torch_module import layer_for
from asi_verify.lowering.registry import REGISTRY
from asi_verify.zoo import ARCHITECTURES, options_of

__all__ = ["DOCS", "TABLES", "command_tables", "used_tables", "with_tables"]

DOCS = Path(__file__).parent

_TABLE = re.compile(
    r"(?P<start><!-- table: (?P<name>[a-z0-9-]+) -->\n).*?(?P<end><!-- end of table -->)",
    re.DOTALL,
)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _first_sentence(documented: Any) -> str:
    """The first sentence of a docstring, as Markdown."""
    text = " ".join((documented.__doc__ or "").split("\n\n")[0].split())
    return text.replace("``", "`")


def _onnx_operators() -> str:
    """Every entry of the operator registry."""
    rows = [
        (f"`{entry.operator}`", str(entry.since), entry.lowered_to, entry.limits or "any form")
        for entry in REGISTRY
    ]
    return _table(("ONNX operator", "From operator set", "Lowered to", "Accepted"), rows)


def _operators() -> str:
    """The closed set of operators with the torch form and the trusted rule of each."""
    one, bias = np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)
    samples: list[tuple[Operator, tuple[Shape, ...]]] = [
        (Add(), ((1,), (1,))),
        (Affine(one[0, 0], bias), ((1,),)),
        (Concat(0, 2), ((1,), (1,))),
        (Conv(one, bias, (1, 1), ((0, 0), (0, 0)), (1, 1)), ((1, 2, 2),)),
        (MatMul(), ((1, 1), (1, 1))),
        (MaxPool((1,), (1,), ((0, 0),), (1,)), ((1, 2),)),
        (Pad(((1, 0),), (0,)), ((1,),)),
        (Relu(), ((1,),)),
        (Reshape((1,)), ((1,),)),
        (Scale(bias, bias), ((1,),)),
        (Select(0, (0,)), ((1,),)),
        (Transpose((0,)), ((1,),)),
        (Clamp(0.0, 1.0), ((1,),)),
        (LeakyRelu(bias), ((1,),)),
        (Sigmoid(), ((1,),)),
        (Tanh(), ((1,),)),
        (Erf(), ((1,),)),
        (Gelu(), ((1,),)),
        (Softmax(0), ((1,),)),
        (LayerNormalization(bias, bias, 0.5), ((1,),)),
    ]
    kinds = {*Operator.__subclasses__(), *Activation.__subclasses__()} - {Activation}
    ours = {kind for kind in kinds if kind.__module__.startswith("asi_verify.")}
    missing = ours - {type(operator) for operator, _ in samples}
    if missing:
        raise LookupError(f"no sample of {missing}; add one above")
    rows = [
        (
            f"`{type(operator).__name__}`",
            _first_sentence(operator),
            f"`{type(layer_for(operator)).__name__}`",
            f"`{type(rule_for(operator, Semantics.REAL, *shapes)).__name__}`",
        )
        for operator, shapes in samples
    ]
    return _table(("Operator", "Function", "Torch form", "Trusted rule"), rows)


def _datasets() -> str:
    """The published facts of the 18 sets."""
    rows = [
        (
            f"`{facts.name}`",
            facts.task.value,
            str(len(facts.labels)),
            f"{facts.channels} x {facts.dimensions}-D",
            " / ".join(str(facts.samples[split]) for split in ("train", "val", "test")),
            ", ".join(map(str, sorted(facts.md5))),
            facts.license,
        )
        for facts in medmnist_sets().values()
    ]
    head = ("Name", "Task", "Classes", "Channels", "Train / val / test", "Sizes", "Licence")
    return _table(head, rows)


def _classes() -> str:
    """The names of the classes, in the order of their numbers."""
    rows = [(f"`{facts.name}`", "; ".join(facts.labels)) for facts in medmnist_sets().values()]
    return _table(("Name", "Classes, from 0"), rows)


def _architectures() -> str:
    """The reference architectures."""
    rows = [(f"`{name}`", _first_sentence(kind)) for name, kind in ARCHITECTURES.items()]
    return _table(("Name", "Architecture"), rows)


def _networks() -> str:
    """The reference architectures with their options and what their training does."""
    rows = []
    for name, kind in ARCHITECTURES.items():
        options = ", ".join(f"`{option}` ({value})" for option, value in options_of(name).items())
        rows.append((f"`{name}`", options, "yes" if kind.batch_norm else "no"))
    return _table(("Name", "Options and their defaults", "Batch norm"), rows)


def command_tables() -> dict[str, Callable[[], str]]:
    """One table of arguments and options for each command, by ``cli-NAME``."""
    top: Any = typer.main.get_command(app)
    commands: dict[str, Any] = dict(top.commands)
    for name, command in top.commands.items():
        inner = getattr(command, "commands", {})
        commands.update({f"{name}-{word}": below for word, below in inner.items()})

    def made(command: Any) -> Callable[[], str]:
        return lambda: _table(
            ("Argument or option", "Default", "Meaning"), [_parameter(p) for p in command.params]
        )

    return {f"cli-{name}": made(command) for name, command in commands.items()}


def _parameter(parameter: Any) -> tuple[str, str, str]:
    """One line of a command's table."""
    if parameter.param_type_name == "argument":
        needed = "required" if parameter.required else ""
        return f"`{parameter.name.upper()}`", needed, parameter.help
    default = parameter.default
    if default is None or default is False:
        return f"`{parameter.opts[0]}`", "", parameter.help
    return f"`{parameter.opts[0]}`", f"`{default}`", parameter.help


TABLES: dict[str, Callable[[], str]] = {
    "architectures": _architectures,
    "classes": _classes,
    "datasets": _datasets,
    "networks": _networks,
    "onnx-operators": _onnx_operators,
    "operators": _operators,
    **command_tables(),
}
"""The tables by name."""


def used_tables(text: str) -> list[str]:
    """The names of the tables that a page holds."""
    return [match["name"] for match in _TABLE.finditer(text)]


def with_tables(text: str) -> str:
    """A page with every table in it made anew.

    Raises:
        KeyError: it holds a table that is not known.
    """
    return _TABLE.sub(lambda m: f"{m['start']}\n{TABLES[m['name']]()}\n{m['end']}", text)


def main() -> None:
    """Write the tables of all pages."""
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text("utf-8")
        after = with_tables(before)
        if after != before:
            page.write_text(after, "utf-8")


if __name__ == "__main__":
    main()
