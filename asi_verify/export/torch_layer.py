"""What the torch forms of all operators have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from asi_verify.core.operators import Operator

__all__ = ["Layer", "array_of", "tensor_of"]


def tensor_of(array: npt.NDArray[Any]) -> torch.Tensor:
    """A float32 tensor with the array's numbers."""
    return torch.from_numpy(array.astype(np.float32))


def array_of(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    """A float32 array of its own with the tensor's numbers."""
    return tensor.detach().cpu().numpy().copy()


class Layer(nn.Module):
    """The torch form of one operator; values have a batch axis in front."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.operator = operator

    def to_operator(self) -> Operator:
        """The operator with the layer's present weights."""
        return self.operator
