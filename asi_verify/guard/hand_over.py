"""Forms for the person to whom a guard hands over what it does not answer.

A form is a JSON object with what was asked, what the model would have said and why that does not
count, and empty fields for the person's decision. It names the image by its digest, and holds no
pixels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from asi_verify.core.canonical import array_digest
from asi_verify.errors import UsageError
from asi_verify.guard.reasons import Reason
from asi_verify.store import FolderFiles

__all__ = ["SCHEMA", "Destination", "forms_of", "send"]

SCHEMA = "asi-verify/hand-over/1"

Destination = str | Path | Callable[[dict[str, Any]], object]
"""A folder, or a function that is called with each form."""


class _Refused(Protocol):
    @property
    def label(self) -> int: ...
    @property
    def margin(self) -> float: ...
    @property
    def reason(self) -> Reason: ...


def forms_of(
    images: npt.NDArray[np.float32],
    refused: Sequence[_Refused | None],
    references: Sequence[str] | None,
    by: dict[str, str],
    seconds: Sequence[_Refused | None] | None = None,
) -> list[dict[str, Any]]:
    """One form for each image that was refused.

    Args:
        images: shape ``(N, C, *spatial)``, float32.
        refused: what was said of each image; None for one that was answered.
        references: by which the images are known to whoever asked.
        by: which guard was asked, and which second model if there is one.
        seconds: what a second guard said of each image; None where none was asked.

    Raises:
        UsageError: the numbers of images, answers and references differ.
    """
    names: Sequence[str | None] = [None] * len(images) if references is None else references
    others: Sequence[_Refused | None] = [None] * len(images) if seconds is None else seconds
    if not len(images) == len(refused) == len(names):
        raise UsageError(
            f"{len(images)} images, {len(refused)} answers and {len(names)} references; as many "
            "of each are expected"
        )
    time = datetime.now(UTC).isoformat(timespec="microseconds")
    return [
        {
            "answered": {**_said(answer), "second": None if second is None else _said(second)},
            "asked": {"second": None, **by, "image": array_digest(image), "reference": name},
            "decided": {"by": None, "label": None, "remark": None},
            "schema": SCHEMA,
            "time": time,
        }
        for image, answer, name, second in zip(images, refused, names, others, strict=True)
        if answer is not None
    ]


def _said(answer: _Refused) -> dict[str, Any]:
    return {
        "label": answer.label,
        "margin": answer.margin if math.isfinite(answer.margin) else None,
        "reasons": list(answer.reason.names),
    }


def send(forms: Sequence[dict[str, Any]], to: Destination) -> None:
    """Write each form into a folder, or call a function with it."""
    if callable(to):
        for form in forms:
            to(form)
        return
    files = FolderFiles(to)
    for number, form in enumerate(forms):
        moment = "".join(c for c in form["time"].partition("+")[0] if c.isdigit())
        name = f"{moment}-{number:05d}-{form['asked']['image'][:12]}.json"
        files.write(name, json.dumps(form, indent=1, sort_keys=True).encode() + b"\n")
