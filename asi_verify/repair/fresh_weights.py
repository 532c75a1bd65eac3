"""Weights to start certified training from: intervals neither grow nor shrink from layer to layer.

Shi et al. 2021: with weights from N(0, sqrt(2 pi) / fan_in) the expected width of an interval stays
what it was through an affine layer and a ReLU, where the usual weights multiply it by the root of
the fan-in, and a network of 17 layers cannot be trained any more.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Add, Affine, Conv, Operator
from asi_verify.export.torch_module import is_average

__all__ = ["with_fresh_weights"]


def with_fresh_weights(network: Network, generator: np.random.Generator) -> Network:
    """The same architecture with new weights, exact in float32.

    Convolutions and affine layers get ``N(0, sqrt(2 pi) / fan_in)`` (the standard deviation) and
    no bias; half of that where they read a sum, because a sum's interval is as wide as both of its
    terms' together. The last of them gets U(-1, 1) / sqrt(fan_in), torch's own. Averages, scales
    and layer normalisations stay.
    """
    trained = [i for i, node in enumerate(network.nodes) if _is_trained(node.operator)]
    after_sum = [False]
    nodes = []
    for position, node in enumerate(network.nodes):
        doubled = any(after_sum[value] for value in node.inputs)
        operator = node.operator
        if isinstance(operator, Affine | Conv) and _is_trained(operator):
            fan_in = operator.weight[0].size
            if position == trained[-1]:
                weight = generator.uniform(-1, 1, operator.weight.shape) / math.sqrt(fan_in)
            else:
                spread = math.sqrt(2 * math.pi) / fan_in * (0.5 if doubled else 1.0)
                weight = generator.normal(0, spread, operator.weight.shape)
            operator = _with_weight(operator, weight)
            after_sum.append(False)
        else:
            after_sum.append(doubled or isinstance(operator, Add))
        nodes.append(Node(operator, node.inputs))
    return Network(network.input_shape, tuple(nodes), network.head).rounded()


def _is_trained(operator: Operator) -> bool:
    return isinstance(operator, Affine | Conv) and not is_average(operator)


def _with_weight(operator: Affine | Conv, weight: npt.NDArray[np.float64]) -> Operator:
    weight, bias = weight.astype(np.float32), np.zeros(len(weight), np.float32)
    if isinstance(operator, Affine):
        return Affine(weight, bias)
    geometry = (operator.strides, operator.pads, operator.dilations, operator.groups)
    return Conv(weight, bias, *geometry)
