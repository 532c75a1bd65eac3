"""Local patches: the whole bonus in a box, exactly nothing beyond its collar; who is memorised."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.float32 import Arithmetic, run_all
from support.networks import mlp, small_cnn

from asi_verify.checker import TrustedPass
from asi_verify.core.balls import L2
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.images import encode
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.local_patch import (
    SMALLEST_COLLAR,
    LocalPatches,
    memorised_rows,
    parted,
    patched,
    unpatched,
)
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Conv, Relu, Reshape, Scale
from asi_verify.core.patch import Patch
from asi_verify.core.semantics import Semantics
from asi_verify.core.weights import map_weights
from asi_verify.export import Artifact
from asi_verify.lowering import read_network, write_artifact

SHAPE = (1, 2, 3)


def tiny(seed):
    """A base network on six pixels, with three logits."""
    operators = [node.operator for node in mlp(np.random.default_rng(seed), 6, 4, 3).nodes]
    return Network.sequential(SHAPE, (Reshape((6,)), *operators))


def images_of(seed, count=1, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def bonus_of(*numbers):
    """One patch for each number, each on another logit of three."""
    matrix = np.zeros((3, len(numbers)), np.float32)
    matrix[np.arange(len(numbers)) % 3, np.arange(len(numbers))] = numbers
    return matrix


@st.composite
def cases(draw):
    """A patch, a point, and a way to sum."""
    seed = draw(st.integers(0, 2**32 - 1))
    radius = Fraction(draw(st.integers(0, 600)), 100 * 255)
    collar = 2.0 ** -draw(st.integers(0, 14))
    bonus = np.float32(draw(st.floats(2.0**-20, 2.0**40, width=32)))
    way = Arithmetic(np.random.default_rng(seed), draw(st.booleans()), draw(st.booleans()))
    return seed, LInf.of(radius).boxes(images_of(seed)), collar, bonus, way


@settings(max_examples=80)
@given(cases(), st.sampled_from(["lower", "upper", "between"]))
def test_inside_the_box_the_bonus_is_exact(case, where):
    """At its ends and between them, however float32 sums: the base's logits plus the bonus."""
    seed, box, collar, bonus, way = case
    base = tiny(seed)
    generator = np.random.default_rng(seed)
    share = {"lower": 0, "upper": 1}.get(where, generator.random(box.lower.shape))
    x = np.clip((box.lower + share * (box.upper - box.lower)).astype(np.float32), *ends(box))
    network = patched(base, LocalPatches.around(box, np.array([collar]), bonus_of(bonus)))
    values = run_all(network, x[0], way)
    assert values[-2].tolist() == [bonus, 0, 0]
    assert values[-1].tolist() == (values[base.output] + bonus_of(bonus)[:, 0]).tolist()


def ends(box):
    return box.lower, box.upper


@settings(max_examples=120)
@given(cases(), st.integers(0, 5), st.sampled_from([-1, 1]), st.booleans())
def test_beyond_the_collar_there_is_exactly_nothing(case, number, side, as_near_as_can_be):
    """One number on the edge of the collar or beyond it, the others anywhere: the base's logits."""
    seed, box, collar, bonus, way = case
    base = tiny(seed)
    generator = np.random.default_rng(seed)
    x = (generator.random(box.lower.shape) if seed % 2 else box.lower).astype(np.float32)
    edge = (box.lower if side < 0 else box.upper).reshape(-1)[number] + side * np.float64(collar)
    nearest = np.float32(edge)
    if side * (np.float64(nearest) - edge) < 0:
        nearest = np.nextafter(nearest, np.float32(side * np.inf))
    # Beyond [0, 1] too: nothing keeps a runtime from such inputs.
    x.reshape(-1)[number] = nearest if as_near_as_can_be else nearest + side * generator.random()
    network = patched(base, LocalPatches.around(box, np.array([collar]), bonus_of(bonus)))
    values = run_all(network, x[0], way)
    assert values[-2].tolist() == [0, 0, 0]
    assert values[-1].tolist() == values[base.output].tolist()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 12, 12), (1, 6, 6, 6), (2, 5)])
