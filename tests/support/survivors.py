"""Mutants of the checker's kernel that no test notices, each with the reason why it may survive."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

__all__ = ["KINDS", "Survivor", "read_survivors"]

PLACE = Path(__file__).resolve().parents[2] / "benchmarks" / "mutation_survivors.toml"
KINDS = {
    "equivalent": "no result differs",
    "looser": "bounds are looser, so what is proved stays true",
    "text": "only a message or an advice to a reader differs",
}


class Survivor(NamedTuple):
    """One mutant; the first four fields name it.

    Attributes:
        file: below ``asi_verify/checker/``.
        function: the dotted name of the definition that is changed.
        original: the lines that are changed, without indentation.
        changed: what stands in their place.
        kind: of ``KINDS``.
        why: the reason, in a sentence.
    """

    file: str
    function: str
    original: str
    changed: str
    kind: str
    why: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names the mutant."""
        return (self.file, self.function, self.original, self.changed)


def read_survivors() -> list[Survivor]:
    """All that are explained; several changes of one line share their reason."""
    if not PLACE.exists():
        return []
    found = tomllib.loads(PLACE.read_text("utf-8"))["survivor"]
    return [
        Survivor(e["file"], e["function"], e["original"], changed, e["kind"], e["why"])
        for e in found
        for changed in e["changed"]
    ]
