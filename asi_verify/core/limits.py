"""Limits on what comes from others: what is beyond them is refused before anything is allocated.

Certificate folders and ONNX files are untrusted. Each limit is far above what the networks and data
sets have that this library is made for, and low enough that a hostile file costs the reader seconds
and a few gigabytes at most. ``docs/reference/formats.md`` lists them.
"""

from __future__ import annotations

__all__ = [
    "DEEPEST_FORM",
    "DEEPEST_TREE",
    "LARGEST_ARTIFACT",
    "LARGEST_CASES",
    "LARGEST_CLAIMS",
    "LARGEST_CLAUSES",
    "LARGEST_CONTAINER",
    "LARGEST_FOLDED",
    "LARGEST_NETWORK",
    "LARGEST_PASS",
    "LARGEST_SHARD",
    "LARGEST_STEP",
    "LARGEST_TREE",
    "LARGEST_VALUE",
    "LARGEST_VNNLIB",
    "LONGEST_NUMERAL",
    "LONGEST_REASON",
    "MOST_AXES",
    "MOST_BITS",
    "MOST_CASES",
    "MOST_CONSTANTS",
    "MOST_LOGITS",
    "MOST_OPERATORS",
    "MOST_PER_SHARD",
    "MOST_PIECES",
    "MOST_PLACES",
    "MOST_REFUSALS",
]

LARGEST_ARTIFACT = 1 << 28
"""Bytes of an ONNX file: 64 million float32 weights."""

LARGEST_CLAIMS = 1 << 22
"""Bytes of ``claims.json``; JSON takes up to some 25 times as much memory."""

LARGEST_SHARD = 1 << 28
"""Bytes of a file of certificates."""

LARGEST_CONTAINER = 1 << 30
"""Bytes of a file of binary parts."""

LARGEST_TREE = 1 << 24
"""Bytes of one split tree."""

DEEPEST_TREE = 128
"""Cuts on one path of a split tree; a chain of nodes would make paths of quadratic length."""

MOST_PER_SHARD = 1024
"""Certificates in one file."""

MOST_PIECES = 1 << 20
"""Boxes that one region is divided into to be enumerated: a pass of the network for each."""

MOST_REFUSALS = 100
"""Reasons that are listed for a folder; then the checker stops looking."""

LONGEST_REASON = 1000
"""Characters of one reason, which may quote names from the files."""

MOST_OPERATORS = 10_000
"""Operators of a network. Boxes of all values are kept, and bounds may need a pass for each."""

MOST_AXES = 8
"""Axes of a value or a constant, the batch included; numpy itself ends at 32 or 64."""

MOST_CONSTANTS = 1 << 26
"""Numbers that all operators of a network hold together, counted at each use."""

LARGEST_FOLDED = 1 << 22
"""Numbers that constants hold together which a file computes out of others, as shapes are."""

MOST_PLACES = 1 << 20
"""Places along one axis that an operator selects."""

MOST_LOGITS = 10_000
"""Outputs of a classifier: a property is a matrix of as many rows and columns."""

LARGEST_VALUE = 1 << 24
"""Numbers of one value of a network for one image, padding included."""

LARGEST_NETWORK = 1 << 27
"""Numbers of all values of a network together, for one image: a gigabyte of float64."""

LARGEST_STEP = 1 << 27
"""Numbers that one operator handles at once for one image: the columns of a convolution."""

LARGEST_PASS = 1 << 29
"""Numbers of the largest step for one functional per logit: what a backward pass may hold."""

LARGEST_VNNLIB = 1 << 25
"""Bytes of a VNN-LIB file, unpacked."""

DEEPEST_FORM = 100
"""Parentheses inside one another in a VNN-LIB file."""

LONGEST_NUMERAL = 2000
"""Characters of one numeral; a float32 written out in full has at most some 160."""

MOST_BITS = 1 << 13
"""Bits of a numerator or a denominator that arithmetic in a VNN-LIB file may lead to."""

MOST_CASES = 10_000
"""Conjunctions that a VNN-LIB file is a disjunction of."""

LARGEST_CLAUSES = 1 << 22
"""Coefficients over all outputs that the inequalities of a VNN-LIB file have together, and the most
atoms that its conjunctions have."""

LARGEST_CASES = 1 << 24
"""Inputs of all cases of a VNN-LIB file together."""
