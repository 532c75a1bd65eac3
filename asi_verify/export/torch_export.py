"""From a user's torch module to a ``Network``, by way of torch's own ONNX exporter.

The exporter's file is only an input: its bytes change with torch's version. The artifact is
written by ``lowering.write_artifact`` and compared with the module by the parity gate.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator

import torch
from torch import nn

from asi_verify.core.network import Network
from asi_verify.core.operators import Shape
from asi_verify.errors import AsiVerifyError, ModelError
from asi_verify.export.folding import folded
from asi_verify.export.torch_module import NetworkModule
from asi_verify.lowering import read_network

__all__ = ["network_from_torch"]


def network_from_torch(module: nn.Module, input_shape: Shape) -> Network:
    """The network that a module computes in evaluation mode.

    Batch norm is folded into the layer before it, and weights are rounded to float32.

    Args:
        module: maps ``(N, *input_shape)`` float32 to ``(N, logits)``; it is not touched.
        input_shape: the shape of one image as the module reads it.

    Raises:
        ModelError: torch cannot export it, or the export is not readable.
        UnsupportedOperatorError: it uses an operator without a trusted rule.
    """
    if isinstance(module, NetworkModule):
        return module.to_network()
    copied = copy.deepcopy(module).cpu().eval()
    # Two images, because torch.export takes an extent of 1 for a constant.
    example = torch.zeros(2, *input_shape)
    try:
        with torch.no_grad():
            output = copied(example)
    except Exception as error:
        # Whatever the user's module raises for an image of this shape is the answer.
        raise ModelError(
            f"the module does not take images of shape {input_shape}: {error}"
        ) from error
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or output.shape[0] != 2:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ModelError(f"the module returns {shape} for 2 images; (2, logits) is expected")
    try:
        with _quietly():
            batch = torch.export.Dim("batch", min=1)
            program = torch.onnx.export(
                copied, (example,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
            )
            assert program is not None
            exported = program.model_proto.SerializeToString()
    except AsiVerifyError:
        raise
    except Exception as error:
        # The exporter raises a different class for each stage that fails.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"torch cannot export the module to ONNX: {reason}") from error
    return folded(read_network(exported)).rounded()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's notices about packages and deprecations inside torch."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
