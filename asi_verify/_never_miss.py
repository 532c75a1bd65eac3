"""Classes that must never be missed: what a user asks for, what it cost, and its check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from asi_verify.checker import CheckResult, check_folder, read_claims
from asi_verify.checker.folder import Margins
from asi_verify.core.claims import CLAIMS_FILE, Claims
from asi_verify.core.linf import LInf
from asi_verify.core.never_miss import NeverMiss
from asi_verify.core.radius import Radius, RadiusLike
from asi_verify.data import Dataset, Samples, Task
from asi_verify.errors import CertificateError, DataError, UsageError

if TYPE_CHECKING:
    from asi_verify.export import Artifact

__all__ = [
    "NEVER_MISS",
    "ClassesLike",
    "checked_never_miss",
    "foreign_claims",
    "found_and_cleared",
    "never_miss_for",
    "never_miss_settings",
]

NEVER_MISS = "never_miss/"
"""Where the certificates of the larger regions lie, below a run folder or a round."""

_TIMES = 4
"""How much larger the regions are if no radius is given for them."""

ClassesLike: TypeAlias = "str | int | Sequence[str | int]"


def never_miss_for(
    classes: ClassesLike | None,
    radius: RadiusLike | None,
    data: Dataset,
    split: str,
    family: LInf,
) -> NeverMiss | None:
    """What a user asks never to be missed; None if nothing is.

    Args:
        classes: names of classes or their numbers, one or several.
        radius: of their regions; four times the others' if not given.
        data: whose classes they are.
        split: that is to be certified.
        family: the regions of all other samples.

    Raises:
        UsageError: there is no such class, or the radius cannot be used; see its subclasses.
    """
    several = _several(classes)
    if not several:
        if radius is not None:
            raise UsageError("never_miss_radius: it is of no use without never_miss")
        return None
    if data.task is Task.MULTI_LABEL:
        raise UsageError(
            f"never_miss: {data.name} has several labels per image; classes that must never be "
            "missed are classes of images with one label"
        )
    labels = tuple(sorted({_label(given, data) for given in several}))
    for label in labels:
        if not (data.split(split).labels == label).any():
            raise DataError(
                f"never_miss: no image of {data.name} ({split}) is {data.classes[label]!r}"
            )
    larger = Radius.of(family.radius.value * _TIMES if radius is None else radius)
    return NeverMiss(labels, LInf(larger), family)


def _several(classes: ClassesLike | None) -> list[str | int]:
    if classes is None:
        return []
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        return [classes]
    return list(classes)


def _label(given: str | int, data: Dataset) -> int:
    """The number of a class by its name or number; a name goes first."""
    if isinstance(given, str) and given in data.classes:
        return data.classes.index(given)
    text = str(given) if type(given) is int else given
    numbers = [str(number) for number in range(len(data.classes))]
    if isinstance(text, str) and text in numbers:
        return numbers.index(text)
    known = ", ".join(f"{number} {name!r}" for number, name in enumerate(data.classes))
    raise UsageError(f"never_miss: {given!r} is no class of {data.name}; its classes are {known}")


def never_miss_settings(never_miss: NeverMiss | None) -> dict[str, Any]:
    """What a run folder notes of it; nothing if nothing was asked."""
    if never_miss is None:
        return {}
    noted = {"family": never_miss.family.to_json(), "labels": list(never_miss.labels)}
    return {"never_miss": noted}


def found_and_cleared(
    artifact: Artifact, data: Dataset, never_miss: NeverMiss
) -> dict[str, dict[str, float | None]]:
    """Sensitivity and specificity of the classes that must never be missed, on every split.

    Returns:
        ``sensitivity``: of the images of these classes, the share that is answered right;
        ``specificity``: of the others, the share that is answered with none of these classes. By
        the name of the split; None where there is no such image.
    """
    from asi_verify.bugs import evaluate

    found: dict[str, dict[str, float | None]] = {"sensitivity": {}, "specificity": {}}
    for name, samples in data.splits.items():
        evaluation = evaluate(artifact, samples)
        named = never_miss.named(samples.labels)
        raised = never_miss.named(evaluation.predictions)
        found["sensitivity"][name] = _share(~evaluation.wrong[named])
        found["specificity"][name] = _share(~raised[~named])
    return found


def _share(true: np.ndarray[Any, np.dtype[np.bool_]]) -> float | None:
    return float(true.mean()) if len(true) else None


def checked_never_miss(
    folder: Path,
    configuration: dict[str, Any],
    main: Claims,
    samples: Samples,
    margins: Margins | None = None,
) -> CheckResult | None:
    """What the checker says of a run's certificates about classes that must never be missed.

    The folder of these has to be there if the run was asked for them, and to be about the model,
    the samples and the regions that the other certificates are about.

    Args:
        folder: the run folder.
        configuration: what the run was asked for, as far as it can be read.
        main: the claims about all samples.
        samples: the certified split.
        margins: as for ``checker.check_folder``.

    Returns:
        None if the run was not asked and has no such folder.
    """
    noted, place = configuration.get("never_miss"), folder / NEVER_MISS
    if noted is None and not place.exists():
        return None
    try:
        claims = read_claims(place)
    except CertificateError as error:
        nothing: frozenset[int] = frozenset()
        return CheckResult(None, {}, {}, {}, nothing, (f"{NEVER_MISS}: {error}",), nothing)
    result = check_folder(place, samples.images, samples.labels, margins)
    return replace(result, refused=(*foreign_claims(claims, main, noted), *result.refused))


def foreign_claims(claims: Claims, main: Claims, noted: Any) -> list[str]:
    """Why claims about named classes that are sound by themselves are not those of a run.

    Args:
        claims: those about the named classes.
        main: the run's claims about all samples.
        noted: ``never_miss`` of what the run was asked for; None if that is not known.
    """
    only = claims.never_miss
    differences = {
        "it names no classes": only is None,
        "it is about another model": claims.artifact != main.artifact,
        "it is about other samples": claims.dataset != main.dataset,
        "it is about other semantics": claims.semantics is not main.semantics,
        "it speaks of other regions for all other samples": (
            only is not None and only.others != main.family
        ),
        "it is not about the classes and regions that the run was asked for": (
            noted is not None and never_miss_settings(only).get("never_miss") != noted
        ),
    }
    return [
        f"{NEVER_MISS}{CLAIMS_FILE}: {reason}" for reason, differs in differences.items() if differs
    ]
