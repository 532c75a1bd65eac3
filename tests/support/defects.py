"""The seeded defects: what is changed where, and the test that has to notice."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DEFECTS", "Defect"]


class Defect(NamedTuple):
    """One textual change of one file.

    Attributes:
        name: what is wrong then.
        file: below ``asi_verify/``.
        original: text that occurs there exactly once.
        changed: what stands in its place.
        detector: node id of the test that has to fail, from the repository's root.
    """

    name: str
    file: str
    original: str
    changed: str
    detector: str


_RULES = "tests/checker/test_rules.py::test_"
_LAWS = "tests/checker/test_laws.py::test_"
_PASS = "tests/soundness/test_trusted_pass.py::test_"
_FOLDER = "tests/checker/test_folder.py::test_"
_CANONICAL = "tests/core/test_canonical.py::test_"
_CERTIFICATE = "tests/core/test_certificate.py::test_"
_PROPERTIES = "tests/core/test_properties.py::test_"
_RADIUS = "tests/core/test_radius.py::test_"
_REGION = "tests/core/test_region.py::test_"
_OPERATORS = "tests/lowering/test_operators.py::test_"
_FILES = "tests/lowering/test_files.py::test_"
_SMT = "tests/smt/test_smt.py::test_"
_AUDIT = "tests/audit/test_audit.py::test_"
_CASCADE = "tests/prove/test_cascade.py::test_"
_BUGS = "tests/bugs/test_bugs.py::test_"
_PROPOSERS = "tests/bounds/test_proposers.py::test_"
_EVENTS = "tests/store/test_events.py::test_"
_STATEMENT = "tests/attest/test_statement.py::test_"
_VERIFICATION = "tests/attest/test_verification.py::test_"
_SIGNATURES = "tests/attest/test_signatures.py::test_"

_ARITHMETIC = [
    Defect(
        "down rounds up",
        "checker/arithmetic.py",
        "np.nextafter(values - ETA, -np.inf)",
        "np.nextafter(values + ETA, np.inf)",
        _RULES + "directed_rounding_brackets_the_exact_result",
    ),
    Defect(
        "up rounds down",
        "checker/arithmetic.py",
        "np.nextafter(values + ETA, np.inf)",
        "np.nextafter(values - ETA, -np.inf)",
        _RULES + "directed_rounding_brackets_the_exact_result",
    ),
    Defect(
        "gamma without its denominator",
        "checker/arithmetic.py",
        "terms * UNIT / (1 - terms * UNIT) * (1 + 4 * UNIT)",
        "terms * UNIT",
        _RULES + "gamma_is_at_least_its_definition",
    ),
    Defect(
        "gamma of a fixed number of terms",
        "checker/arithmetic.py",
        "return terms * UNIT /",
        "return 2 * UNIT /",
        _LAWS + "terms_that_a_long_sum_loses_are_covered",
    ),
    Defect(
        "a sum that is not enlarged",
        "checker/arithmetic.py",
        "values * (1 + 2 * gamma(terms + 8)) + 2 * (terms + 8) * ETA",
        "values * 1.0",
        _RULES + "an_enlarged_sum_is_at_least_the_exact_one",
    ),
    Defect(
        "no allowance for underflow",
        "checker/arithmetic.py",
        "ETA = 2.0**-500",
        "ETA = 0.0",
        _LAWS + "products_that_underflow_are_covered",
    ),
    Defect(
        "half the unit roundoff",
        "checker/arithmetic.py",
        "UNIT = 2.0**-53",
        "UNIT = 2.0**-54",
        _RULES + "gamma_is_at_least_its_definition",
    ),
    Defect(
        "no limit to the range of the analysis",
        "checker/arithmetic.py",
        "LIMIT = 2.0**500",
        'LIMIT = float("inf")',
        _LAWS + "coefficients_beyond_the_range_of_the_analysis_prove_nothing",
    ),
]

_AFFINE = [
    Defect(
        "affine: the bias dropped",
        "checker/affine.py",
        "np.asarray(x @ self._weight.T + self._bias)",
        "np.asarray(x @ self._weight.T)",
        _LAWS + "every_rule_keeps_the_interval_law[affine]",
    ),
    Defect(
        "affine: the bias dropped from the magnitude",
        "checker/affine.py",
        "x @ self._magnitude.T + bias_factor * np.abs(self._bias)",
        "x @ self._magnitude.T",
        _LAWS + "every_rule_keeps_the_backward_law[affine, large bias]",
    ),
    Defect(
        "affine: the magnitude of the weight without abs",
        "checker/affine.py",
        "self._magnitude = np.abs(self._weight)",
        "self._magnitude = self._weight",
        _LAWS + "every_rule_keeps_the_interval_law[affine]",
    ),
    Defect(
        "affine: pushed back without transposing",
        "checker/affine.py",
        "np.asarray(a @ self._weight)",
        "np.asarray(a @ self._weight.T)",
        _PASS + "no_bound_exceeds_the_exact_minimum[deep-interval]",
    ),
    Defect(
        "affine: one term counted of all that are summed",
        "checker/affine.py",
        "terms_forward=operator.weight.shape[1] + 1",
        "terms_forward=1",
        _LAWS + "terms_that_a_long_sum_loses_are_covered",
    ),
    Defect(
        "affine: the slack dropped",
        "checker/affine.py",
        "slack=operator.slack,",
        "slack=0.0,",
        _LAWS + "every_rule_keeps_the_interval_law[affine]",
    ),
]

_CONVOLUTION = [
    Defect(
        "conv: padding before and after swapped",
        "checker/convolution.py",
        "(0, 0), (0, 0), *self._operator.pads))",
        "(0, 0), (0, 0), *(p[::-1] for p in self._operator.pads)))",
        _LAWS + "every_rule_keeps_the_interval_law[conv]",
    ),
    Defect(
        "conv: padding ignored on the way back",
        "checker/convolution.py",
        "slice(before, before + size)",
        "slice(0, size)",
        _LAWS + "every_rule_keeps_the_backward_law[conv]",
    ),
    Defect(
        "conv: the kernel flipped",
        "checker/convolution.py",
        "operator.weight.astype(np.float64).reshape(\n            operator.groups",
        "operator.weight[:, :, ::-1].astype(np.float64).reshape(\n            operator.groups",
        _LAWS + "every_rule_keeps_the_interval_law[conv]",
    ),
    Defect(
        "conv: the kernel's axes exchanged",
        "checker/convolution.py",
        "yield (slice(None), slice(None), *offset), (..., *inputs)",
        "yield (slice(None), slice(None), *offset[::-1]), (..., *inputs)",
        _PASS + "every_box_covers_exact_interval_arithmetic_and_hardly_more[cnn]",
    ),
    Defect(
        "conv: the stride ignored",
        "checker/convolution.py",
        "(count - 1) * stride + 1, stride)",
        "count, 1)",
        _LAWS + "every_rule_keeps_the_interval_law[conv]",
    ),
    Defect(
        "conv: the dilation ignored",
        "checker/convolution.py",
        "slice(k * dilation, k * dilation +",
        "slice(k, k +",
        _LAWS + "every_rule_keeps_the_interval_law[conv]",
    ),
    Defect(
        "conv: outputs of the groups interleaved",
        "checker/convolution.py",
        "result = np.matmul(weight, columns).reshape(",
        "result = np.matmul(weight, columns).swapaxes(0, 1).reshape(",
        _LAWS + "every_rule_keeps_the_interval_law[conv]",
    ),
    Defect(
        "conv: inputs of the groups interleaved on the way back",
        "checker/convolution.py",
        "unpadded = padded[self._inner()].reshape(",
        "unpadded = padded[self._inner()].swapaxes(0, 1).reshape(",
        _LAWS + "every_rule_keeps_the_backward_law[conv]",
    ),
    Defect(
        "conv: overlapping windows overwrite each other",
        "checker/convolution.py",
        "padded[window] += columns[offset]",
        "padded[window] = columns[offset]",
        _LAWS + "every_rule_keeps_the_backward_law[conv]",
    ),
    Defect(
        "conv: the bias dropped",
        "checker/convolution.py",
        "self._correlate(self._weight, x) + self._bias",
        "self._correlate(self._weight, x)",
        _LAWS + "every_rule_keeps_the_interval_law[conv]",
    ),
    Defect(
        "conv: the bias dropped from the magnitude",
        "checker/convolution.py",
        "self._correlate(self._magnitude, x) + bias_factor * np.abs(self._bias)",
        "self._correlate(self._magnitude, x)",
        _LAWS + "every_rule_keeps_the_backward_law[conv, large bias]",
    ),
    Defect(
        "conv: the magnitude of the weight without abs",
        "checker/convolution.py",
        "self._magnitude = np.abs(self._weight)",
        "self._magnitude = self._weight",
        _LAWS + "every_rule_keeps_the_interval_law[conv]",
    ),
    Defect(
        "conv: one term counted of all that are summed",
        "checker/convolution.py",
        "terms_forward=self._weight.shape[2] + 1",
        "terms_forward=1",
        _LAWS + "terms_that_a_long_sum_loses_are_covered",
    ),
]

_ELEMENTWISE = [
    Defect(
        "scale: the magnitude without abs",
        "checker/elementwise.py",
        "x * np.abs(self._scale) +",
        "x * self._scale +",
        _LAWS + "every_rule_keeps_the_interval_law[scale]",
    ),
    Defect(
        "scale: the shift with the wrong sign",
        "checker/elementwise.py",
        "        return self._shift\n",
        "        return -self._shift\n",
        _LAWS + "every_rule_keeps_the_backward_law[scale]",
    ),
    Defect(
        "scale: the shift dropped from the magnitude",
        "checker/elementwise.py",
        " + bias_factor * np.abs(self._shift)",
        "",
        _LAWS + "every_rule_keeps_the_backward_law[scale, large shift]",
    ),
    Defect(
        "scale: the slack dropped",
        "checker/elementwise.py",
        "slack=operator.slack,",
        "slack=0.0,",
        _LAWS + "every_rule_keeps_the_interval_law[scale]",
    ),
    Defect(
        "add: the lower end rounded to nearest",
        "checker/elementwise.py",
        "down(first.lower + second.lower)",
        "first.lower + second.lower",
        _LAWS + "every_rule_keeps_the_interval_law[add]",
    ),
    Defect(
        "add: the upper end rounded inward",
        "checker/elementwise.py",
        "up(first.upper + second.upper)",
        "down(first.upper + second.upper)",
        _LAWS + "every_rule_keeps_the_interval_law[add]",
    ),
    Defect(
        "add: a residual branch dropped on the way back",
        "checker/elementwise.py",
        "(functionals.coefficients, functionals.coefficients)",
        "(functionals.coefficients, 0 * functionals.coefficients)",
        _PASS + "no_bound_exceeds_the_exact_minimum[residual-crown]",
    ),
]

_MOVEMENT = [
    Defect(
        "transpose: pushed back by the same permutation",
        "checker/movement.py",
        "int(axis) for axis in np.argsort(self._forward)",
        "int(axis) for axis in self._forward",
        _LAWS + "every_rule_keeps_the_backward_law[transpose]",
    ),
    Defect(
        "transpose: the lower bounds left where they were",
        "checker/movement.py",
        "Box(box.lower.transpose(self._forward), box",
        "Box(box.upper.transpose(self._forward), box",
        _LAWS + "every_rule_keeps_the_interval_law[transpose]",
    ),
    Defect(
        "reshape: pushed back in Fortran's order",
        "checker/movement.py",
        "reshape(len(coefficients), *self._input_shape)",
        'reshape(len(coefficients), *self._input_shape, order="F")',
        _LAWS + "every_rule_keeps_the_backward_law[reshape]",
    ),
]

_RELU = [
    Defect(
        "relu: the upper end made of the lower",
        "checker/relu.py",
        "np.maximum(box.upper, 0.0))",
        "np.maximum(box.lower, 0.0))",
        _LAWS + "every_rule_keeps_the_interval_law[relu]",
    ),
    Defect(
        "relu: slopes from above and below exchanged",
        "checker/relu.py",
        "np.where(a > 0, from_below[owners], chord[owners])",
        "np.where(a > 0, chord[owners], from_below[owners])",
        _RULES + "the_slopes_are_the_canonical_ones",
    ),
    Defect(
        "relu: slope of the wrong sign",
        "checker/relu.py",
        "b = a * np.where(",
        "b = -a * np.where(",
        _RULES + "the_slopes_are_the_canonical_ones",
    ),
    Defect(
        "relu: the chord with the wrong denominator",
        "checker/relu.py",
        "upper / (upper - lower)",
        "upper / (upper - 2 * lower)",
        _RULES + "the_slopes_are_the_canonical_ones",
    ),
    Defect(
        "relu: the constant of the relaxation dropped",
        "checker/relu.py",
        "constants.sum(axis=1)",
        "0.0 * constants.sum(axis=1)",
        _LAWS + "every_rule_keeps_the_backward_law[relu]",
    ),
    Defect(
        "relu: minimum over the ends swapped",
        "checker/relu.py",
        "np.minimum(-b * below, (a - b) * above)",
        "np.minimum(-b * above, (a - b) * below)",
        _LAWS + "every_rule_keeps_the_backward_law[relu]",
    ),
    Defect(
        "relu: largest end instead of smallest",
        "checker/relu.py",
        "np.minimum(np.minimum(-b * below, (a - b) * above), 0.0)",
        "np.maximum(np.maximum(-b * below, (a - b) * above), 0.0)",
        _LAWS + "every_rule_keeps_the_backward_law[relu]",
    ),
    Defect(
        "relu: the rounding of the constant dropped",
        "checker/relu.py",
        "enlarged(gamma(terms + 3) * enlarged(reach, terms), 1) +",
        "0.0 * reach +",
        _LAWS + "every_rule_keeps_the_backward_law[relu]",
    ),
    Defect(
        "relu: open phases of small upper end taken for dead",
        "checker/relu.py",
        "(box.lower < 0) & (box.upper > 0)",
        "(box.lower < 0) & (box.upper > -box.lower)",
        _LAWS + "every_rule_keeps_the_backward_law[relu]",
    ),
]

_RULES_OF_ALL = [
    Defect(
        "magnitude of a box without abs",
        "checker/rules.py",
        "np.maximum(np.abs(box.lower), np.abs(box.upper))",
        "np.maximum(box.lower, box.upper)",
        _LAWS + "every_rule_keeps_the_backward_law[affine]",
    ),
    Defect(
        "interval: the slack dropped",
        "checker/rules.py",
        "g = gamma(self.terms_forward) + self.slack",
        "g = gamma(self.terms_forward)",
        _LAWS + "every_rule_keeps_the_interval_law[affine]",
    ),
    Defect(
        "interval: the slack dropped from the radius",
        "checker/rules.py",
        "on_radius = up((1 + self.slack) * (1 + self._local))",
        "on_radius = up(1 + self._local)",
        _LAWS + "every_rule_keeps_the_interval_law[affine]",
    ),
    Defect(
        "interval: the spread dropped",
        "checker/rules.py",
        "Box(down(middle - spread), up(middle + spread))",
        "Box(down(middle), up(middle))",
        _LAWS + "every_rule_keeps_the_interval_law[affine]",
    ),
    Defect(
        "interval: the spread taken away from the upper end",
        "checker/rules.py",
        "up(middle + spread))",
        "up(middle))",
        _LAWS + "every_rule_keeps_the_interval_law[affine]",
    ),
    Defect(
        "interval: the radius of one half of the box",
        "checker/rules.py",
        "radius = np.maximum(box.upper - centre, centre - box.lower)",
        "radius = 0.5 * (box.upper - centre)",
        _LAWS + "every_rule_keeps_the_interval_law[affine]",
    ),
    Defect(
        "push back: the slack dropped",
        "checker/rules.py",
        "factor = gamma(max(self.terms_backward, functionals.size)) + self.slack",
        "factor = gamma(max(self.terms_backward, functionals.size))",
        _LAWS + "every_rule_keeps_the_backward_law[affine]",
    ),
    Defect(
        "push back: rounding of one term",
        "checker/rules.py",
        "factor = gamma(max(self.terms_backward, functionals.size)) +",
        "factor = gamma(1) +",
        _LAWS + "terms_that_a_long_sum_loses_are_covered",
    ),
    Defect(
        "push back: the error at the lower ends only",
        "checker/rules.py",
        "size = largest_magnitude(box)\n        magnitudes",
        "size = np.abs(box.lower)\n        magnitudes",
        _LAWS + "every_rule_keeps_the_backward_law[affine]",
    ),
    Defect(
        "push back: the bias dropped",
        "checker/rules.py",
        "functionals.dot_constant(self.bias)",
        "0.0 * functionals.dot_constant(self.bias)",
        _LAWS + "every_rule_keeps_the_backward_law[affine]",
    ),
    Defect(
        "functionals mixed up between samples",
        "checker/rules.py",
        "np.repeat(np.arange(samples), count)",
        "np.tile(np.arange(samples), count)",
        _PASS + "a_batch_gives_each_sample_what_it_gets_alone[crown]",
    ),
]

_PASS_OVER_NETWORKS = [
    Defect(
        "total: the rounding of a sum forgotten",
        "checker/trusted.py",
        "(error + 2 * UNIT * np.abs(self.constant))",
        "error",
        _LAWS + "the_rounding_of_every_added_constant_is_counted",
    ),
    Defect(
        "total: the errors not subtracted",
        "checker/trusted.py",
        "down(self.constant - enlarged(self.error, self.terms))",
        "down(self.constant)",
        _PASS + "no_bound_exceeds_the_exact_minimum[mlp-interval]",
    ),
    Defect(
        "total: the error of a rule forgotten",
        "checker/trusted.py",
        "total.add(pushed.constant, pushed.error)",
        "total.add(pushed.constant, 0.0)",
        _LAWS + "the_error_of_every_rule_is_counted",
    ),
    Defect(
        "merge: a branch dropped",
        "checker/trusted.py",
        "first.coefficients + second.coefficients",
        "first.coefficients",
        _PASS + "no_bound_exceeds_the_exact_minimum[residual-crown]",
    ),
    Defect(
        "merge: its rounding forgotten",
        "checker/trusted.py",
        "enlarged(2 * UNIT * reach, 1) + 2 * merged.size * ETA",
        "0.0",
        _LAWS + "the_rounding_of_every_merged_branch_is_counted",
    ),
    Defect(
        "finish: the radius weighed without abs",
        "checker/trusted.py",
        "functionals.absolute().dot(radius +",
        "functionals.dot(radius +",
        _PASS + "no_bound_exceeds_the_exact_minimum[mlp-interval]",
    ),
    Defect(
        "finish: the rounding of the last sum forgotten",
        "checker/trusted.py",
        "radius + gamma(terms) * np.abs(centre)",
        "radius",
        _LAWS + "terms_that_the_last_sum_loses_are_covered",
    ),
    Defect(
        "the best row instead of the worst",
        "checker/trusted.py",
        "lower.min(axis=1)",
        "lower.max(axis=1)",
        _PASS + "several_decisions_are_bounded_each_on_its_side",
    ),
    Defect(
        "a box beyond the limit counted as sound",
        "checker/trusted.py",
        "sound &= inside",
        "sound |= inside",
        _PASS + "values_beyond_the_range_of_the_analysis_prove_nothing",
    ),
    Defect(
        "coefficients beyond the limit used",
        "checker/trusted.py",
        "usable &= inside",
        "usable |= inside",
        _LAWS + "coefficients_beyond_the_range_of_the_analysis_prove_nothing",
    ),
    Defect(
        "unusable bounds returned as bounds",
        "checker/trusted.py",
        "np.where(proves & np.isfinite(lower), lower, -np.inf)",
        "np.where(np.isfinite(lower), lower, -np.inf)",
        _PASS + "values_beyond_the_range_of_the_analysis_prove_nothing",
    ),
    Defect(
        "upper bounds before a relu with the sign of lower ones",
        "checker/trusted.py",
        "found = sign * self._push_back(",
        "found = self._push_back(",
        _PASS + "no_bound_exceeds_the_exact_minimum[deep-crown]",
    ),
    Defect(
        "bounds before a relu written to another number",
        "checker/trusted.py",
        "bound[owners, chosen] = tighter(bound[owners, chosen], found)",
        "bound[owners, chosen[::-1]] = tighter(bound[owners, chosen], found)",
        _PASS + "a_batch_gives_each_sample_what_it_gets_alone[crown]",
    ),
    Defect(
        "a relu left out on the way back",
        "checker/trusted.py",
        "if isinstance(rule, ReluRule) and not to_input:",
        "if isinstance(rule, ReluRule) and to_input:",
        _PASS + "linear_bounds_are_tight_where_nothing_is_open",
    ),
]

_FLOAT32 = [
    Defect(
        "half the unit roundoff of binary32",
        "checker/arithmetic.py",
        "_UNIT32 = 2.0**-24",
        "_UNIT32 = 2.0**-25",
        _LAWS + "what_a_long_sum_loses_or_gains_in_float32_is_covered",
    ),
    Defect(
        "binary32 rounding of a fixed number of terms",
        "checker/arithmetic.py",
        "return terms * _UNIT32 /",
        "return 2 * _UNIT32 /",
        _LAWS + "what_a_long_sum_loses_or_gains_in_float32_is_covered",
    ),
    Defect(
        "no allowance for flushing to zero",
        "checker/arithmetic.py",
        "2 * terms * (4 + (first + second))",
        "0 * terms * (4 + (first + second))",
        _LAWS + "what_is_flushed_to_zero_is_covered",
    ),
    Defect(
        "flushed operands forgotten",
        "checker/arithmetic.py",
        "(4 + (first + second))",
        "(4 + 0 * (first + second))",
        _LAWS + "what_is_flushed_to_zero_is_covered",
    ),
    Defect(
        "binary32 sums without a limit",
        "checker/arithmetic.py",
        "LIMIT32 = 2.0**126",
        "LIMIT32 = 2.0**500",
        _LAWS + "sums_that_overflow_in_float32_prove_nothing",
    ),
    Defect(
        "float32: overflow not looked at",
        "checker/trusted.py",
        "sound &= rule.largest_sum(*inputs) <= LIMIT32",
        "pass",
        _LAWS + "sums_that_overflow_in_float32_prove_nothing",
    ),
    Defect(
        "float32: roundings of one term",
        "checker/rules.py",
        "roundings = terms_forward + 1 +",
        "roundings = 1 +",
        _LAWS + "what_a_long_sum_loses_or_gains_in_float32_is_covered",
    ),
    Defect(
        "float32: roundings of constants forgotten",
        "checker/rules.py",
        "_ROUNDINGS_OF_CONSTANTS = 8",
        "_ROUNDINGS_OF_CONSTANTS = 0",
        _LAWS + "weights_that_are_made_at_run_time_are_covered",
    ),
    Defect(
        "float32: the rounding of the centre forgotten",
        "checker/rules.py",
        "on_centre = up(g + up(self._local * (1 + self.slack)))",
        "on_centre = up(g)",
        _LAWS + "what_a_long_sum_loses_or_gains_in_float32_is_covered",
    ),
    Defect(
        "float32: the rounding of the radius forgotten",
        "checker/rules.py",
        "on_radius = up((1 + self.slack) * (1 + self._local))",
        "on_radius = up(1 + self.slack)",
        _LAWS + "what_a_long_sum_loses_or_gains_in_float32_is_covered",
    ),
    Defect(
        "float32: the rounding forgotten on the way back",
        "checker/rules.py",
        "(factor + self._local) * reach",
        "factor * reach",
        _LAWS + "what_a_long_sum_loses_or_gains_in_float32_is_covered",
    ),
    Defect(
        "float32: flushing forgotten on the way back",
        "checker/rules.py",
        "weights * functionals.of_owner(self._tiny(size))",
        "0.0 * functionals.of_owner(self._tiny(size))",
        _LAWS + "what_is_flushed_to_zero_is_covered",
    ),
    Defect(
        "float32: flushing forgotten in intervals",
        "checker/rules.py",
        "enlarged(reach + tiny, self.terms_forward + 1)",
        "enlarged(reach, self.terms_forward + 1)",
        _LAWS + "what_is_flushed_to_zero_is_covered",
    ),
    Defect(
        "float32: the rounding forgotten for solvers",
        "checker/rules.py",
        "enlarged(self._local * m +",
        "enlarged(0.0 * m +",
        _LAWS + "what_a_long_sum_loses_or_gains_in_float32_is_covered",
    ),
    Defect(
        "float32: the rounding of a sum of values forgotten",
        "checker/elementwise.py",
        "Box(down(lower - error), up(upper + error))",
        "Box(lower, upper)",
        _LAWS + "every_rule_keeps_its_laws_in_float32[add]",
    ),
    Defect(
        "float32: the rounding of a sum of values forgotten on the way back",
        "checker/elementwise.py",
        "return PushedBack(inputs, 0.0, enlarged(reach, functionals.size))",
        "return PushedBack(inputs, 0.0, 0.0 * reach)",
        _LAWS + "every_rule_keeps_its_laws_in_float32[add]",
    ),
    Defect(
        "float32: a sum taken into another one forgotten",
        "checker/elementwise.py",
        "self._terms = terms + 1",
        "self._terms = 1",
        _LAWS + "a_sum_that_is_taken_into_another_is_covered",
    ),
    Defect(
        "float32: the length of the other sum forgotten",
        "checker/trusted.py",
        "terms.append(rule.terms_forward if isinstance(rule, LinearRule) else 0)",
        "terms.append(0)",
        _LAWS + "a_sum_that_is_taken_into_another_is_covered",
    ),
]

_BOXES = [
    Defect(
        "a NaN taken for a bound",
        "core/box.py",
        "if not bool(np.all(self.lower <= self.upper)):",
        "if bool(np.any(self.lower > self.upper)):",
        _RULES + "a_box_with_crossed_bounds_or_nan_cannot_be_made",
    ),
    Defect(
        "NaN lies in every box",
        "core/box.py",
        "(self.lower <= points) & (points <= self.upper)",
        "~((points < self.lower) | (points > self.upper))",
        _REGION + "samples_and_projections_are_members",
    ),
    Defect(
        "float32 below rounded to nearest",
        "core/box.py",
        "while Fraction(float(nearest)) > value:",
        "while Fraction(float(nearest)) > 2 * value:",
        _REGION + "the_box_holds_every_encoding_of_every_level_within_the_radius",
    ),
]

_REGIONS = [
    Defect(
        "region: the reach one level short",
        "core/region.py",
        "reach = int(self.radius.grey_levels)",
        "reach = max(int(self.radius.grey_levels) - 1, 0)",
        _REGION + "the_box_holds_every_encoding_of_every_level_within_the_radius[2]",
    ),
    Defect(
        "region: the upper ends without the encodings",
        "core/region.py",
        "*_encodings(highest)",
        "np.float32(0)",
        _REGION + "the_box_holds_every_encoding_of_every_level_within_the_radius[1]",
    ),
    Defect(
        "region: product encoding forgotten",
        "core/region.py",
        "return np.float32(product), quotient,",
        "return quotient, quotient,",
        _REGION + "the_box_holds_every_encoding_of_every_level_within_the_radius[1]",
    ),
    Defect(
        "region: float boxes not clipped",
        "core/region.py",
        "            np.clip(lower, np.float32(0), np.float32(1)),\n            np.clip(upper",
        "            lower,\n            np.clip(upper",
        _REGION + "float_images_get_boxes_that_cover_the_exact_ball",
    ),
    Defect(
        "region: float boxes rounded inward",
        "core/region.py",
        "np.where(lower > below, np.nextafter(lower, np.float32(-np.inf)), lower)",
        "np.where(lower < below, np.nextafter(lower, np.float32(np.inf)), lower)",
        _REGION + "float_images_get_boxes_that_cover_the_exact_ball",
    ),
    Defect(
        "region: the radius of float images rounded to nearest",
        "core/region.py",
        "np.nextafter(float(self.radius.value), np.inf)",
        "float(self.radius.value)",
        _REGION + "float_boxes_cover_a_radius_that_no_float_holds",
    ),
    Defect(
        "region: the ends of float images rounded to nearest",
        "core/region.py",
        "np.nextafter(centre - radius, -np.inf)",
        "centre - radius",
        _REGION + "float_boxes_cover_a_radius_that_no_float_holds",
    ),
    Defect(
        "region: its digest without its centre",
        "core/region.py",
        '{**self.family.to_json(), "centre": self.centre}',
        '{**self.family.to_json(), "centre": 64 * "0"}',
        _REGION + "a_region_is_named_by_its_family_and_its_centre",
    ),
]

_RADII = [
    Defect(
        "radius: grey levels read as 256ths",
        "core/radius.py",
        '_quotient(levels["count"], given) / 255',
        '_quotient(levels["count"], given) / 256',
        _RADIUS + "what_is_written_is_what_is_meant",
    ),
    Defect(
        "radius: any float read as half grey levels",
        "core/radius.py",
        "_TYPED_BY_HAND = Fraction(1, 10**9)",
        "_TYPED_BY_HAND = Fraction(1, 10**2)",
        _RADIUS + "what_is_written_is_what_is_meant",
    ),
    Defect(
        "radius: a negative one accepted",
        "core/radius.py",
        "if value < 0:",
        "if value < -1:",
        _RADIUS + "what_is_no_radius_is_refused_with_its_value",
    ),
]

_PROPERTIES_OF_LOGITS = [
    Defect(
        "single label: the row with the wrong sign",
        "core/properties.py",
        "matrix[:, self.label] = 1.0",
        "matrix[:, self.label] = -1.0",
        _PROPERTIES + "a_single_label_holds_exactly_where_its_logit_is_largest",
    ),
    Defect(
        "single label: a row missing",
        "core/properties.py",
        "if other != self.label]",
        "if other != self.label][1:]",
        _PROPERTIES + "a_single_label_holds_exactly_where_its_logit_is_largest",
    ),
    Defect(
        "decisions: the rows with the wrong sign",
        "core/properties.py",
        "2.0 * np.array(self.decisions, dtype=np.float64) - 1.0",
        "1.0 - 2.0 * np.array(self.decisions, dtype=np.float64)",
        _PROPERTIES + "decisions_hold_exactly_where_each_logit_is_on_its_side",
    ),
    Defect(
        "an infinite logit counted as a number",
        "core/properties.py",
        "numbers = np.isfinite(logits).all(axis=1)",
        "numbers = ~np.isnan(logits).any(axis=1)",
        _PROPERTIES + "a_logit_that_is_no_number_is_never_right",
    ),
    Defect(
        "the margin of the best row",
        "core/properties.py",
        "values.min(axis=1)",
        "values.max(axis=1)",
        _PROPERTIES + "a_single_label_holds_exactly_where_its_logit_is_largest",
    ),
    Defect(
        "the binary logit with the wrong sign",
        "core/properties.py",
        "MultiLabel((int(label),))",
        "MultiLabel((1 - int(label),))",
        _PROPERTIES + "a_binary_model_may_have_one_logit",
    ),
]

_CONTRADICTIONS = [
    Defect(
        "touching boxes do not meet",
        "checker/contradictions.py",
        "np.all(lower <= upper)",
        "np.all(lower < upper)",
        _RULES + "boxes_meet_where_they_share_a_point",
    ),
    Defect(
        "a coordinate missing where boxes meet",
        "checker/contradictions.py",
        "np.all(lower <= upper)",
        "np.all((lower <= upper)[1:])",
        _RULES + "boxes_meet_where_they_share_a_point",
    ),
    Defect(
        "boxes meet where one coordinate does",
        "checker/contradictions.py",
        "np.all(lower <= upper)",
        "np.any(lower <= upper)",
        _RULES + "boxes_meet_where_they_share_a_point",
    ),
    Defect(
        "equal labels exclude each other",
        "checker/contradictions.py",
        "return first.classes == second.classes and first.label != second.label",
        "return first.classes == second.classes",
        _RULES + "properties_exclude_each_other_only_where_no_logits_satisfy_both",
    ),
]

_FOLDERS = [
    Defect(
        "a NaN counted as proved",
        "checker/folder.py",
        "if margin > 0:",
        "if not margin <= 0:",
        _FOLDER + "a_bound_that_is_not_above_0_proves_nothing[nan]",
    ),
    Defect(
        "a bound that does not close accepted",
        "checker/folder.py",
        "if margin > 0:",
        "if margin > -1:",
        _FOLDER + "a_bound_that_does_not_close_is_rejected",
    ),
    Defect(
        "the artifact's bytes not compared",
        "checker/folder.py",
        "if bytes_digest(data) != claims.artifact:",
        "if False:",
        _FOLDER + "another_model_is_refused",
    ),
    Defect(
        "a certificate's artifact not compared",
        "checker/folder.py",
        '    "artifact": "it is about another model",\n',
        "",
        _FOLDER + "a_certificate_about_something_else_is_rejected",
    ),
    Defect(
        "a certificate's property not compared",
        "checker/folder.py",
        '    "property_": "the property is not that of the sample\'s label",\n',
        "",
        _FOLDER + "a_certificate_about_something_else_is_rejected",
    ),
    Defect(
        "a certificate's region not compared",
        "checker/folder.py",
        '    "region": "it is about another kind of region, or its centre is another image",\n',
        "",
        _FOLDER + "a_certificate_about_something_else_is_rejected",
    ),
    Defect(
        "a certificate's semantics not compared",
        "checker/folder.py",
        '    "semantics": "it is about other semantics",\n',
        "",
        _FOLDER + "a_certificate_of_other_semantics_is_rejected",
    ),
    Defect(
        "bounds over the reals whatever is claimed",
        "checker/folder.py",
        "TrustedPass(read_network(data), claims.semantics)",
        "TrustedPass(read_network(data), list(type(claims.semantics))[-1])",
        _FOLDER + "the_bound_is_derived_in_the_claimed_semantics",
    ),
    Defect(
        "the digest of the centre not compared",
        "checker/folder.py",
        "Region(claims.family, array_digest(images[row]))",
        "Region(claims.family, query.region.centre)",
        _FOLDER + "a_certificate_about_something_else_is_rejected",
    ),
    Defect(
        "the family of regions not compared",
        "checker/folder.py",
        "Region(claims.family, array_digest(images[row]))",
        "Region(query.region.family, array_digest(images[row]))",
        _FOLDER + "a_certificate_about_something_else_is_rejected",
    ),
    Defect(
        "a label that is not the sample's accepted",
        "checker/folder.py",
        'of_label if claims.dataset.target == "label" else query.property_',
        "query.property_",
        _FOLDER + "a_certificate_about_something_else_is_rejected",
    ),
    Defect(
        "a row that does not exist accepted",
        "checker/folder.py",
        "if row >= len(images):",
        "if row > len(images):",
        _FOLDER + "a_certificate_on_another_row_is_rejected",
    ),
    Defect(
        "boxes of other samples",
        "checker/folder.py",
        "claims.family.boxes(images[rows])",
        "claims.family.boxes(images[positions])",
        _FOLDER + "what_is_true_is_accepted",
    ),
    Defect(
        "a solver's word accepted",
        "checker/folder.py",
        "(Outcome.DELEGATED, word)",
        "(Outcome.ACCEPTED, word)",
        _FOLDER + "a_solvers_word_is_delegated_and_certifies_nothing",
    ),
    Defect(
        "a solver's word closes a bug",
        "checker/folder.py",
        "outcome is Outcome.ACCEPTED and row not in",
        "outcome is not Outcome.REJECTED and row not in",
        _FOLDER + "a_solvers_word_is_delegated_and_certifies_nothing",
    ),
    Defect(
        "a solver's word without its script",
        "checker/folder.py",
        "elif evidence.script in parts:",
        "elif True:",
        _FOLDER + "a_solvers_word_without_its_script_is_rejected",
    ),
    Defect(
        "double rows in one shard",
        "checker/folder.py",
        "if duplicated or len({c.row for c in certificates}) < len(certificates):",
        "if duplicated:",
        _FOLDER + "shards_with_other_lines_are_refused",
    ),
    Defect(
        "double rows in two shards",
        "checker/folder.py",
        "[c.row for c in certificates if c.row in outcomes]",
        "[]",
        _FOLDER + "a_row_in_two_shards_is_refused",
    ),
    Defect(
        "the container's bytes not compared",
        "checker/folder.py",
        "if bytes_digest(packed) != digest:",
        "if False:",
        _FOLDER + "a_changed_container_is_refused",
    ),
    Defect(
        "the shard's bytes not compared",
        "checker/folder.py",
        "if bytes_digest(data) != shard.sha256:",
        "if False:",
        _FOLDER + "a_changed_shard_is_refused_whole",
    ),
    Defect(
        "the number of certificates not compared",
        "checker/folder.py",
        " or len(lines) != shard.certificates:",
        ":",
        _FOLDER + "shards_with_other_lines_are_refused",
    ),
    Defect(
        "the images not compared",
        "checker/folder.py",
        "and array_digest(images) == claimed.images",
        "and claimed.images",
        _FOLDER + "another_data_set_is_refused[pixel]",
    ),
    Defect(
        "the labels not compared",
        "checker/folder.py",
        "and array_digest(labels.astype(np.int64)) == claimed.labels",
        "and claimed.labels",
        _FOLDER + "another_data_set_is_refused[label]",
    ),
    Defect(
        "a refused folder has a status",
        "checker/folder.py",
        "if self.claims is None or self.refused:",
        "if self.claims is None:",
        _FOLDER + "a_changed_shard_is_refused_whole",
    ),
    Defect(
        "regions of a contradiction need not meet",
        "checker/folder.py",
        " or meeting_point(boxes[0:1], boxes[1:2]) is None:",
        ":",
        _FOLDER + "contradictions_that_are_none_are_refused",
    ),
    Defect(
        "nothing accepted and yet it holds",
        "checker/folder.py",
        "zero and bool(self.rows(Outcome.ACCEPTED)) and not",
        "zero and not",
        _FOLDER + "a_folder_holds_only_if_something_is_accepted_and_nothing_rejected",
    ),
]

_CERTIFICATES = [
    Defect(
        "certificate: its digest not compared",
        "core/certificate.py",
        'if made.digest != value["digest"]:',
        "if False:",
        _CERTIFICATE + "a_certificate_with_any_other_field_is_refused_or_is_another[evidence0]",
    ),
    Defect(
        "certificate: text that is not canonical read",
        "core/certificate.py",
        "if canonical != line:",
        "if False:",
        _CANONICAL + "other_texts_are_refused",
    ),
    Defect(
        "container: its parts not compared",
        "core/container.py",
        " or bytes_digest(part) != name:",
        ":",
        _CERTIFICATE + "a_damaged_container_is_refused_or_unharmed",
    ),
    Defect(
        "query: its digest without the property",
        "core/query.py",
        '"property": self.property_.to_json(),',
        '"property": {},',
        _CERTIFICATE + "the_digest_covers_the_question_and_the_proof_and_nothing_else",
    ),
    Defect(
        "claims: a shard anywhere on the disk",
        "core/claims.py",
        'r"^[0-9]{5}\\.(jsonl|bin)$"',
        'r"^.*$"',
        _CERTIFICATE + "a_shard_cannot_name_a_file_elsewhere",
    ),
    Defect(
        "an array named without its shape",
        "core/canonical.py",
        '"shape": list(array.shape)',
        '"shape": []',
        _CANONICAL + "an_array_is_named_by_dtype_shape_and_values",
    ),
]

_LOWERING = [
    Defect(
        "conv: pads dropped",
        "lowering/operators/convolution.py",
        "strides, pads, dilations, groups)",
        "strides, ((0, 0),) * rank, dilations, groups)",
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[Conv 2-D]",
    ),
    Defect(
        "conv: pads read in pairs",
        "lowering/operators/convolution.py",
        "zip(pads[:rank], pads[rank:], strict=True)",
        "zip(pads[::2], pads[1::2], strict=True)",
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[Conv 2-D]",
    ),
    Defect(
        "conv: dilations dropped",
        "lowering/operators/convolution.py",
        "strides, pads, dilations, groups)",
        "strides, pads, (1,) * rank, groups)",
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[Conv 2-D]",
    ),
    Defect(
        "conv: automatic padding ignored",
        "lowering/operators/convolution.py",
        'if automatic not in ("NOTSET", "VALID"):',
        "if False:",
        _OPERATORS + "what_is_not_understood_is_refused[Conv auto_pad]",
    ),
    Defect(
        "gemm: transB ignored",
        "lowering/operators/affine.py",
        'if not node.take("transB", 0):',
        'if node.take("transB", 0) >= 0:',
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[Gemm]",
    ),
    Defect(
        "gemm: alpha ignored",
        "lowering/operators/affine.py",
        'node.require("alpha", 1.0)',
        'node.take("alpha", 1.0)',
        _OPERATORS + "what_is_not_understood_is_refused[Gemm alpha]",
    ),
    Defect(
        "gemm: the bias dropped",
        "lowering/operators/affine.py",
        "node.weights(2) if node.has(2) else np.zeros(1, dtype=np.float32)",
        "np.zeros(1, dtype=np.float32)",
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[Gemm]",
    ),
    Defect(
        "sub: the constant with the wrong sign",
        "lowering/operators/elementwise.py",
        "else Scale(_ONE, -constant)",
        "else Scale(_ONE, constant.copy())",
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[Sub constant]",
    ),
    Defect(
        "sub: operands swapped",
        "lowering/operators/elementwise.py",
        "Scale(-_ONE, constant.copy()) if swapped",
        "Scale(_ONE, -constant) if swapped",
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[Sub from constant]",
    ),
    Defect(
        "div: the slack of the reciprocal dropped",
        "lowering/operators/elementwise.py",
        "Scale(reciprocal, _ZERO, slack=_SLACK)",
        "Scale(reciprocal, _ZERO)",
        _OPERATORS + "the_slack_covers_the_difference_to_the_exact_weight",
    ),
    Defect(
        "batch norm: divided by the variance",
        "lowering/operators/normalization.py",
        "/ np.sqrt(spread)",
        "/ spread",
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[BatchNormalization]",
    ),
    Defect(
        "batch norm: the mean added",
        "lowering/operators/normalization.py",
        "dtype=np.float32), -mean)",
        "dtype=np.float32), mean)",
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[BatchNormalization]",
    ),
    Defect(
        "batch norm: epsilon dropped",
        "lowering/operators/normalization.py",
        "variance.astype(np.float64) + epsilon",
        "variance.astype(np.float64)",
        _OPERATORS + "the_network_computes_what_onnx_runtime_does[BatchNormalization]",
    ),
    Defect(
        "batch norm: the slack of the factor dropped",
        "lowering/operators/normalization.py",
        ", slack=_SLACK)",
        ")",
        _OPERATORS + "the_slack_covers_the_difference_to_the_exact_weight",
    ),
    Defect(
        "pool: the slack of the average dropped",
        "lowering/operators/pooling.py",
        "slack=0.0 if exact else _SLACK",
        "slack=0.0",
        _OPERATORS + "the_slack_covers_the_difference_to_the_exact_weight",
    ),
    Defect(
        "pool: the padding counted where it is not",
        "lowering/operators/pooling.py",
        "if not includes and any(before or after for before, after in pads):",
        "if False:",
        _OPERATORS + "what_is_not_understood_is_refused[AveragePool border]",
    ),
    Defect(
        "reader: an unknown attribute ignored",
        "lowering/graph.py",
        "        if self._attributes:\n",
        "        if False:\n",
        _OPERATORS + "an_attribute_that_no_converter_looked_at_is_refused",
    ),
    Defect(
        "writer: padding before and after exchanged",
        "lowering/writer.py",
        "pads=[before for before, _ in operator.pads]\n"
        "                + [after for _, after in operator.pads]",
        "pads=[after for _, after in operator.pads]\n"
        "                + [before for before, _ in operator.pads]",
        _OPERATORS + "a_network_that_is_written_and_read_again_is_the_same_function[Conv 1-D]",
    ),
    Defect(
        "writer: rounded constants written",
        "lowering/writer.py",
        "if not network.is_exact_float32:",
        "if False:",
        _FILES + "constants_that_are_no_float32_are_not_written",
    ),
]

_OTHERS = [
    Defect(
        "smt: negative numbers without their sign",
        "smt/encoding.py",
        'return f"(- {text})" if value < 0 else text',
        "return text",
        _SMT + "the_answer_is_the_exact_one[mlp]",
    ),
    Defect(
        "smt: a tie is no failure",
        "smt/encoding.py",
        'f"(<= {self._sum(terms, Fraction(0))} 0)"',
        'f"(< {self._sum(terms, Fraction(0))} 0)"',
        _SMT + "constants_are_exact",
    ),
    Defect(
        "smt: a relu's phases exchanged",
        "smt/encoding.py",
        'f"(and (<= {given} 0) (= {name} 0))"',
        'f"(and (>= {given} 0) (= {name} 0))"',
        _SMT + "the_answer_is_the_exact_one[mlp]",
    ),
    Defect(
        "smt: a row left out",
        "smt/encoding.py",
        "for row in rows:",
        "for row in rows[:1]:",
        _SMT + "groups_dilations_and_sums_are_encoded_as_they_are_computed",
    ),
    Defect(
        "smt: rounding errors forgotten",
        "smt/encoding.py",
        "errors = self._errors[value]",
        "errors = None",
        _SMT + "what_rounding_undoes_is_satisfiable_in_float32",
    ),
    Defect(
        "smt: rounding errors of the wrong sign",
        "smt/encoding.py",
        "self._sum(terms, constant - error)",
        "self._sum(terms, constant + error)",
        _SMT + "what_rounding_undoes_is_satisfiable_in_float32",
    ),
    Defect(
        "audit: duplicates across splits missed",
        "audit/duplicates.py",
        "for split, samples in splits.items():",
        'for split, samples in [(s, x) for s, x in splits.items() if s == "train"]:',
        _AUDIT + "exactly_what_was_planted_is_found[0]",
    ),
    Defect(
        "audit: samples just within the limit missed",
        "audit/distances.py",
        "np.argwhere(distance <= limit)",
        "np.argwhere(distance < limit)",
        _AUDIT + "distances_are_those_of_all_pairs",
    ),
    Defect(
        "audit: differing decisions not compared",
        "audit/distances.py",
        "np.unique(samples.labels.reshape(count, -1), axis=0,",
        "np.unique(samples.labels.reshape(count, -1)[:, :1], axis=0,",
        _AUDIT + "several_decisions_contradict_if_one_of_them_differs",
    ),
    Defect(
        "a proposal believed without the trusted pass",
        "prove/trusted_stages.py",
        "proved = margins > 0",
        "proved = promising",
        _CASCADE + "an_engine_that_lies_proves_nothing",
    ),
    Defect(
        "a tie at the centre counted as right",
        "prove/cascade.py",
        "if not margin > 0:",
        "if not margin >= 0:",
        _CASCADE + "a_centre_that_float32_gets_wrong_is_not_proved",
    ),
    Defect(
        "a solver's counterexample not replayed",
        "prove/solve.py",
        "if witness is not None:",
        "if True:",
        _CASCADE + "a_solver_that_lies_is_caught_where_that_is_possible",
    ),
    Defect(
        "a runtime that computes something else unnoticed",
        "prove/cascade.py",
        "if bool(outside.any()):",
        "if False:",
        _CASCADE + "a_runtime_that_computes_something_else_is_an_alarm",
    ),
    Defect(
        "a witness outside of its region",
        "runtime/session.py",
        "if fails[i] and inside[i]",
        "if fails[i]",
        _CASCADE + "a_witness_is_a_wrong_answer_inside_the_region",
    ),
    Defect(
        "a NaN among the outputs is no failure",
        "runtime/session.py",
        "fails = ~(property_.margins(outputs) > 0)",
        "fails = property_.margins(outputs) <= 0",
        _CASCADE + "a_model_that_answers_nan_is_refuted_and_never_proved",
    ),
    Defect(
        "a NaN among the answers is no error",
        "bugs/enumerate.py",
        "~(self.margins > 0)",
        "self.margins <= 0",
        _BUGS + "a_tie_and_an_answer_that_is_no_number_are_errors",
    ),
    Defect(
        "a tie among the answers is no error",
        "bugs/enumerate.py",
        "~(self.margins > 0)",
        "~(self.margins >= 0)",
        _BUGS + "a_tie_and_an_answer_that_is_no_number_are_errors",
    ),
    Defect(
        "the twin's radius without abs",
        "bounds/twin.py",
        "layer.linear(radius, layer.weight.abs(), None)",
        "layer.linear(radius, layer.weight, None)",
        _PROPOSERS + "the_twin_computes_the_trusted_intervals[mlp]",
    ),
]

_ATTESTATION = [
    Defect(
        "events: the line before is not compared",
        "store/events.py",
        'if event["previous"] != previous:',
        "if False:",
        _EVENTS + "lines_that_were_moved_show",
    ),
    Defect(
        "events: a run goes on in a log of other settings",
        "store/events.py",
        "if found != settings:",
        "if False:",
        _EVENTS + "settings_that_were_changed_are_noticed",
    ),
    Defect(
        "events: a torn line is cut without a word",
        "store/events.py",
        "        if torn:\n",
        "        if False:\n",
        _EVENTS + "a_torn_last_line_is_cut_and_said",
    ),
    Defect(
        "events: an incomplete last line passes",
        "store/events.py",
        "    if rest:\n",
        "    if False:\n",
        _EVENTS + "what_is_no_log_is_refused",
    ),
    Defect(
        "statement: a solver's word is stated as a proof",
        "attest/run_files.py",
        "if not isinstance(c.evidence, SolverEvidence)",
        "if c",
        _STATEMENT + "a_solvers_word_is_not_stated_as_a_proof",
    ),
    Defect(
        "statement: figures are not compared with the certificates",
        "attest/run_files.py",
        "if not fits:",
        "if False:",
        _STATEMENT + "figures_that_cannot_be_are_not_stated",
    ),
    Defect(
        "verify: the log's beginning is not compared with the settings",
        "attest/run_files.py",
        "if chain.settings != settings:",
        "if False:",
        _VERIFICATION + "a_file_that_was_added_to_is_refused",
    ),
    Defect(
        "verify: the log may end before the result",
        "attest/run_files.py",
        'if last["event"] != FINISHED or not same_json(last["details"], self.end()):',
        "if False:",
        _VERIFICATION
        + "a_log_that_was_cut_off_is_refused_though_its_statement_was_changed_with_it",
    ),
    Defect(
        "verify: certificates are not compared with the claims",
        "attest/run_files.py",
        "if found != claimed:",
        "if False:",
        _VERIFICATION + "certificates_that_are_valid_and_not_those_of_the_claims_are_refused",
    ),
    Defect(
        "verify: the statement may hold more than the files give",
        "attest/verification.py",
        "if not refused and not same_json(",
        "if False and not same_json(",
        _VERIFICATION + "every_change_of_the_statement_is_refused",
    ),
    Defect(
        "verify: true is 1",
        "attest/reading.py",
        "return canonical_json(one) == canonical_json(other)",
        "return bool(one == other)",
        _VERIFICATION + "a_number_is_not_a_truth_value",
    ),
    Defect(
        "verify: an envelope may be about another statement",
        "attest/verification.py",
        "if envelope.payload != payload:",
        "if False:",
        _SIGNATURES + "an_envelope_about_another_payload_is_refused",
    ),
    Defect(
        "verify: an unsigned statement passes though a key is given",
        "attest/verification.py",
        "        if key is not None:\n",
        "        if False:\n",
        _SIGNATURES + "an_unsigned_statement_is_refused_where_a_key_is_given",
    ),
    Defect(
        "verify: any signature will do",
        "attest/keys.py",
        "        return False\n",
        "        return True\n",
        _SIGNATURES + "the_signature_of_another_key_is_refused",
    ),
    Defect(
        "verify: any type of payload will do",
        "attest/envelope.py",
        "if kind != PAYLOAD_TYPE:",
        "if False:",
        _SIGNATURES + "another_type_of_payload_is_refused",
    ),
    Defect(
        "sign: the type is not among the signed bytes",
        "attest/envelope.py",
        "for part in (payload_type.encode(), payload):",
        "for part in (payload,):",
        _SIGNATURES + "the_encoding_is_that_of_the_specification",
    ),
    Defect(
        "sign: what does not hold is signed",
        "attest/signing.py",
        "if not found.holds:",
        "if False:",
        _SIGNATURES + "nothing_is_signed_that_does_not_hold",
    ),
]

DEFECTS = [
    *_ARITHMETIC,
    *_AFFINE,
    *_CONVOLUTION,
    *_ELEMENTWISE,
    *_MOVEMENT,
    *_RELU,
    *_RULES_OF_ALL,
    *_PASS_OVER_NETWORKS,
    *_FLOAT32,
    *_BOXES,
    *_REGIONS,
    *_RADII,
    *_PROPERTIES_OF_LOGITS,
    *_CONTRADICTIONS,
    *_FOLDERS,
    *_CERTIFICATES,
    *_LOWERING,
    *_ATTESTATION,
    *_OTHERS,
]
