"""What ONNX Runtime's sigmoid, tanh, erf, exp, GELU, softmax and layer norm are off by, densely.

Assumptions E2 to E4 of docs/explanation/smooth.md: each bound is at least four times what is seen.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from support.networks import SMOOTH
from support.onnx_files import model, node

from asi_verify.checker import TrustedPass
from asi_verify.checker.curves import ROUGH32, curve_of
from asi_verify.checker.rules import Functionals
from asi_verify.checker.table import rule_for
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine
from asi_verify.core.semantics import Semantics
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh
from asi_verify.lowering import write_artifact
from asi_verify.runtime.session import load

FLOAT32 = Semantics.FLOAT32
CURVES = {
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "erf": Erf(),
    "gelu": Gelu(),
    "gelu by tanh": Gelu(tanh=True),
}
SPARE = 4


@pytest.fixture(scope="module")
def numbers():
    """Over a million float32 numbers: any bits, dense where the functions bend, all sizes."""
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2**32, 400_000, dtype=np.uint32).view(np.float32)
    return np.concatenate(
        [
            bits[np.isfinite(bits) & (np.abs(bits) < 2.0**120)],
            np.linspace(-20, 20, 400_001).astype(np.float32),
            np.linspace(-1.5, 1.5, 300_001).astype(np.float32),
            (generator.normal(size=100_000) * 60).astype(np.float32),
            np.float32([0.0, -0.0, 2.0**-149, -(2.0**-149), 88.7, -88.7, -103.9]),
        ]
    )


def run(data, x):
    return load(data).run(None, {load(data).get_inputs()[0].name: x})[0].astype(np.float64)


@pytest.mark.parametrize("name", CURVES)
def test_a_runtimes_curves_are_within_e2_of_the_exact_ones(name, numbers):
    """For over a million numbers; what is exact is known far better than what is compared."""
    operator = CURVES[name]
    # Beyond it the cube of the tanh form overflows, and nothing is proved.
    x = numbers[np.abs(numbers) < 2.0**40] if name == "gelu by tanh" else numbers
    found = run(write_artifact(Network.sequential((1,), [operator])), x[:, None])[:, 0]
    curve = curve_of(operator)
    exact = np.concatenate([curve.value(part) for part in np.array_split(x.astype(np.float64), 64)])
    assert np.all(SPARE * np.abs(found - exact) <= curve.rough(np.abs(x.astype(np.float64))))


def test_a_runtimes_exp_is_within_e3_of_the_exact_one(numbers):
    """Of nonpositive numbers, as softmax takes it."""
    x = -np.abs(numbers)
    found = run(model([node("Exp", "x")], (1,)), x[:, None])[:, 0]
    exact = np.exp(x.astype(np.float64))
    assert np.all(SPARE * np.abs(found - exact) <= np.maximum(ROUGH32 * exact, 2.0**-120))


@pytest.mark.parametrize("half_first", [True, False])
def test_a_gelu_that_is_spelled_out_is_within_the_bound(half_first, numbers):
    """Whether the runtime recognises and replaces it, or does as the file says."""
    constants = {"h": np.float32(0.5), "i": np.float32(1), "r": np.float32(2**0.5)}
    nodes = [node("Div", "x r", "a"), node("Erf", "a", "e"), node("Add", "e i", "g")]
    nodes += [node("Mul", "x g", "p"), node("Mul", "p h")]
    if half_first:
        nodes[3:] = [node("Mul", "x h", "p"), node("Mul", "p g")]
    data = model(nodes, (1,), constants)
    x = numbers[:, None]
    found = run(data, x)[:, 0]
    curve = curve_of(Gelu())
    wide = numbers.astype(np.float64)
    exact = np.concatenate([curve.value(part) for part in np.array_split(wide, 64)])
    assert np.all(2 * np.abs(found - exact) <= curve.rough(np.abs(wide)))


@pytest.mark.parametrize("count", [1, 2, 7, 64, 1000])
def test_a_runtimes_softmax_is_within_e3_of_the_exact_one(count):
    """Rows of all sizes and spreads, the sum over up to a thousand numbers."""
    generator = np.random.default_rng(count)
    rows = (200_000 if count < 64 else 20_000) // count
    x = generator.normal(size=(rows, count)) * 10.0 ** generator.uniform(-3, 2.5, size=(rows, 1))
    x = (x + 10.0 ** generator.uniform(-3, 4, size=(rows, 1))).astype(np.float32)
    operator = Softmax(0)
    found = run(write_artifact(Network.sequential((count,), [operator])), x)
    wide = x.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    exact = powers / powers.sum(axis=1, keepdims=True)
    error = rule_for(operator, FLOAT32, (count,)).local_error(Box(wide, wide.copy()))
    assert np.all(SPARE * np.abs(found - exact) <= error)


def exact_layer_norm(operator, x):
    wide = x.astype(np.longdouble)
    centred = wide - wide.mean(axis=1, keepdims=True)
    variance = (centred * centred).mean(axis=1, keepdims=True)
    return (
        centred / np.sqrt(variance + operator.epsilon) * operator.scale + operator.shift
    ).astype(np.float64)


def in_float32(operator, x, one_pass):
    """Written out in binary32, with the sums from left to right."""
    n = np.float32(x.shape[1])
    mean = np.add.accumulate(x, axis=1)[:, -1:] / n
    if one_pass:
        variance = np.add.accumulate(x * x, axis=1)[:, -1:] / n - mean * mean
    else:
        variance = np.add.accumulate((x - mean) ** 2, axis=1)[:, -1:] / n
    r = np.float32(1) / np.sqrt(variance + np.float32(operator.epsilon))
    if one_pass:
        return x * (r * operator.scale) + (operator.shift - mean * (r * operator.scale))
    return (x - mean) * r * operator.scale + operator.shift


@pytest.mark.parametrize("count", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("how", ["runtime", "one pass", "two passes"])
def test_layer_norms_are_within_e4_of_the_exact_one(count, how):
    """Rows of all sizes; means far from 0 too, where the squares cancel and little is claimed."""
    generator = np.random.default_rng(count)
    rows = 100_000 // count
    x = generator.normal(size=(rows, count)) * 10.0 ** generator.uniform(-4, 3, size=(rows, 1))
    x = (x + 10.0 ** generator.uniform(-4, 3, size=(rows, 1))).astype(np.float32)
    scale, shift = generator.normal(size=(2, count)).astype(np.float32)
    operator = LayerNormalization(scale, shift, float(np.float32(1e-5)))
    if how == "runtime":
        found = run(write_artifact(Network.sequential((count,), [operator])), x)
    else:
        with np.errstate(invalid="ignore"):
            found = in_float32(operator, x, how == "one pass").astype(np.float64)
    wide = x.astype(np.float64)
    error = rule_for(operator, FLOAT32, (count,)).local_error(Box(wide, wide.copy()))
    claimed = error < 1e30
    assert claimed.mean() > 0.3
    spare = SPARE if how == "runtime" else 1
    off = np.abs(found - exact_layer_norm(operator, x))
    assert np.all(spare * off[claimed] <= error[claimed])


@pytest.mark.parametrize("one_pass", [True, False])
def test_what_a_long_mean_loses_is_covered(one_pass):
    """All terms but the first; the last number is the mean, so nothing else is off there."""
    count = 4096
    x = np.full((1, count), 2.0**-24, np.float32)
    x[0, 0], x[0, -1] = 1, 0
    x[0, -1] = x.mean(dtype=np.float64) * count / (count - 1)
    ones = np.ones(count, np.float32)
    operator = LayerNormalization(ones, 0 * ones, 2.0**-40)
    found = in_float32(operator, x, one_pass).astype(np.float64)
    wide = x.astype(np.float64)
    error = rule_for(operator, FLOAT32, (count,)).local_error(Box(wide, wide.copy()))
    assert np.all(np.abs(found - exact_layer_norm(operator, x)) <= error)


@pytest.mark.parametrize("name", ["layer norm", "gelu by tanh"])
def test_what_may_cancel_or_overflow_on_the_way_is_not_proved(name):
    """A variance that rounding may make negative, and a cube that is out of range."""
    operator, size = {
        "layer norm": (
            LayerNormalization(np.ones(4, np.float32), np.ones(4, np.float32), 2**-20),
            1e4,
        ),
        "gelu by tanh": (Gelu(tanh=True), 1e13),
    }[name]
    rows = Affine(np.eye(4, dtype=np.float32)[:2], np.float32([100.0, 0]))
    network = Network.sequential((4,), [operator, rows])
    x = np.float32([[size, size + 1e-2 * size * 1e-4, size, size]])
    for semantics, sound in ((Semantics.REAL, True), (FLOAT32, False)):
        trusted = TrustedPass(network, semantics)
        for intermediate in Intermediate:
            found = trusted.bounds(Box(x, x.copy()), intermediate)
            assert found.sound.tolist() == [sound]
            for to_input in (True, False):
                bound = trusted.lower(found, np.array([[1.0, -1.0]]), to_input=to_input)
                assert (bound.item() > -np.inf) is sound


def test_softmaxes_over_too_many_numbers_have_no_bound_in_float32():
    """Their sums' rounding would be as large as the result."""
    with pytest.raises(Exception, match="softmax over 3000000"):
        rule_for(Softmax(0), FLOAT32, (3_000_000,))
    rule_for(Softmax(0), Semantics.REAL, (3_000_000,))


