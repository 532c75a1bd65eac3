"""What ``--scale``, ``--mean``, ``--std`` and ``--layout`` mean together."""

from __future__ import annotations

from typing import Any

from asi_verify.errors import UsageError

__all__ = ["preprocess_of"]


def preprocess_of(
    scale: float | None, mean: str | None, std: str | None, layout: str | None
) -> Any:
    """The preprocessing contract of the options; None if none is given."""
    from asi_verify.data import Preprocess

    if scale is None and mean is None and std is None and layout is None:
        return None
    return Preprocess(
        scale=1.0 if scale is None else scale,
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        layout=layout or "NCHW",
    )


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text or "").replace(",", " ").split())
    except ValueError:
        raise UsageError(
            f"{option}: {text!r} is not a list of numbers such as 0.5,0.4,0.3"
        ) from None
