"""Networks for tests: tiny ones for brute force, small convolutional ones for sampling."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from asi_verify.core.bilinear import MatMul
from asi_verify.core.moves import Pad, Select
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    MaxPool,
    Operator,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh


def weights(generator: np.random.Generator, *shape: int) -> Any:
    """Weights of a size that keeps values of order 1."""
    fan_in = int(np.prod(shape[1:])) or 1
    return (generator.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32)


def mlp(generator: np.random.Generator, *sizes: int) -> Network:
    """Affine layers with ReLU between them."""
    operators: list[Operator] = []
    for before, after in itertools.pairwise(sizes):
        bias = weights(generator, after) * np.float32(0.2)
        operators += [Affine(weights(generator, after, before), bias), Relu()]
    return Network.sequential((sizes[0],), operators[:-1])


def residual(generator: np.random.Generator, size: int, outputs: int) -> Network:
    """``affine(x + affine(relu(affine(x))))``: a value that is read twice."""
    return Network(
        (size,),
        (
            Node(Affine(weights(generator, 2, size), weights(generator, 2)), (0,)),
            Node(Relu(), (1,)),
            Node(Affine(weights(generator, size, 2), weights(generator, size)), (2,)),
            Node(Add(), (0, 3)),
            Node(Relu(), (4,)),
            Node(Affine(weights(generator, outputs, size), weights(generator, outputs)), (5,)),
        ),
    )


def tiny_conv(generator: np.random.Generator) -> Network:
    """A one-dimensional convolution with stride, unequal padding and a scale before it."""
    return Network.sequential(
        (1, 3),
        [
            Scale(np.float32([[[1.7]]])[0], np.float32([[-0.4]])),
            Conv(weights(generator, 2, 1, 2), weights(generator, 2), (2,), ((1, 0),), (1,)),
            Relu(),
            Transpose((1, 0)),
            Reshape((4,)),
            Affine(weights(generator, 2, 4), weights(generator, 2)),
        ],
    )


def small_cnn(
    generator: np.random.Generator, side: int = 8, channels: int = 1, outputs: int = 3
) -> Network:
    """Two convolutions and two affine layers on small images."""
    quarter = (side // 2) // 2
    two, one = (2, 2), (1, 1)
    pads = ((1, 1), (1, 1))
    w = generator
    return Network.sequential(
        (channels, side, side),
        [
            Scale(np.full((1, 1, 1), 4.0, np.float32), np.full((1, 1, 1), -1.5, np.float32)),
            Conv(weights(w, 4, channels, 4, 4), weights(w, 4) * 0.1, two, pads, one),
            Relu(),
            Conv(weights(w, 6, 4, 4, 4), weights(w, 6) * 0.1, two, pads, one),
            Relu(),
            Reshape((6 * quarter**2,)),
            Affine(weights(w, 10, 6 * quarter**2), weights(w, 10) * 0.1),
            Relu(),
            Affine(weights(w, outputs, 10), weights(w, outputs) * 0.1),
        ],
    )


def grouped_cnn(generator: np.random.Generator) -> Network:
    """Groups, dilation, unequal padding and a residual sum, on images with two channels."""
    one = (1, 1)
    return Network(
        (2, 6, 5),
        (
            Node(
                Conv(
                    weights(generator, 4, 1, 3, 2),
                    weights(generator, 4) * 0.1,
                    one,
                    ((2, 2), (0, 2)),
                    (2, 2),
                    groups=2,
                ),
                (0,),
            ),
            Node(Relu(), (1,)),
            Node(
                Conv(
                    weights(generator, 4, 4, 1, 1), weights(generator, 4), one, ((0, 0),) * 2, one
                ),
                (2,),
            ),
            Node(Add(), (2, 3)),
            Node(Relu(), (4,)),
            Node(Transpose((1, 2, 0)), (5,)),
            Node(Reshape((120,)), (6,)),
            Node(Affine(weights(generator, 3, 120), weights(generator, 3)), (7,)),
        ),
    )


def volume_cnn(generator: np.random.Generator) -> Network:
    """A three-dimensional convolution."""
    return Network.sequential(
        (1, 4, 4, 4),
        [
            Conv(
                weights(generator, 3, 1, 2, 2, 2),
                weights(generator, 3) * 0.1,
                (2, 2, 2),
                ((0, 0),) * 3,
                (1, 1, 1),
            ),
            Relu(),
            Reshape((24,)),
            Affine(weights(generator, 2, 24), weights(generator, 2)),
        ],
    )


def tiny_pool(generator: np.random.Generator) -> Network:
    """Overlapping windows after a ReLU, padded at one end, so that two of them share a number."""
    return Network.sequential(
        (1, 2),
        [
            Conv(weights(generator, 2, 1, 1), weights(generator, 2), (1,), ((0, 0),), (1,)),
            Relu(),
            MaxPool((2,), (1,), ((1, 0),), (1,)),
            Reshape((4,)),
            Affine(weights(generator, 2, 4), weights(generator, 2)),
        ],
    )


def tiny_dense(generator: np.random.Generator) -> Network:
    """Every layer reads all values before it, as in DenseNet; ``MaxPool`` before a ReLU."""

    def affine(out: int, size: int) -> Affine:
        return Affine(weights(generator, out, size), weights(generator, out))

    return Network(
        (2,),
        (
            Node(affine(2, 2), (0,)),
            Node(Relu(), (1,)),
            Node(Concat(0, 2), (0, 2)),
            Node(affine(3, 4), (3,)),
            Node(Reshape((1, 3)), (4,)),
            Node(MaxPool((3,), (2,), ((0, 1),), (1,)), (5,)),
            Node(Relu(), (6,)),
            Node(Reshape((1,)), (7,)),
            Node(Concat(0, 4), (8, 2, 0, 2)),
            Node(affine(2, 7), (9,)),
        ),
    )


def pooled_cnn(generator: np.random.Generator) -> Network:
    """Max pooling with overlapping, padded and dilated windows, of numbers of either sign too."""
    one, none, w = (1, 1), ((0, 0), (0, 0)), generator
    return Network.sequential(
        (1, 9, 8),
        [
            Conv(weights(w, 4, 1, 2, 2), weights(w, 4) * 0.1, one, none, one),
            Relu(),
            MaxPool((3, 2), (2, 1), ((1, 0), (0, 1)), (1, 2)),
            Conv(weights(w, 3, 4, 2, 2), weights(w, 3) * 0.1, one, none, one),
            MaxPool((2, 2), (2, 2), ((0, 1), (1, 0)), one),
            Reshape((18,)),
            Affine(weights(w, 3, 18), weights(w, 3)),
        ],
    )


def dense_cnn(generator: np.random.Generator) -> Network:
    """Two convolutions whose outputs join what they read; pooled, and joined once more."""
    one, same, none, w = (1, 1), ((1, 1), (1, 1)), ((0, 0), (0, 0)), generator
    return Network(
        (2, 4, 4),
        (
            Node(Conv(weights(w, 3, 2, 3, 3), weights(w, 3) * 0.1, one, same, one), (0,)),
            Node(Relu(), (1,)),
            Node(Concat(0, 2), (0, 2)),
            Node(Conv(weights(w, 2, 5, 3, 3), weights(w, 2) * 0.1, one, same, one), (3,)),
            Node(Relu(), (4,)),
            Node(Concat(0, 3), (2, 5, 0)),
            Node(MaxPool((2, 2), (2, 2), none, one), (6,)),
            Node(Transpose((1, 2, 0)), (7,)),
            Node(MaxPool((3, 3), one, none, one), (5,)),
            Node(Transpose((1, 2, 0)), (9,)),
            Node(Concat(2, 2), (8, 10)),
            Node(Reshape((36,)), (11,)),
            Node(Affine(weights(w, 3, 36), weights(w, 3)), (12,)),
        ),
    )


def tiny_moved(generator: np.random.Generator) -> Network:
    """A number taken twice, a constant put in front, and one matrix for both rows."""
    return Network.sequential(
        (2,),
        [
            Select(0, (1, 0, 1)),
            Pad(((1, 0),), (0,), 0.5),
            Reshape((2, 2)),
            Affine(weights(generator, 1, 2), weights(generator, 1)),
            Relu(),
            Reshape((2,)),
            Affine(weights(generator, 2, 2), weights(generator, 2)),
        ],
    )


def upsampled_cnn(generator: np.random.Generator) -> Network:
    """A transposed convolution, a part of its output chosen, and a matrix for each row."""
    one, none, w = (1, 1), ((0, 0), (0, 0)), generator
    return Network.sequential(
        (2, 3, 3),
        [
            Pad(((0, 0), (1, 0), (0, 1)), (0, 0, 0), 0.25),
            Conv(weights(w, 3, 2, 2, 2), weights(w, 3) * 0.1, one, none, one),
            Relu(),
            Pad(((0, 0), (0, 0), (0, 0)), (0, 1, 2)),
            Conv(weights(w, 2, 3, 2, 3), weights(w, 2) * 0.1, one, ((1, 1), (2, 2)), one),
            Select(2, (6, 2, 3, 2, 0, 8)),
            Affine(weights(w, 3, 6), weights(w, 3)),
            Relu(),
            Reshape((36,)),
            Affine(weights(w, 3, 36), weights(w, 3)),
        ],
    )


def piecewise_cnn(generator: np.random.Generator) -> Network:
    """Leaky ReLUs with slopes of their channels, one that falls, and numbers that are clamped."""
    one, w = (1, 1), generator
    return Network.sequential(
        (1, 6, 6),
        [
            Conv(weights(w, 3, 1, 2, 2), weights(w, 3) * 0.1, (2, 2), ((0, 0),) * 2, one),
            LeakyRelu(np.float32([0.1, 0.5, 1.25]).reshape(3, 1, 1)),
            Conv(weights(w, 2, 3, 1, 1), weights(w, 2) * 0.1, one, ((0, 0),) * 2, one),
            Clamp(-0.25, 0.5),
            Reshape((18,)),
            Affine(weights(w, 6, 18), weights(w, 6)),
            LeakyRelu(np.array(-0.3, np.float32)),
            Affine(weights(w, 4, 6), weights(w, 4)),
            Clamp(-np.inf, 0.75),
            Affine(weights(w, 3, 4), weights(w, 3)),
        ],
    )


def gated(generator: np.random.Generator) -> Network:
    """A product of two values, one of them behind a ReLU, and its product with itself."""

    def affine(after: int, before: int) -> Affine:
        return Affine(weights(generator, after, before), weights(generator, after))

    return Network(
        (4,),
        (
            Node(affine(6, 4), (0,)),
            Node(Reshape((2, 3)), (1,)),
            Node(affine(6, 6), (1,)),
            Node(Relu(), (3,)),
            Node(Reshape((3, 2)), (4,)),
            Node(MatMul(), (2, 5)),
            Node(MatMul(), (6, 6)),
            Node(Reshape((4,)), (7,)),
            Node(affine(3, 4), (8,)),
        ),
    )


def attention(generator: np.random.Generator) -> Network:
    """What transformers are made of: two heads over three tokens, and a residual sum."""

    def affine() -> Affine:
        return Affine(weights(generator, 4, 4), weights(generator, 4) * np.float32(0.1))

    return Network(
        (3, 4),
        (
            *(Node(affine(), (0,)) for _ in range(3)),
            *(Node(Reshape((3, 2, 2)), (value,)) for value in (1, 2, 3)),
            Node(Transpose((1, 0, 2)), (4,)),
            Node(Transpose((1, 2, 0)), (5,)),
            Node(Transpose((1, 0, 2)), (6,)),
            Node(MatMul(), (7, 8)),
            Node(Scale(np.array(0.75, np.float32), np.array(0, np.float32)), (10,)),
            Node(Softmax(2), (11,)),
            Node(MatMul(), (12, 9)),
            Node(Transpose((1, 0, 2)), (13,)),
            Node(Reshape((3, 4)), (14,)),
            Node(Add(), (15, 0)),
            Node(Reshape((12,)), (16,)),
            Node(Affine(weights(generator, 3, 12), weights(generator, 3)), (17,)),
        ),
    )


def smooth_mlp(generator: np.random.Generator, activation: Operator, *sizes: int) -> Network:
    """Affine layers with a smooth activation between them."""
    operators: list[Operator] = []
    for before, after in itertools.pairwise(sizes):
        weight = weights(generator, after, before)
        operators += [Affine(weight, weights(generator, after)), activation]
    return Network.sequential((sizes[0],), operators[:-1])


def layer_norm(generator: np.random.Generator, *shape: int) -> LayerNormalization:
    """Layer normalisation over the last axes."""
    scale = 1 + weights(generator, *shape) * np.float32(0.2)
    return LayerNormalization(scale, weights(generator, *shape), float(np.float32(1e-5)))


def normalized_mlp(generator: np.random.Generator) -> Network:
    """A residual block of the kind that transformers are made of, with a softmax in the middle."""

    def affine(after: int, before: int) -> Affine:
        return Affine(weights(generator, after, before), weights(generator, after))

    return Network(
        (5,),
        (
            Node(affine(6, 5), (0,)),
            Node(layer_norm(generator, 6), (1,)),
            Node(affine(8, 6), (2,)),
            Node(Gelu(), (3,)),
            Node(affine(6, 8), (4,)),
            Node(Add(), (1, 5)),
            Node(Reshape((2, 3)), (6,)),
            Node(layer_norm(generator, 3), (7,)),
            Node(Softmax(1), (8,)),
            Node(Reshape((6,)), (9,)),
            Node(affine(3, 6), (10,)),
        ),
    )


def smooth_cnn(generator: np.random.Generator) -> Network:
    """A convolution with a layer norm over each image, tanh-GELU, softmax over channels, tanh."""
    one, two = (1, 1), (2, 2)
    return Network.sequential(
        (1, 6, 6),
        [
            Conv(weights(generator, 3, 1, 2, 2), weights(generator, 3), two, ((0, 0),) * 2, one),
            layer_norm(generator, 3, 3, 3),
            Gelu(tanh=True),
            Softmax(0),
            Conv(weights(generator, 2, 3, 1, 1), weights(generator, 2), one, ((0, 0),) * 2, one),
            Tanh(),
            Reshape((18,)),
            Affine(weights(generator, 4, 18), weights(generator, 4)),
            Sigmoid(),
            Affine(weights(generator, 3, 4), weights(generator, 3)),
        ],
    )


TINY = {
    "mlp": lambda g: mlp(g, 2, 3, 2),
    "deep": lambda g: mlp(g, 2, 2, 2, 2),
    "residual": lambda g: residual(g, 2, 2),
    "conv": tiny_conv,
    "pool": tiny_pool,
    "dense": tiny_dense,
    "moved": tiny_moved,
}
"""Networks with at most 3 inputs and 64 activation patterns, for brute force."""

LARGER = {
    "cnn": small_cnn,
    "grouped": grouped_cnn,
    "volume": volume_cnn,
    "pooled": pooled_cnn,
    "densely connected": dense_cnn,
    "upsampled": upsampled_cnn,
    "piecewise": piecewise_cnn,
    "gated": gated,
    "mlp": lambda g: mlp(g, 6, 12, 9, 3),
}
"""Networks for sampling."""

SMOOTH = {
    "sigmoid": lambda g: smooth_mlp(g, Sigmoid(), 4, 6, 5, 3),
    "tanh": lambda g: smooth_mlp(g, Tanh(), 4, 6, 5, 3),
    "erf": lambda g: smooth_mlp(g, Erf(), 4, 6, 5, 3),
    "gelu": lambda g: smooth_mlp(g, Gelu(), 4, 6, 5, 3),
    "gelu by tanh": lambda g: smooth_mlp(g, Gelu(tanh=True), 4, 6, 5, 3),
    "normalised": normalized_mlp,
    "smooth cnn": smooth_cnn,
    "attention": attention,
}
"""Networks of the operators that are not piecewise linear, for sampling."""

seeds = st.integers(min_value=0, max_value=2**32 - 1)


def random_box(
    generator: np.random.Generator, shape: tuple[int, ...], batch: int, radius: float
) -> tuple[Any, Any]:
    """Random boxes inside [0, 1], float32."""
    centre = generator.random((batch, *shape))
    reach = radius * generator.random((batch, *shape))
    lower = np.clip(centre - reach, 0, 1).astype(np.float32)
    upper = np.clip(centre + reach, 0, 1).astype(np.float32)
    return lower, np.maximum(lower, upper)


def sampled(generator: np.random.Generator, lower: Any, upper: Any, count: int) -> Any:
    """Random points of one box ``(*shape)``: inside it, and corners; shape ``(count, *shape)``."""
    share = generator.random((count, *lower.shape))
    share[: count // 2] = np.rint(share[: count // 2])
    points = lower + share * (upper - lower)
    return np.clip(points, lower, upper).astype(np.float32)
