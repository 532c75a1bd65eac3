"""Properties: rows, margins, labels, canonical forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asi_verify.core.properties import (
    MultiLabel,
    SingleLabel,
    exclude_each_other,
    label_margins,
    predictions,
    property_for,
    property_from_json,
)
from asi_verify.errors import CertificateError, UsageError

logits = hnp.arrays(np.float32, (5, 4), elements=st.floats(-100, 100, width=32))


@given(logits, st.integers(0, 3))
def test_a_single_label_holds_exactly_where_its_logit_is_largest(outputs, label):
    """Strictly: a tie is wrong."""
    holds = SingleLabel(label, 4).margins(outputs) > 0
    for output, yes in zip(outputs, holds, strict=True):
        assert yes == all(output[label] > output[k] for k in range(4) if k != label)


@given(logits, st.tuples(*[st.integers(0, 1)] * 4))
def test_decisions_hold_exactly_where_each_logit_is_on_its_side(outputs, decisions):
    """Strictly: a logit of 0 is on neither side."""
    holds = MultiLabel(decisions).margins(outputs) > 0
    for output, yes in zip(outputs, holds, strict=True):
        sides = [z > 0 if d else z < 0 for z, d in zip(output, decisions, strict=True)]
        assert yes == all(sides)


@pytest.mark.parametrize("property_", [SingleLabel(0, 3), MultiLabel((1, 0, 1))])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_no_number_is_never_right(property_, bad):
    """NaN and infinities give no positive margin, wherever they stand."""
    for position in range(3):
        outputs = np.array([[9.0, -9.0, 9.0]])
        outputs[0, position] = bad
        assert not property_.margins(outputs)[0] > 0


@pytest.mark.parametrize("property_", [SingleLabel(1, 3), MultiLabel((0, 1)), MultiLabel((1,))])
def test_the_canonical_form_is_read_back(property_):
    """Equal properties have equal digests."""
    again = property_from_json(property_.to_json())
    assert again == property_
    assert again.digest == property_.digest


@pytest.mark.parametrize(
    "value",
    [None, {}, {"kind": "single-label"}, {"kind": "single-label", "label": 3, "classes": 3},
     {"kind": "single-label", "label": True, "classes": 2},
     {"kind": "single-label", "label": 0, "classes": 2, "more": 1},
     {"kind": "multi-label", "decisions": [2]}, {"kind": "multi-label", "decisions": []},
     {"kind": "multi-label", "decisions": [True]}, {"kind": "ordinal", "label": 1}],
)  # fmt: skip
def test_other_forms_are_refused(value):
    """A property is read only from its canonical form."""
    with pytest.raises(CertificateError):
        property_from_json(value)


@pytest.mark.parametrize("label", [-1, 2, 1.0, np.int64(1)])
def test_labels_that_do_not_fit_are_refused(label):
    """A label is an int among the classes."""
    with pytest.raises(UsageError):
        SingleLabel(label, 2)


def test_a_binary_model_may_have_one_logit():
    """Class 1 is above 0, class 0 below."""
    assert property_for(np.array(1), 1) == MultiLabel((1,))
    assert property_for(np.array(0), 1) == MultiLabel((0,))
    assert predictions(np.array([0, 0]), np.array([[-1.0], [2.0]])).tolist() == [0, 1]


def test_decisions_have_to_match_the_logits():
    """Three decisions for a model with two logits is a mistake of the caller's."""
    with pytest.raises(UsageError, match="3 decisions"):
        property_for(np.array([1, 0, 1]), 2)


@given(logits, hnp.arrays(np.int64, 5, elements=st.integers(0, 3)))
def test_margins_of_a_split_are_those_of_its_properties(outputs, labels):
    """Computing them by groups of equal labels changes nothing."""
    expected = [
        property_for(label, 4).margins(output[None])[0]
        for label, output in zip(labels, outputs, strict=True)
    ]
    np.testing.assert_array_equal(label_margins(labels, outputs), expected)


@pytest.mark.parametrize(
    ("first", "second", "exclude"),
    [
        (SingleLabel(0, 3), SingleLabel(1, 3), True),
        (SingleLabel(0, 3), SingleLabel(0, 3), False),
        (MultiLabel((1, 0)), MultiLabel((1, 1)), True),
        (MultiLabel((1, 0)), MultiLabel((1, 0)), False),
        (SingleLabel(0, 2), SingleLabel(1, 3), False),
        (MultiLabel((1,)), MultiLabel((0, 1)), False),
        (SingleLabel(0, 2), MultiLabel((1, 0)), False),
    ],
)
def test_properties_exclude_each_other_only_where_no_logits_satisfy_both(first, second, exclude):
    """Different labels of one model do; properties of two models say nothing of each other."""
    assert exclude_each_other(first, second) is exclude
