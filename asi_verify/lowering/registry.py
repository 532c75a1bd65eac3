"""The typed operator registry: which ONNX operator is lowered by which function.

Keyed by (domain, operator, version since when the converter is right). Registering a key twice is
an error, and so is asking for an operator that is not there; both name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asi_verify.errors import UnsupportedOperatorError

if TYPE_CHECKING:
    from asi_verify.lowering.graph import Graph, OnnxNode

__all__ = ["HIGHEST_OPSET", "LOWEST_OPSET", "REGISTRY", "Converter", "Entry", "Registry"]

LOWEST_OPSET = 8
"""From 7 on arithmetic broadcasts as it does today. What was written otherwise before 10, 11, 13 or
18 (Slice, Pad, Clip, Softmax, axes) is read as the file's version writes it."""

HIGHEST_OPSET = 25
"""The newest operator set whose changes were read; a newer one could redefine an operator."""

Converter = Callable[["OnnxNode", "Graph"], None]


@dataclass(frozen=True)
class Entry:
    """One registered converter.

    Attributes:
        operator: the ONNX operator's name.
        since: the lowest version of its domain's operator set for which the converter is right.
        lowered_to: the core operators that it becomes, for the published table.
        limits: what is refused, in words, for the published table.
    """

    operator: str
    since: int
    lowered_to: str
    limits: str
    convert: Converter
    domain: str = ""


@dataclass
class Registry:
    """A table from (domain, operator, version) to converters."""

    _entries: dict[tuple[str, str, int], Entry] = field(default_factory=dict)

    def converts(
        self, operator: str, *, to: str, since: int = LOWEST_OPSET, limits: str = ""
    ) -> Callable[[Converter], Converter]:
        """Register the decorated function as the converter of an operator.

        Raises:
            ValueError: the operator is registered already for this version.
        """

        def register(convert: Converter) -> Converter:
            key = ("", operator, since)
            if key in self._entries:
                raise ValueError(f"the converter of {operator} since {since} is registered twice")
            self._entries[key] = Entry(operator, since, to, limits, convert)
            return convert

        return register

    def find(self, domain: str, operator: str, version: int) -> Entry:
        """The entry for an operator in a version of its domain's operator set.

        Raises:
            UnsupportedOperatorError: there is none; the message names the operator.
        """
        domain = "" if domain == "ai.onnx" else domain
        candidates = [
            entry
            for (known_domain, known, since), entry in self._entries.items()
            if known_domain == domain and known == operator and since <= version
        ]
        if not candidates:
            shown = f"{domain}.{operator}" if domain else operator
            raise UnsupportedOperatorError(
                f"the operator {shown} (operator set {version}) has no trusted rule; supported: "
                f"{', '.join(sorted({entry.operator for entry in self}))}"
            )
        return max(candidates, key=lambda entry: entry.since)

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda e: (e.operator, e.since)))


REGISTRY = Registry()
