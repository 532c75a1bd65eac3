"""For guards: a model and images of squares, bright clearly or only just; graphs in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from asi_verify.core.network import Network
from asi_verify.core.radius import Radius
from asi_verify.data import Dataset, Samples, Task
from asi_verify.guard.graph import OUTPUTS, write_guard
from asi_verify.lowering import write_artifact
from asi_verify.runtime.session import load

SIDE = 12


def squares(seed: int = 0, train: int = 120, others: int = 24) -> Dataset:
    """Grey images with a square in the middle that is brighter than the rest, or darker.

    In ``val`` and ``test`` every third one differs by so little that no region is certified, in
    ``train`` the last one.
    """
    generator = np.random.default_rng(seed)
    splits = {}
    for name, count in (("train", train), ("val", others), ("test", others)):
        labels = (np.arange(count) % 2).astype(np.int64)
        apart = generator.integers(50, 70, count)
        apart[-1 if name == "train" else slice(None, None, 3)] = 1
        images = generator.integers(98, 103, (count, 1, SIDE, SIDE))
        images[:, :, 3:9, 3:9] += (apart * np.where(labels == 1, 1, -1)).reshape(-1, 1, 1, 1)
        splits[name] = Samples(images.astype(np.uint8), labels)
    return Dataset("squares", Task.BINARY, ("dark", "bright"), splits)


def square_model() -> Any:
    """Compares the mean inside of the square with the mean outside of it."""
    inside = torch.zeros(SIDE, SIDE)
    inside[3:9, 3:9] = 1
    difference = (inside / inside.sum() - (1 - inside) / (1 - inside).sum()).reshape(1, -1)
    first = nn.Linear(SIDE * SIDE, 2)
    last = nn.Linear(2, 2)
    with torch.no_grad():
        first.weight[:] = torch.cat([-difference, difference]) * 10
        first.bias[:] = 0
        last.weight[:] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        last.bias[:] = 0
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)


def in_float64(file: bytes) -> ReferenceEvaluator:
    """The same graph with every float32 of it as a float64."""
    model = onnx.load_model_from_string(file)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            wide = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    for made in model.graph.node:
        for attribute in made.attribute:
            if made.op_type == "Cast" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.DOUBLE
    return ReferenceEvaluator(model)


def images_of(generator: Any, network: Network, count: int = 6) -> Any:
    """Float images, some pixels of which are 0, 1 or subnormal; the first image is black."""
    images = generator.random((count, *network.input_shape)).astype(np.float32)
    kind = generator.integers(0, 12, images.shape)
    images = np.select([kind == 0, kind == 1, kind == 2], [0, 1, 2.0**-130], images).astype("f4")
    images[0] = 0
    return images


def asked(network: Network, radius: str, images: Any, bounds: str = "intervals") -> dict[str, Any]:
    """A guard's answers by name, as ONNX Runtime gives them with all its optimisations."""
    file = write_guard(write_artifact(network), Radius.of(radius), bounds=bounds)
    return dict(zip(OUTPUTS, load(file, 1, usual=True).run(None, {"image": images}), strict=True))