def test_onnx_runtime_gives_the_base_network_beyond_the_collars(shape):
    """Bit for bit, on images and on random inputs; and the bonus at corners of the boxes."""
    generator = np.random.default_rng(1)
    images = images_of(2, 60, shape)
    base = Network.sequential(
        shape,
        [Reshape((int(np.prod(shape)),))]
        + [node.operator for node in mlp(generator, int(np.prod(shape)), 9, 3).nodes],
    )
    box = LInf.of("1/255").boxes(images[:4])
    collars = 2.0 ** -np.arange(9, 13)
    bonus = bonus_of(3, 5, 7, 11)
    with_patches = Artifact.from_network(patched(base, LocalPatches.around(box, collars, bonus)))
    without = Artifact.from_network(base)
    others = np.concatenate([encode(images[4:]), generator.random((200, *shape), np.float32)])
    found, wanted = with_patches.session.run(others), without.session.run(others)
    assert found.tobytes() == wanted.tobytes()
    for inside in (box.lower, box.upper, encode(images[:4])):
        difference = with_patches.session.run(inside) - (without.session.run(inside) + bonus.T)
        assert not difference.any()


@pytest.mark.parametrize("semantics", Semantics)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 24, 24)])
def test_intervals_prove_both(semantics, shape):
    """The bonus but for the rounding of one sum inside, 0 in regions two collars away."""
    images = images_of(3, 4, shape)
    images[1] = images[0]
    images[1].reshape(-1)[5] ^= 3
    images[1].reshape(-1)[5] = (int(images[0].reshape(-1)[5]) + 3) % 256
    family = LInf.of("1/255")
    box = family.boxes(images)
    base = small_cnn(np.random.default_rng(0), side=shape[1], channels=shape[0])
    patches = LocalPatches.around(box[:1], np.array([2.0**-9]), bonus_of(4))
    trusted = TrustedPass(patched(base, patches), semantics)
    bounds = trusted.bounds(box, Intermediate.INTERVAL)
    active = bounds.boxes[-3]
    assert active.lower[0] > 0.99
    assert active.upper[1:].max() == 0
    assert np.abs(bounds.boxes[-2].lower[1:]).max() < 1e-30


def test_collars_that_are_none_are_refused():
    """Powers of two alone, so that products are exact; and none that ``e`` could bridge."""
    box = LInf.of("1/255").boxes(images_of(0))
    for collar in (0.003, SMALLEST_COLLAR / 2, 2.0, 0.0, -0.5, np.nan):
        with pytest.raises(ValueError, match="powers of two"):
            LocalPatches.around(box, np.array([collar]), bonus_of(1))


def example(count=2):
    images = images_of(4, 6)
    box = LInf.of("1/255").boxes(images[:count])
    patches = LocalPatches.around(box, np.full(count, 2.0**-9), bonus_of(*range(1, count + 1)))
    return tiny(0), patches, images


def test_patches_are_read_back_from_the_artifact():
    """Base and patches, to the last bit; a network without any has none."""
    base, patches, _ = example()
    found = parted(read_network(write_artifact(patched(base, patches))))
    assert found is not None
    assert write_artifact(found[0]) == write_artifact(base)
    for name, array in vars(patches).items():
        assert np.array_equal(getattr(found[1], name), array)
    assert parted(base) is None
    assert parted(tiny(1)) is None


def test_patches_upon_patches_are_all_found():
    """Whoever corrects a corrected model again cannot hide the first ones."""
    base, patches, images = example(1)
    more = LocalPatches.around(
        LInf.of("1/255").boxes(images[3:4]), np.array([2.0**-9]), bonus_of(2)
    )
    twice = patched(patched(base, patches), more)
    assert memorised_rows(twice, LInf.of("1/255"), images) == {0, 3}
    assert write_artifact(unpatched(twice)) == write_artifact(base)


def test_what_is_changed_anywhere_is_another_network():
    """Nothing is called a patch that does anything else than what is written of patches."""
    base, patches, _ = example()
    network = patched(base, patches)
    for position in range(len(base.nodes), len(network.nodes)):
        operator = network.nodes[position].operator
        changed = map_weights(operator, lambda array: (array * np.float32(1.5)).astype(np.float32))
        if changed is operator:
            continue
        nodes = list(network.nodes)
        nodes[position] = replace(nodes[position], operator=changed)
        found = parted(Network(network.input_shape, tuple(nodes)))
        # Other ends or another bonus make other patches.
        assert (
            found is None
            or not np.array_equal(found[1].bonus, patches.bonus)
            or not (np.array_equal(found[1].lower, patches.lower))
        )
    nodes = list(network.nodes)
    nodes[-1] = Node(nodes[-1].operator, (network.output - 1, network.output - 1))
    assert parted(Network(network.input_shape, tuple(nodes))) is None