def test_local_errors_are_weighed_by_what_an_output_matters():
    """Both signs of a coefficient lose the local error; a coefficient of 0 loses nothing."""
    x = np.zeros((1, 2))
    for operator in (Sigmoid(), Softmax(0)):
        rules = [rule_for(operator, s, (2,)) for s in (Semantics.REAL, FLOAT32)]
        for a in ([[1.0, 0.0]], [[-1.0, 0.0]]):
            functional = Functionals(np.array(a), np.zeros(1, np.intp))
            real, rounded = (
                (p.constant - p.error).item()
                for p in (rule.push_back(functional, Box(x, x.copy())) for rule in rules)
            )
            local = rules[1].local_error(Box(x, x.copy()))[0, 0]
            assert 0.999 * local <= real - rounded <= 1.001 * local


def test_the_artifact_of_a_gelu_is_of_the_operator_set_that_has_it():
    """All others stay at the set they were written in before."""
    for operator, version in ((Gelu(), 20), (Tanh(), 17)):
        written = onnx.load_from_string(write_artifact(Network.sequential((3,), [operator])))
        assert written.opset_import[0].version == version


KINDS = {
    "Add", "BiasGelu", "Conv", "Erf", "FusedConv", "FusedGemm", "FusedMatMul", "Gelu", "Gemm",
    "LayerNormalization", "MatMul", "ReorderInput", "ReorderOutput", "Reshape", "Sigmoid",
    "SkipLayerNormalization", "Softmax", "Tanh", "Transpose",
}  # fmt: skip
"""Operators of an optimised artifact whose arithmetic the assumptions describe."""


@pytest.mark.parametrize("name", SMOOTH)
def test_onnx_runtime_really_runs_operators_that_the_assumptions_describe(name, tmp_path):
    """After its optimisations; none of them approximates what is exact in the file."""
    data = write_artifact(SMOOTH[name](np.random.default_rng(4)))
    load(data, optimised=str(tmp_path / "optimised.onnx"))
    optimised = onnx.load(tmp_path / "optimised.onnx")
    assert {node.op_type for node in optimised.graph.node} <= KINDS
