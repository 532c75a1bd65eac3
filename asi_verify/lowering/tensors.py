"""Constants of an ONNX file as arrays: what they declare is compared with what they hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from asi_verify.core.limits import MOST_AXES, MOST_CONSTANTS
from asi_verify.errors import ModelError

__all__ = ["read_tensor", "refuse_unreadable"]


def refuse_unreadable(tensor: onnx.TensorProto) -> None:
    """Raise ``ModelError`` if a constant lies in another file or declares an absurd shape."""
    shown = f"the weight {tensor.name!r}"
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ModelError(
            f"{shown} lies in another file, so the ONNX file alone is not the model; save it with "
            "onnx.save(model, path, save_as_external_data=False)"
        )
    shape = tuple(tensor.dims)
    if len(shape) > MOST_AXES or not all(0 <= extent <= MOST_CONSTANTS for extent in shape):
        raise ModelError(
            f"{shown} declares the shape {shape[: MOST_AXES + 1]}; at most {MOST_AXES} axes of at "
            f"most {MOST_CONSTANTS} each are supported"
        )
    if math.prod(shape) > MOST_CONSTANTS:
        raise ModelError(
            f"{shown} declares the shape {shape}; {MOST_CONSTANTS} numbers are supported"
        )


def read_tensor(tensor: onnx.TensorProto) -> npt.NDArray[Any]:
    """The numbers of a constant that ``refuse_unreadable`` let pass.

    Raises:
        ModelError: its data are not those of its declared shape, or not numeric.
    """
    shown = f"the weight {tensor.name!r}"
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{shown} cannot be read: {error}") from None
    if array.dtype == np.object_:
        raise ModelError(f"{shown} is not numeric")
    if array.shape != tuple(tensor.dims):
        raise ModelError(f"{shown} declares the shape {tensor.dims} and holds {array.shape}")
    return array
