"""auto_LiRPA behind ``Proposer``: adjustments, version differences and the allow-list, all here.

The newest release on the package index is 0.3 (2022); it was written for torch 1.12 and numpy 1
and needs four names that newer versions took away. They are supplied when it is first used, and
only if they are missing. 0.7 from the project's repository needs none of them.

Known to be unsound or wrong in it (measured on both; docs/explanation/proposers.md): average
pooling with overlapping or padded windows, ``count_include_pad=False``, the ``forward`` method.
None can be reached from here: the module that it traces is generated below from an allow-list of
operators, into which averaging, normalisation and padding are lowered before; only three methods
are asked for; and whatever it answers, the trusted pass decides.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import math
import sys
import types
import warnings
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from asi_verify.bounds.method import Method, Proposer
from asi_verify.core.box import Box
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Add, Affine, Conv, MaxPool, Operator, Relu, Reshape, Scale
from asi_verify.core.smooth import Sigmoid, Tanh
from asi_verify.errors import (
    EngineFailedError,
    EngineUnavailableError,
    UnsupportedOperatorError,
)
from asi_verify.export.parity import probes, require_agreement
from asi_verify.export.torch_module import ConvLayer, Layer, layer_for

__all__ = ["INSTALL", "LirpaProposer", "installed_version"]

INSTALL = "pip install --no-deps auto_LiRPA==0.3 && pip install appdirs pyyaml"
"""How to install it; its own declared requirements would replace torch."""

_METHODS = {Method.INTERVAL: "IBP", Method.CROWN_IBP: "CROWN-IBP", Method.CROWN: "backward"}
_LEG = "bounded module = Network"
_NUMBERS_AT_ONCE = 1 << 26
"""Values of all samples that are bounded at once: some gigabytes with all that is kept of each. Of
256 samples of ResNet-50 there are more than 20 times as many."""


def installed_version() -> str | None:
    """The installed version, or None."""
    if importlib.util.find_spec("auto_LiRPA") is None:
        return None
    try:
        return importlib.metadata.version("auto_LiRPA")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@cache
def _library() -> Any:
    """The adjusted library.

    Raises:
        EngineUnavailableError: it is not installed.
    """
    if installed_version() is None:
        raise EngineUnavailableError(f"auto_LiRPA is not installed; {INSTALL}")
    _supply_missing_names()
    # Recorded and dropped: deprecations inside the library and inside torch, about code that is not
    # ours. Filters would not do, because the library sets its own while it is imported.
    limit = sys.getrecursionlimit()
    # On a machine with CUDA's compiler and no card, torch warns of a runtime that is not needed.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    with warnings.catch_warnings(record=True):
        library = importlib.import_module("auto_LiRPA")
    # It raises the limit to a million for the whole process, where a runaway recursion then ends in
    # a crash instead of an error.
    sys.setrecursionlimit(limit)
    _accept_remove_duplicate(library.BoundedModule)
    return library


def _supply_missing_names() -> None:
    try:
        importlib.import_module("numpy.lib.arraysetops")
    except ModuleNotFoundError:
        # Gone since numpy 2; the library imports one function from it and never calls it.
        module: Any = types.ModuleType("numpy.lib.arraysetops")
        module.isin = np.isin
        sys.modules["numpy.lib.arraysetops"] = module
    helper: Any = importlib.import_module("torch.onnx.symbolic_helper")
    importlib.import_module("torch.onnx.utils")
    if not hasattr(helper, "_set_opset_version"):
        # Private since torch 1.13: the operator set that torch's tracer optimises for.
        helper._set_opset_version = _set_opset_version
    node: Any = torch._C.Node
    if not hasattr(node, "__getitem__"):
        # Taken away in torch 1.13: attributes of a traced node by name.
        node.__getitem__ = _attribute


def _set_opset_version(version: int) -> None:
    for name in ("torch.onnx._internal.torchscript_exporter._globals", "torch.onnx._globals"):
        try:
            importlib.import_module(name).GLOBALS.export_onnx_opset_version = version
        except ModuleNotFoundError:
            continue
        return


def _attribute(node: Any, name: str) -> Any:
    return getattr(node, node.kindOf(name))(name)


def _accept_remove_duplicate(bounded: Any) -> None:
    """Let ``_named_members`` take the argument that torch 2 passes to it."""
    original = bounded._named_members
    if "remove_duplicate" in original.__code__.co_varnames:
        return

    def named_members(
        self: Any, get: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Any:
        del remove_duplicate
        return original(self, get, prefix, recurse)

    bounded._named_members = named_members


class LirpaProposer(Proposer):
    """One of the three methods for one network.

    Raises:
        EngineUnavailableError: auto_LiRPA is not installed.
        UnsupportedOperatorError: the network uses an operator that is not on the allow-list.
        ParityError: the bounded module does not compute what the network does.
    """

    def __init__(self, network: Network, method: Method, device: str = "cpu") -> None:
        library = _library()
        self.method = method
        self.engine = f"auto_LiRPA {installed_version()} (torch {torch.__version__})"
        self._device = device
        # Every value is kept for every sample, several times over.
        values = sum(math.prod(shape) for shape in network.shapes)
        self._at_once = max(1, _NUMBERS_AT_ONCE // values)
        self._box_of = library.PerturbationLpNorm
        self._bounded_input = library.BoundedTensor
        module = _generated_module(network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._bounded = library.BoundedModule(
                module,
                torch.zeros(1, *network.input_shape),
                bound_opts={"conv_mode": "matrix" if _adds_vectors(network) else "patches"},
                device=device,
            )
        self._bounded.eval()
        self._compare(module, network)

    def lower(self, box: Box, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        found = np.empty((len(box), len(rows)), np.float32)
        for start in range(0, len(box), self._at_once):
            part = slice(start, start + self._at_once)
            found[part] = self._lower(box[part], rows)
        return found

    def _lower(self, box: Box, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        lower = torch.from_numpy(box.lower.copy()).to(self._device)
        upper = torch.from_numpy(box.upper.copy()).to(self._device)
        region = self._box_of(norm=np.inf, x_L=lower, x_U=upper)
        given = self._bounded_input((lower + upper) / 2, region)
        specification = torch.from_numpy(rows.astype(np.float32)).to(self._device)
        with torch.no_grad(), _without_tensor_cores(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                bound, _ = self._bounded.compute_bounds(
                    x=(given,),
                    C=specification[None].repeat(len(box), 1, 1),
                    method=_METHODS[self.method],
                    bound_upper=False,
                )
            except Exception as error:
                # It has no exceptions of its own: whatever it raises, nothing was proposed.
                reason = f"{type(error).__name__}: {error}"
                raise EngineFailedError(f"{self.engine}, {self.method.value}: {reason}") from error
        return np.asarray(bound.cpu().numpy(), dtype=np.float32)

    def _compare(self, module: nn.Module, network: Network) -> None:
        points = torch.from_numpy(probes(network.input_shape)).to(self._device)
        with torch.no_grad(), _without_tensor_cores():
            bounded = self._bounded(points).cpu().numpy().astype(np.float64)
            ours = module(points).cpu().numpy().astype(np.float64)
        require_agreement(_LEG, bounded, ours)


class _without_tensor_cores:  # noqa: N801  a context manager reads as a verb
    """Full float32 in matrix products and convolutions; on by default in torch is less."""

    def __enter__(self) -> None:
        self._before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self._before


class _Generated(nn.Module):
    """What auto_LiRPA traces: layers of the allow-list only, in order."""

    def __init__(self, steps: list[tuple[Layer | nn.Module, tuple[int, ...]]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer for layer, _ in steps)
        self._inputs = [inputs for _, inputs in steps]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for layer, inputs in zip(self.layers, self._inputs, strict=True):
            values.append(layer(*(values[value] for value in inputs)))
        return values[-1]


def _generated_module(network: Network) -> nn.Module:
    steps = [(_allowed(node, network), node.inputs) for node in network.nodes]
    return _Generated(steps).eval()


def _allowed(node: Node, network: Network) -> nn.Module:
    operator, shape = node.operator, network.shapes[node.inputs[0]]
    match operator:
        case Affine() if len(shape) > 1:
            raise _refusal(operator)
        case Affine() | Relu() | Add() | Sigmoid() | Tanh():
            return layer_for(operator)
        case Reshape(shape=(_,)):
            return nn.Flatten()
        case Conv() if len(operator.kernel) == 2 and _pads_alike(operator):
            layer = layer_for(operator)
            assert isinstance(layer, ConvLayer)
            return layer
        case MaxPool() if _divides(operator, shape):
            return layer_for(operator)
        case Scale() if len(shape) == 3:
            # As a convolution of width 1 for each channel: as a first operator, element-wise
            # arithmetic is an error in the library.
            return layer_for(_as_convolution(operator, shape))
        case Scale() if len(shape) == 1:
            return layer_for(_as_diagonal(operator, shape))
        case _:
            raise _refusal(operator)


def _adds_vectors(network: Network) -> bool:
    """Whether a residual sum is over vectors: 0.3 takes every sum for one of images otherwise."""
    return any(
        isinstance(node.operator, Add) and len(network.shapes[position]) == 1
        for position, node in enumerate(network.nodes, start=1)
    )


def _pads_alike(operator: Conv) -> bool:
    return all(before == after for before, after in operator.pads)


def _divides(operator: MaxPool, shape: tuple[int, ...]) -> bool:
    """Whether the windows of a two-dimensional pool lie side by side and fill the image."""
    return (
        len(operator.kernel) == 2
        and operator.kernel == operator.strides
        and operator.pads == ((0, 0), (0, 0))
        and operator.dilations == (1, 1)
        and all(size % k == 0 for size, k in zip(shape[1:], operator.kernel, strict=True))
    )


def _as_convolution(operator: Scale, shape: tuple[int, ...]) -> Conv:
    def per_channel(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        full = np.broadcast_to(array, shape).reshape(shape[0], -1)
        if not bool(np.all(full == full[:, :1])):
            raise UnsupportedOperatorError("auto_LiRPA: a scale that differs from pixel to pixel")
        return full[:, 0].copy()

    weight = per_channel(operator.scale).reshape(-1, 1, 1, 1)
    ones = (1, 1)
    return Conv(weight, per_channel(operator.shift), ones, ((0, 0), (0, 0)), ones, groups=shape[0])


def _as_diagonal(operator: Scale, shape: tuple[int, ...]) -> Affine:
    scale = np.broadcast_to(operator.scale, shape)
    return Affine(np.diag(scale).copy(), np.broadcast_to(operator.shift, shape).copy())


def _refusal(operator: Operator) -> UnsupportedOperatorError:
    return UnsupportedOperatorError(
        f"auto_LiRPA: {type(operator).__name__} in this form is not on the allow-list"
    )
