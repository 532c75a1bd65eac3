"""What the options of training mean together."""

from __future__ import annotations

from typing import Any

from asi_verify.errors import UsageError

__all__ = ["corrector_of"]


def corrector_of(
    epochs: int, batch_size: int, learning_rate: float, bounds: str, normed: bool = False
) -> Any:
    """The corrector of the options, with batch norm where the architecture has it."""
    from asi_verify.repair import CertifiedTraining

    if not 0 < learning_rate < 1:
        raise UsageError(f"--learning-rate: {learning_rate}; more than 0 and less than 1 is meant")
    return CertifiedTraining(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        batch_norm=normed,
        fresh_weights=normed,
        bounds=bounds,
    )
