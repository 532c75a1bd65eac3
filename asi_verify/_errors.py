"""``errors``: what a model gets wrong, as ONNX Runtime runs it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asi_verify.data import DatasetLike, Preprocess, Task, load_dataset

if TYPE_CHECKING:
    from asi_verify.export import ModelLike

__all__ = ["list_errors"]


def list_errors(
    model: ModelLike,
    dataset: DatasetLike,
    *,
    split: str = "train",
    preprocess: Preprocess | None = None,
    data_root: str | Path | None = None,
) -> dict[str, Any]:
    """Every misclassified sample of a split.

    Args:
        model: as for ``certify``.
        dataset: as for ``certify``.
        split: the samples to run the model on.
        preprocess: as for ``certify``.
        data_root: as for ``certify``.

    Returns:
        ``accuracy``, ``samples``, and ``errors``: row, label, prediction (class names) and margin
        (None if it is not a number).

    Raises:
        UsageError: the model or the data cannot be used; see its subclasses.
    """
    from asi_verify.bugs import evaluate
    from asi_verify.export import load_model

    data = load_dataset(dataset, data_root=data_root)
    samples = data.split(split)
    evaluation = evaluate(load_model(model, data.image_shape, preprocess), samples)

    def named(label: Any) -> str:
        if data.task is Task.MULTI_LABEL:
            return ", ".join(n for n, yes in zip(data.classes, label, strict=True) if yes) or "none"
        return data.classes[int(label)]

    errors = [
        {
            "label": named(samples.labels[row]),
            "margin": float(m) if math.isfinite(m := evaluation.margins[row]) else None,
            "prediction": named(evaluation.predictions[row]),
            "row": row,
        }
        for row in np.flatnonzero(evaluation.wrong).tolist()
    ]
    return {"accuracy": evaluation.accuracy, "errors": errors, "samples": len(samples)}
