"""Largest certified radii: what a search at every radius would find, or better."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import small_cnn

from asi_verify.core.canonical import array_digest
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.properties import SingleLabel
from asi_verify.core.radius import Radius
from asi_verify.core.verdict import Proved, Refuted
from asi_verify.export import Artifact
from asi_verify.prove import Crown, CrownIbp, Falsify, Intervals, prove
from asi_verify.prove.radius_search import search_radii

STEP, MOST = Radius.of("1/255"), Radius.of("9.5/255")
GRID = [LInf.of(f"{levels}/255") for levels in range(10)]


@pytest.fixture(scope="module")
def asked():
    generator = np.random.default_rng(0)
    artifact = Artifact.from_network(small_cnn(generator))
    images = generator.integers(0, 256, (10, 1, 8, 8), dtype=np.uint8)
    labels = artifact.session.run(encode(images)).argmax(axis=1)
    labels[0] = (labels[0] + 1) % 3
    properties = [SingleLabel(int(label), 3) for label in labels]
    return artifact, images, [array_digest(image) for image in images], properties


@pytest.mark.parametrize(
    "stages", [(Falsify(), Intervals(), CrownIbp(), Crown()), (Intervals(),), (Crown(),)]
)
def test_the_largest_radius_is_found(asked, stages):
    """The last at which the stages prove, as they do when asked about every radius in turn."""
    artifact, images, digests, properties = asked
    found = search_radii(artifact, images, digests, properties, STEP, MOST, stages)
    table = [prove(artifact, f, images, digests, properties, stages).verdicts for f in GRID]
    for row, bounds in enumerate(found):
        proved = [isinstance(verdicts[row], Proved) for verdicts in table]
        refuted = [isinstance(verdicts[row], Refuted) for verdicts in table]
        last = max((i for i, yes in enumerate(proved) if yes), default=None)
        assert bounds.proved == (None if last is None else GRID[last].radius)
        if bounds.refuted is not None:
            assert bounds.proved is None or bounds.proved < bounds.refuted
        assert (bounds.refuted is not None) == any(refuted)
    assert len({bounds.proved for bounds in found}) > 2
    assert found[0].proved is None
