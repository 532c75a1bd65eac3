"""What the closed set of operators refuses, by the shapes and numbers that it was given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asi_verify.core.moves import Pad, Select
from asi_verify.core.operators import Concat, MaxPool
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.errors import ModelError


@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "dilations"),
    [
        ((), (), (), ()),
        ((2,), (1, 1), ((0, 0),), (1,)),
        ((0,), (1,), ((0, 0),), (1,)),
        ((2,), (0,), ((0, 0),), (1,)),
        ((2,), (1,), ((0, 0),), (0,)),
        ((2,), (1,), ((-1, 0),), (1,)),
        ((2,), (1,), ((0, 2),), (1,)),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(kernel, strides, pads, dilations):
    """Extents, steps and padding that no runtime takes."""
    with pytest.raises(ModelError, match="max pool: kernel"):
        MaxPool(kernel, strides, pads, dilations)


@pytest.mark.parametrize("shape", [(2,), (2, 3, 3), (2, 1)])
def test_a_window_that_does_not_fit_is_refused(shape):
    """Another number of axes, or too few numbers."""
    with pytest.raises(ModelError, match="max pool"):
        MaxPool((2,), (1,), ((0, 0),), (1,)).output_shape(shape)


def test_no_window_holds_padding_alone():
    """Every geometry of one axis is refused, or each of its windows holds a number of the input."""
    taken = refused = 0
    for size, kernel, stride, dilation in itertools.product(range(1, 5), *[range(1, 4)] * 3):
        for before, after in itertools.product(range(kernel), repeat=2):
            pool = MaxPool((kernel,), (stride,), ((before, after),), (dilation,))
            try:
                (_, count) = pool.output_shape((1, size))
            except ModelError:
                refused += 1
                continue
            taken += 1
            offsets = np.arange(kernel) * dilation
            for start in np.arange(count) * stride - before:
                places = start + offsets
                assert np.any((places >= 0) & (places < size)), pool
                assert places[-1] < size + after
            assert start + stride + offsets[-1] >= size + after
    assert taken > refused > 0


@pytest.mark.parametrize(
    ("axis", "shapes"),
    [(0, [(2, 3), (2, 4)]), (1, [(2, 3), (3, 3)]), (1, [(2,), (2,)]), (0, [(2,), (2, 2)])],
)
def test_values_that_do_not_fit_together_are_refused(axis, shapes):
    """All but the one axis have to agree, and there has to be one."""
    with pytest.raises(ModelError, match="concat: values"):
        Concat(axis, len(shapes)).output_shape(*shapes)


@pytest.mark.parametrize(("axis", "count"), [(-1, 2), (0, 1), (0, 0)])
def test_a_concatenation_of_nothing_is_refused(axis, count):
    """It takes two values, along an axis of one sample."""
    with pytest.raises(ModelError, match="concat"):
        Concat(axis, count)


def test_the_axis_that_is_joined_grows():
    """The others stay."""
    assert Concat(1, 3).output_shape((2, 3, 4), (2, 1, 4), (2, 2, 4)) == (2, 6, 4)
    assert Concat(1, 3).arity == 3


@pytest.mark.parametrize(("axis", "places"), [(-1, (0,)), (0, ()), (0, (1, -1))])
def test_a_selection_of_nothing_is_refused(axis, places):
    """Places are counted from 0, along an axis of one sample."""
    with pytest.raises(ModelError, match="select"):
        Select(axis, places)


@pytest.mark.parametrize(("axis", "places"), [(0, (2,)), (2, (0,))])
def test_a_place_that_is_not_there_is_refused(axis, places):
    """Beyond the last one of an axis, or along no axis."""
    with pytest.raises(ModelError, match="select"):
        Select(axis, places).output_shape((2, 3))


@pytest.mark.parametrize(
    ("pads", "between", "fill"),
    [
        ((), (), 0.0),
        (((1, 1),), (0, 0), 0.0),
        (((-1, 1),), (0,), 0.0),
        (((0, 0),), (-1,), 0.0),
        (((1, 0),), (0,), np.inf),
        (((1, 0),), (0,), np.nan),
        (((1, 0),), (0,), 0.1),
        (((1, 0),), (1,), 1.0),
    ],
)
def test_padding_that_makes_no_sense_is_refused(pads, between, fill):
    """Negative, of other axes, with what is no float32, or with more than zeros in between."""
    with pytest.raises(ModelError, match="pad"):
        Pad(pads, between, fill)


def test_padding_fits_values_of_its_axes():
    """And says where their numbers are then."""
    pad = Pad(((1, 2), (0, 1)), (0, 2))
    assert pad.output_shape((3, 2)) == (6, 5)
    assert pad.inner((3, 2)) == (slice(1, 4, 1), slice(0, 4, 3))
    with pytest.raises(ModelError, match="pad"):
        pad.output_shape((3,))


@pytest.mark.parametrize(
    ("lower", "upper"),
    [(1.0, 0.0), (np.nan, 1.0), (0.0, np.nan), (np.inf, np.inf), (-np.inf, -np.inf), (0.1, 1.0)],
)
def test_a_clamp_that_makes_no_sense_is_refused(lower, upper):
    """Upside down, to what is no number, to infinity alone, or to what is no float32."""
    with pytest.raises(ModelError, match="clamp"):
        Clamp(lower, upper)


def test_slopes_fit_the_value():
    """They are repeated along axes, and do not enlarge it."""
    leaky = LeakyRelu(np.ones((3, 1), np.float32))
    assert leaky.output_shape((3, 4)) == (3, 4)
    for shape in ((2, 4), (1, 4), (3,)):
        with pytest.raises(ModelError, match="leaky"):
            leaky.output_shape(shape)
