"""What is left of a network over a region on which most phases are known.

There a ReLU of known phase is linear, and with the linear layers around it one matrix: from the
input and the open ReLUs before to the next ones. What is optimised over such a network has numbers
of open phases alone. The matrices are rounded, so it proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from asi_verify.core.box import Box
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Add, Affine, Relu
from asi_verify.export import NetworkModule
from asi_verify.export.torch_module import Layer

__all__ = ["OpenNetwork"]

_MOST_NUMBERS = 1 << 24
"""Of the matrix to the largest value: what takes no longer than some dozen parts to bound."""
_Terms = dict[int, torch.Tensor]
"""A value as an affine function: its constant by -1, and by each value of the new network that it
is made of (0 its input, others open ReLUs) one row for each number of that."""


@dataclass(frozen=True)
class OpenNetwork:
    """A network over one region.

    Attributes:
        network: equal to the given one over the region, but for rounding; its input is a vector.
        numbers: of its neurons among those of the given one.
        boxes: float32, of its input and of every value that its ReLUs read; one sample.
    """

    network: Network
    numbers: npt.NDArray[np.intp]
    boxes: dict[int, Box]

    @classmethod
    def over(cls, network: Network, boxes: Mapping[int, Box]) -> OpenNetwork | None:
        """What is left over a region.

        Args:
            network: of linear operators and ReLUs.
            boxes: of one sample, of value 0 and of every value that a ReLU reads.

        Returns:
            None where no phase is open, or the matrices would be too large.
        """
        is_open = {
            value: np.flatnonzero((box.lower < 0) & (box.upper > 0))
            for value, box in boxes.items()
            if value > 0
        }
        sizes = [int(np.prod(network.shapes[value])) for value in sorted(is_open)]
        first = dict(zip(sorted(is_open), np.cumsum([0, *sizes]).tolist(), strict=False))
        inputs = boxes[0].lower.size
        count = sum(len(places) for places in is_open.values())
        largest = max(int(np.prod(shape)) for shape in network.shapes)
        if count == 0 or (inputs + count) * largest > _MOST_NUMBERS:
            return None
        built, numbers = _Built(), dict[int, npt.NDArray[np.intp]]()
        relus: dict[int, int] = {}
        own = {0: _flat(boxes[0], np.arange(inputs))}
        values = [_input(network)]
        with torch.no_grad():
            for layer, keys in NetworkModule(network).requires_grad_(False).steps():
                read = [values[key] for key in keys]
                if not isinstance(layer.operator, Relu):
                    values.append(_linear(layer, read))
                    continue
                (key,), (terms,) = keys, read
                places = torch.from_numpy(is_open[key])
                is_active = torch.from_numpy(boxes[key].lower[0] >= 0)
                found = {source: rows * is_active for source, rows in terms.items()}
                if len(places):
                    if key not in relus:
                        of_open = {s: rows.flatten(1)[:, places] for s, rows in terms.items()}
                        relus[key] = built.relu(of_open)
                        numbers[key] = first[key] + is_open[key]
                        own[relus[key] - 1] = _flat(boxes[key], is_open[key])
                    units = torch.zeros((len(places), is_active.numel()))
                    units[torch.arange(len(places)), places] = 1
                    found[relus[key]] = units.reshape(len(places), *is_active.shape)
                values.append(found)
            built.affine({source: rows.flatten(1) for source, rows in values[-1].items()})
        network = Network((inputs,), tuple(built.nodes))
        return cls(network, np.concatenate([*numbers.values()]), own)


def _flat(box: Box, places: npt.NDArray[np.intp]) -> Box:
    ends = (end.reshape(1, -1)[:, places].astype(np.float32) for end in (box.lower, box.upper))
    return Box(*ends)


def _input(network: Network) -> _Terms:
    size = int(np.prod(network.input_shape))
    units = torch.eye(size).reshape(size, *network.input_shape)
    return {-1: torch.zeros((1, *network.input_shape)), 0: units}


def _linear(layer: Layer, read: Sequence[_Terms]) -> _Terms:
    """A linear layer of some values."""
    constant = layer(*(terms[-1] for terms in read))
    zero = layer(*(torch.zeros_like(terms[-1]) for terms in read))
    found = {-1: constant}
    for source in sorted({source for terms in read for source in terms} - {-1}):
        size = max(len(terms[source]) for terms in read if source in terms)
        none = (torch.zeros((size, *terms[-1].shape[1:])) for terms in read)
        rows = (terms.get(source, zeros) for terms, zeros in zip(read, none, strict=True))
        found[source] = layer(*rows) - zero
    return found


class _Built:
    """A network as it is written down."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def affine(self, terms: _Terms) -> int:
        """An affine function of earlier values, as a value."""
        (constant,) = terms[-1].numpy()
        total = None
        for source in sorted(source for source in terms if source >= 0):
            weight = np.ascontiguousarray(terms[source].numpy().T)
            if total is not None and not weight.any():
                continue
            bias = constant if total is None else np.zeros_like(constant)
            self.nodes.append(Node(Affine(weight, bias), (source,)))
            if total is not None:
                self.nodes.append(Node(Add(), (total, len(self.nodes))))
            total = len(self.nodes)
        assert total is not None
        return total

    def relu(self, terms: _Terms) -> int:
        """A ReLU of an affine function."""
        self.nodes.append(Node(Relu(), (self.affine(terms),)))
        return len(self.nodes)
