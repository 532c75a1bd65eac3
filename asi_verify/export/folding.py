"""Fold element-wise maps into the layer before them, as batch norm is deployed.

Runtimes do it by themselves, with constants of their own rounding, which no proof about the file
would cover. A canonical artifact leaves them nothing to fold.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine, Conv, Scale, Shape

__all__ = ["folded"]


def folded(network: Network) -> Network:
    """The network with each ``Scale`` that follows a ``Conv`` or ``Affine`` taken into it.

    Only where nothing else reads the layer's output and the factor is one number per channel.
    Constants are multiplied in float64 and are to be rounded afterwards (``Network.rounded``): the
    artifact that is then written is the truth, and the parity gate compares it with the model.
    """
    readers = Counter(value for node in network.nodes for value in node.inputs)
    nodes: list[Node] = []
    moved = [0]
    for position, node in enumerate(network.nodes):
        inputs = tuple(moved[value] for value in node.inputs)
        layer = nodes[inputs[0] - 1] if inputs[0] > 0 else None
        alone = readers[node.inputs[0]] == 1
        merged = _merged(layer, node, network.shapes[position + 1]) if alone else None
        if merged is None:
            nodes.append(Node(node.operator, inputs))
            moved.append(len(nodes))
        else:
            nodes[inputs[0] - 1] = merged
            moved.append(inputs[0])
    return Network(network.input_shape, tuple(nodes), network.head)


def _merged(layer: Node | None, node: Node, shape: Shape) -> Node | None:
    if layer is None or not isinstance(node.operator, Scale):
        return None
    operator = layer.operator
    # An affine layer's outputs are along the last axis, a convolution's channels along the first.
    axis = len(shape) - 1 if isinstance(operator, Affine) else 0
    factor, shift = (
        _per_channel(a, shape, axis) for a in (node.operator.scale, node.operator.shift)
    )
    if factor is None or shift is None or not isinstance(operator, Conv | Affine):
        return None
    column = factor.reshape(-1, *([1] * (operator.weight.ndim - 1)))
    weight = operator.weight.astype(np.float64) * column
    bias = operator.bias.astype(np.float64) * factor + shift
    # The slack is that of the stored constants; two are multiplied here, each rounded once more.
    slack = operator.slack + node.operator.slack + 2.0**-50
    if isinstance(operator, Affine):
        return Node(Affine(weight, bias, slack), layer.inputs)
    geometry = (operator.strides, operator.pads, operator.dilations, operator.groups)
    return Node(Conv(weight, bias, *geometry, slack), layer.inputs)


def _per_channel(
    array: npt.NDArray[Any], shape: Shape, axis: int
) -> npt.NDArray[np.float64] | None:
    """The one number of each channel, or None if it differs within a channel."""
    channels = np.moveaxis(np.broadcast_to(array, shape), axis, 0)
    full = channels.reshape(shape[axis], -1).astype(np.float64)
    return full[:, 0] if bool(np.all(full == full[:, :1])) else None
