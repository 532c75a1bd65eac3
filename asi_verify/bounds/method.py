"""One signature for every bound method, so that they can be listed, swapped and tested alike."""

from __future__ import annotations

import abc
from enum import Enum

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box

__all__ = ["Method", "Proposer"]


class Method(Enum):
    """The bound methods, loosest first."""

    INTERVAL = "interval"
    CROWN_IBP = "crown-ibp"
    CROWN = "crown"


class Proposer(abc.ABC):
    """Proposes lower bounds for one network by one method.

    Law: no value of ``rows @ f(x)`` for ``x`` in the box lies below the returned bound, up to the
    rounding of float32, which is not bounded here. A proposal is a claim; nothing is proved by it.

    Attributes:
        engine: the name and version of what computes, for reports.
        method: the method.
    """

    engine: str
    method: Method

    @abc.abstractmethod
    def lower(self, box: Box, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Proposed lower bounds.

        Args:
            box: float32, shape ``(B, *input_shape)``.
            rows: shape ``(R, logits)``, asked of every sample.

        Returns:
            Shape ``(B, R)``; NaN or -inf where nothing is proposed.

        Raises:
            EngineFailedError: the engine failed; nothing is proposed for the whole batch.
        """
