"""The certificates of named classes beside those of all samples: they have to be of one run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.folders import make_folder

from asi_verify._never_miss import checked_never_miss, never_miss_settings
from asi_verify.checker import check_folder
from asi_verify.core.linf import LInf
from asi_verify.core.never_miss import NeverMiss
from asi_verify.core.semantics import Semantics
from asi_verify.data import Samples

LARGE, SMALL = LInf.of("0.4/255"), LInf.of("0.1/255")
ONLY = NeverMiss((2,), LARGE, SMALL)
ASKED = never_miss_settings(ONLY)


@pytest.fixture
def made(tmp_path):
    """A folder about one class whose claims are valid by themselves."""
    made = make_folder(tmp_path / "never_miss", family=LARGE)
    made.certificates = [c for c in made.certificates if made.labels[c.row] == 2]
    return replace(made, claims=replace(made.claims, contradictions=(), never_miss=ONLY)).write()


def check(made, asked=ASKED, **changes):
    """Beside claims about all samples, with some changes of these."""
    main = replace(made.claims, family=SMALL, never_miss=None, **changes)
    samples = Samples(made.images, made.labels)
    return checked_never_miss(made.place.parent, asked, main, samples)


def test_what_belongs_to_the_run_is_checked(made):
    """As it would be alone, whether or not it is known what the run was asked for."""
    alone = check_folder(made.place, made.images, made.labels)
    assert not alone.refused
    assert check(made) == check(made, {}) == alone


def test_what_was_asked_for_has_to_be_there(tmp_path, made):
    """Claims that cannot be read are none; who asked for nothing misses nothing."""
    (made.place / "claims.json").write_bytes(b"{}")
    assert check(made).refused
    assert not check(made).holds
    for path in made.place.iterdir():
        path.unlink()
    made.place.rmdir()
    assert check(made).status is None
    assert not check(made).holds
    assert check(made, {}) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"artifact": "0" * 64}, "another model"),
        ({"semantics": Semantics.FLOAT32}, "other semantics"),
    ],
)
def test_what_does_not_belong_to_the_run_is_refused(made, changes, says):
    """Claims about another model or arithmetic, though they hold by themselves."""
    result = check(made, **changes)
    assert says in result.refused[0]
    assert not result.holds


def test_other_samples_and_regions_beside_are_refused(made):
    """So are those that speak of other samples, or of other regions of all other samples."""
    other = replace(made.claims.dataset, split="test")
    assert "other samples" in check(made, dataset=other).refused[0]
    wider = NeverMiss((2,), LARGE, LInf.of("0.2/255"))
    changed = replace(made, claims=replace(made.claims, never_miss=wider)).write()
    assert "other regions" in check(changed, never_miss_settings(wider)).refused[0]


@pytest.mark.parametrize("asked", [NeverMiss((1,), LARGE, SMALL), NeverMiss((1, 2), LARGE, SMALL)])
def test_other_classes_than_were_asked_for_are_refused(made, asked):
    """A class less is fewer samples."""
    assert "was asked for" in check(made, never_miss_settings(asked)).refused[0]


def test_smaller_regions_than_were_asked_for_are_refused(made):
    """And so is a folder that names no classes at all."""
    asked = never_miss_settings(NeverMiss((2,), LInf.of("0.5/255"), SMALL))
    assert "was asked for" in check(made, asked).refused[0]
    changed = replace(made, claims=replace(made.claims, never_miss=None)).write()
    assert "names no classes" in check(changed).refused[0]
