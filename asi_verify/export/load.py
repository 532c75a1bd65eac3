"""From whatever a user passes as a model to an artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from asi_verify.core.network import Network
from asi_verify.core.operators import Shape
from asi_verify.data import Preprocess
from asi_verify.errors import ModelError
from asi_verify.export.artifact import Artifact
from asi_verify.export.folding import folded
from asi_verify.export.parity import probes, require_agreement, with_head
from asi_verify.export.torch_export import network_from_torch
from asi_verify.export.torch_module import NetworkModule
from asi_verify.lowering import read_network
from asi_verify.lowering.files import naming
from asi_verify.runtime import Session

__all__ = ["ModelLike", "load_model"]

ModelLike = nn.Module | str | Path | bytes
"""A torch module, the path of an ONNX file, or its bytes."""


def load_model(
    model: ModelLike, image_shape: Shape, preprocess: Preprocess | None = None
) -> Artifact:
    """The artifact of a model.

    An ONNX file without a preprocessing contract is taken as it is. In every other case the
    artifact is written anew, with the contract as its first layers, and compared with the model.

    Args:
        model: a torch module, an ONNX path, or its bytes.
        image_shape: ``(C, *spatial)`` of the images as the data set has them.
        preprocess: how images become what the model reads.

    Raises:
        ModelError: it cannot be read, or does not take images of this shape.
        UnsupportedOperatorError: it uses an operator without a trusted rule.
        ParityError: the artifact and the model disagree.
    """
    prefix = preprocess.network(image_shape) if preprocess is not None else None
    if isinstance(model, nn.Module):
        return _from_torch(model, image_shape, prefix)
    data = _bytes(model)
    with naming(model):
        return _from_onnx(data, image_shape, prefix)


def _from_onnx(data: bytes, image_shape: Shape, prefix: Network | None) -> Artifact:
    if prefix is None:
        return Artifact.from_bytes(data)
    network = read_network(data)
    artifact = Artifact.from_network(folded(prefix.then(network)).rounded())
    points = probes(image_shape)
    with torch.no_grad():
        read = NetworkModule(prefix)(torch.from_numpy(points)).numpy()
    theirs = Session(data, head=network.head).run(read)
    ours = with_head(artifact.session.run(points).astype(np.float64), network.head)
    require_agreement("torch = ONNX Runtime", ours, theirs)
    return artifact


def _bytes(model: str | Path | bytes) -> bytes:
    if isinstance(model, bytes):
        return model
    path = Path(model)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "there is no such file"
        raise ModelError(f"{path}: {what}; give an ONNX file")
    return path.read_bytes()


def _from_torch(module: nn.Module, image_shape: Shape, prefix: Network | None) -> Artifact:
    shape = image_shape if prefix is None else prefix.output_shape
    network = network_from_torch(module, shape)
    was_training = module.training
    module.eval()
    try:
        if prefix is None:
            return Artifact.from_network(network, module)
        source = nn.Sequential(NetworkModule(prefix), module)
        return Artifact.from_network(folded(prefix.then(network)).rounded(), source)
    finally:
        module.train(was_training)