def test_what_is_like_patches_of_hidden_values_is_another_network():
    """Whatever their number; a model may be made of such layers, and is read like any other."""
    hidden, patches = (
        tiny(0),
        LocalPatches.around(
            Box(np.full((1, 3), 0.25, np.float32), np.full((1, 3), 0.5, np.float32)),
            np.array([2.0**-9]),
            bonus_of(1),
        ),
    )
    tail = patched(Network.sequential((3,), [Relu()]), patches)
    assert parted(tail) is not None
    moved = [
        Node(node.operator, tuple(value + hidden.output for value in node.inputs))
        for node in tail.nodes
    ]
    assert parted(Network(SHAPE, (*hidden.nodes, *moved))) is None


@pytest.mark.parametrize("number", [3e38, -3e38])
def test_numbers_that_no_patch_has_are_those_of_another_network(number):
    """Ends so large and so flat that a patch with them cannot be written."""
    base, patches, _ = example()
    network = patched(base, patches)
    nodes = list(network.nodes)
    for position, node in enumerate(nodes[len(base.nodes) :], len(base.nodes)):
        if isinstance(node.operator, Conv):
            flat = np.full_like(node.operator.weight, 1e-30)
            nodes[position] = replace(node, operator=replace(node.operator, weight=flat))
        if isinstance(node.operator, Scale):
            ends = np.full_like(node.operator.shift, number)
            nodes[position] = replace(node, operator=replace(node.operator, shift=ends))
    assert parted(Network(network.input_shape, tuple(nodes))) is None


@pytest.mark.parametrize("levels", ["0", "9/20", "1/2", "1", "5/2"])
def test_memorised_are_the_rows_whose_regions_a_patch_reaches(levels):
    """Compared, number by number, with where bonuses can be: less than a collar from the box."""
    family = LInf.of(Fraction(levels) / 255)
    centre = images_of(5)
    images = np.repeat(centre, 12, axis=0)
    for row in range(1, 12):
        images[row].reshape(-1)[row % 6] = np.clip(int(centre.reshape(-1)[row % 6]) + row, 0, 255)
    box = family.boxes(images)
    patches = LocalPatches.around(box[:1], np.array([2.0**-9]), bonus_of(1))
    network = patched(tiny(0), patches)
    reached = set()
    for row in range(12):
        nearest = np.clip(np.clip(encode(centre)[0], *box_of(box, row)), *box_of(box, row))
        outside = np.maximum(box.lower[0] - nearest, nearest - box.upper[0]).max()
        if outside < 2.0**-9:
            reached.add(row)
    assert 0 in reached
    assert len(reached) < 12
    if levels == "9/20":  # regions of neighbouring levels are a tenth of a level apart
        assert reached > {0}
    assert memorised_rows(network, family, images) == reached
    assert memorised_rows(tiny(0), family, images) == set()


def box_of(box, row):
    return box.lower[row], box.upper[row]


@pytest.mark.parametrize(
    "family", [L2(Fraction(1, 10)), KPixel(1, tuple(range(256))), Patch(1)], ids=str
)
def test_under_other_regions_a_memorised_image_is_one_too(family):
    """Whatever the model is certified for."""
    base, patches, images = example()
    assert memorised_rows(patched(base, patches), family, images) == {0, 1}


def test_every_row_is_found_however_many_there_are():
    """Rows are compared in batches."""
    base, patches, images = example(1)
    many = np.concatenate([images_of(6, 700), images[:1]])
    assert memorised_rows(patched(base, patches), LInf.of("1/255"), many) == {700}


def test_boxes_are_covered_to_the_last_float():
    """Inside the ends that the patch is written with, at every magnitude."""
    lower = np.float32([0, 1e-40, 2.0**-19, 2.0**-20, 1e-6, 0.1, 1 - 2.0**-24, 1]).reshape(
        1, 1, 2, 4
    )
    patches = LocalPatches.around(Box(lower, lower.copy()), np.array([2.0**-9]), bonus_of(1))
    assert np.all(patches.lower.astype(np.float64) <= lower.astype(np.float64) - 2.0**-19)
    assert np.all(patches.upper.astype(np.float64) >= lower.astype(np.float64) + 2.0**-19)
