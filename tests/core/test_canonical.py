"""Canonical JSON and digests."""

from __future__ import annotations

import numpy as np
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from asi_verify.core.canonical import array_digest, canonical_json, digest
from asi_verify.core.certificate import parse_json
from asi_verify.errors import CertificateError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_it_is_what_rfc_8785_says(value):
    """An independent implementation of the standard gives the same bytes."""
    assert canonical_json(value) == rfc8785.dumps(value)


@given(values)
def test_what_is_written_is_read_back(value):
    """Canonical text is accepted and means the same value."""
    assert parse_json(canonical_json(value)) == value


@pytest.mark.parametrize(
    ("value", "error"),
    [(1.5, TypeError), ({"ü": 1}, TypeError), ({1: 2}, TypeError), (2**53, ValueError),
     (b"x", TypeError), ("\ud800", ValueError), ({"a": [1, {"b": 0.1}]}, TypeError)],
)  # fmt: skip
def test_what_has_no_exact_form_is_refused(value, error):
    """Floats above all: their text would depend on who writes it."""
    with pytest.raises(error):
        canonical_json(value)


@pytest.mark.parametrize(
    "text",
    [b'{"a":1, "b":2}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b"[1.0]", b"[1e3]", b"[NaN]", b"",
     b"[" * 100 + b"]" * 100, b'{"a":1}\n', b"\xff", b"[" * 100_000, b'"\\u0041"', b"[01]"],
)  # fmt: skip
def test_other_texts_are_refused(text):
    """Stray spaces, orders, duplicate keys, floats, depth: one value has one text."""
    with pytest.raises(CertificateError):
        parse_json(text)


def test_text_longer_than_allowed_is_refused_before_it_is_parsed():
    """A bound on length is a bound on time and memory."""
    with pytest.raises(CertificateError, match="more than the 10 allowed"):
        parse_json(b'"' + b"a" * 20 + b'"', longest=10)


def test_an_array_is_named_by_dtype_shape_and_values():
    """Layout in memory does not matter; dtype, shape and order of the values do."""
    a = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert array_digest(a) == array_digest(np.asfortranarray(a))
    assert array_digest(a.astype(">i4")) == array_digest(a.astype("<i4"))
    others = [a.reshape(3, 2), a.astype(np.int8), a.T, a + 1]
    assert len({array_digest(a), *(array_digest(other) for other in others)}) == 5


def test_a_digest_is_that_of_the_canonical_text():
    """The order in which a mapping was built does not matter."""
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
