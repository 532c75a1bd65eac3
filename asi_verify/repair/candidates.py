"""Candidates of a search: a reference network and how it is corrected, and their file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

from asi_verify.core.operators import Shape
from asi_verify.errors import UsageError
from asi_verify.repair.certified_training import CertifiedTraining
from asi_verify.zoo import architecture as architecture_named
from asi_verify.zoo import require_options

__all__ = ["Candidate", "read_candidates", "read_settings", "usual_candidates"]

SCHEMA = "asi-verify/settings/1"

_KINDS = {
    "bool": (bool,),
    "float": (int, float),
    "int": (int,),
    "int | None": (int, type(None)),
    "str": (str,),
}
"""What JSON gives for a field of a corrector, by the field's annotation."""


@dataclass(frozen=True)
class Candidate:
    """What ``run`` is asked for: ``architecture``, ``options`` and ``corrector``.

    Attributes:
        architecture: one of ``asi_verify.zoo.ARCHITECTURES``.
        options: of the architecture; the others keep their defaults.
        corrector: how it is corrected.

    Raises:
        UsageError: there is no such architecture or option.
    """

    architecture: str = "small-cnn"
    options: Mapping[str, int] = field(default_factory=dict)
    corrector: CertifiedTraining = field(default_factory=CertifiedTraining)

    def __post_init__(self) -> None:
        require_options(self.architecture, self.options)

    def to_json(self) -> dict[str, Any]:
        """As in a file of settings; floats as JSON numbers, which Python reads back exactly."""
        return {
            "architecture": self.architecture,
            "corrector": asdict(self.corrector),
            "options": dict(self.options),
            "schema": SCHEMA,
        }

    def settings(self) -> dict[str, Any]:
        """What shapes the result, as canonical JSON takes it."""
        return {**self.to_json(), "corrector": self.corrector.settings()}

    @classmethod
    def from_json(cls, value: Any) -> Candidate:
        """Read what ``to_json`` gave; settings of the corrector that are missing keep defaults.

        Raises:
            UsageError: it is something else.
        """
        match value:
            case {
                "schema": str(schema),
                "architecture": str(architecture),
                "options": dict(options),
                "corrector": dict(corrector),
                **rest,
            } if schema == SCHEMA and not rest:
                return cls(architecture, options, _corrector(corrector))
        raise UsageError(
            f"settings have the schema {SCHEMA!r} and the fields architecture, corrector and "
            "options; these have not"
        )


def _corrector(given: Mapping[str, Any]) -> CertifiedTraining:
    known = {entry.name: str(entry.type) for entry in fields(CertifiedTraining)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise UsageError(f"corrector: there is no {name!r}; {', '.join(known)}")
        kind = known[name]
        if type(value) not in _KINDS[kind] or (kind == "float" and not math.isfinite(value)):
            raise UsageError(f"corrector: {name} is {value!r}; {kind} is expected")
        # 1 and 1.0 are one setting, and have one form.
        values[name] = float(value) if kind == "float" else value
    return CertifiedTraining(**values)


def usual_candidates(image_shape: Shape) -> tuple[Candidate, ...]:
    """Eight for images of a shape: two capacities, two learning rates, two shares of clean loss.

    The first one is what ``run`` does by itself, but for volumes.

    Args:
        image_shape: ``(C, *spatial)``.
    """
    name, option, sizes = "small-cnn", "hidden", (256, 512)
    if len(image_shape) == 4:
        name, option, sizes = "cnn3d", "width", (16, 32)
    normed: bool = architecture_named(name).batch_norm
    return tuple(
        Candidate(
            name,
            {option: size},
            CertifiedTraining(
                learning_rate=rate, clean_weight=clean, batch_norm=normed, fresh_weights=normed
            ),
        )
        for size, rate, clean in product(sizes, (1e-3, 5e-4), (0.3, 0.1))
    )


def read_settings(path: str | Path) -> Candidate:
    """The settings in a file.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    return _each(path, [_json(path)])[0]


def read_candidates(path: str | Path) -> tuple[Candidate, ...]:
    """The candidates in a file: an array of settings.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    value = _json(path)
    if not isinstance(value, list) or not value:
        raise UsageError(f"{path}: an array of settings is expected")
    return _each(path, value)


def _json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: this is no JSON: {error}") from None


def _each(path: str | Path, values: list[Any]) -> tuple[Candidate, ...]:
    try:
        return tuple(Candidate.from_json(value) for value in values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
