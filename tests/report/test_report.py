"""The report says what the run wrote, in JSON with a schema and on one page that loads nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import jsonschema
import numpy as np
import pytest
from support.runs import quick_run

import asi_verify as asi
from asi_verify.audit import ceiling_text
from asi_verify.data import from_arrays, phantom
from asi_verify.errors import RunFolderError
from asi_verify.report import build_report, report_schema, write_report
from asi_verify.report.charts import margins_before_and_after
from asi_verify.report.pictures import picture
from asi_verify.store import RunFolder


@pytest.fixture(scope="module")
def run():
    """A corrected phantom: contradictions, duplicates, bugs, everything in it."""
    data, planted = phantom(0, samples=(60, 20, 20), duplicates=1, dual_labels=1)
    return quick_run(data), data, planted


@pytest.fixture(scope="module")
def certified():
    """A model that was certified as it is, badly: most samples are open."""
    data, _ = phantom(1, samples=(30, 6, 6), duplicates=0, across=0, dual_labels=0, near=())
    weak = quick_run(data, epochs=1)
    return asi.certify(weak.artifact, data, radius="8/255"), data


def test_the_json_is_what_its_schema_says(run, certified):
    """Of a corrected model and of one that was certified as it is."""
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for result, *_ in (run, certified):
        report = build_report(result.folder)
        jsonschema.validate(json.loads(json.dumps(report)), schema)


def test_the_figures_are_those_of_the_run(run):
    """Status, counts, pairs and bugs."""
    result, data, planted = run
    report = build_report(result.folder)
    aside = sorted({row for pair in report["audit"]["contradictions"] for row in pair["rows"]})
    assert report["status"] == str(result.status)
    assert result.status.contradictions == len(aside)
    assert [pair["rows"] for pair in report["audit"]["contradictions"]] == sorted(
        list(pair) for pair in (*planted.dual_labels, *((a, b) for a, b, _ in planted.near))
    )
    assert len(report["bugs"]) == len(result.bugs)
    open_rows = {entry["row"] for entry in report["not_proved"]}
    accepted = report["certificates"]["accepted"]
    assert len(open_rows) == len(data.split("train")) - accepted
    assert report["after"]["accepted"] == accepted
    assert len(report["before"]["margins"]) == 60


def test_what_is_not_proved_is_listed_with_its_reason(certified):
    """Every row without an accepted certificate; first on the page."""
    result, data = certified
    report = build_report(result.folder)
    assert report["status"] == f"open({result.status.open})"
    assert result.status.open > 0
    assert {e["row"] for e in report["not_proved"]} >= set()
    assert len(report["not_proved"]) == result.status.open
    assert all(entry["reason"] for entry in report["not_proved"])
    assert any("counterexample" in entry["reason"] for entry in report["not_proved"])
    page = write_and_read(result, data)
    assert page.index("What is not proved") < page.index("What is proved")


def write_and_read(result, data):
    write_report(result.folder, data)
    return result.folder.files.require("report.html").decode()


class Page(HTMLParser):
    """Tags, and everything that a page could load."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset")]


def test_the_page_is_self_contained(run):
    """No scripts; images inside; nothing is loaded from elsewhere, not even a font."""
    result, data, _ = run
    text = write_and_read(result, data)
    page = Page()
    page.feed(text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(a.startswith(("data:image/png;base64,", "#")) for a in page.addresses)
    assert page.tags.count("img") > 0
    assert page.tags.count("svg") == 2
    assert not re.search(r"url\((?!#)|@import", text)


def test_without_images_there_are_none(run):
    """Patients' pictures stay where they are; the figures do not change."""
    result, data, _ = run
    with_images = write_report(result.folder, data)
    without = write_report(result.folder, None)
    text = result.folder.files.require("report.html").decode()
    assert "data:image" not in text
    assert "<img" not in text
    assert without == with_images


def test_the_page_says_what_a_proof_does_not_say(run, certified):
    """The sentence about unseen patients, with the test error beside it."""
    result, data, _ = run
    page = write_and_read(result, data)
    assert "says nothing about patients who are not among them" in page.replace("\n", " ")
    error = 1 - result.summary["after"]["accuracy"]["test"]
    assert f"this model is wrong on {error:.1%}" in page
    assert "rounding" in page


def test_a_run_that_proves_nothing_is_not_shown_as_a_success(run):
    """Where all images contradict one another nothing is open, and the page has no good colour."""
    result, data, _ = run
    twice = np.repeat(data.split("train").images[:1, 0], 2, axis=0)
    pair = from_arrays(twice, np.array([0, 1]))
    nothing = asi.certify(result.artifact, pair, preprocess=asi.Preprocess(), stages=())
    assert str(nothing.status) == "zero_except(2)"
    page = write_and_read(nothing, pair)
    assert "Nothing is proved" in page
    assert '<header class="">' in page
    assert '<header class="zero">' in write_and_read(result, data)


def test_without_a_test_split_the_error_on_others_is_called_unknown():
    """Nothing is made up."""
    dark, bright = np.full((8, 8, 8), 40, np.uint8), np.full((8, 8, 8), 200, np.uint8)
    images = np.concatenate([dark, bright]) + np.arange(16, dtype=np.uint8)[:, None, None]
    data = from_arrays(images, np.repeat([0, 1], 8))
    report = build_report(quick_run(data, epochs=2).folder)
    assert "how often it is wrong on others is unknown" in report["statements"]["unseen"]


def test_the_same_run_gives_the_same_page(run):
    """Charts carry no dates and no random names."""
    result, data, _ = run
    assert write_and_read(result, data) == write_and_read(result, data)


def test_names_are_escaped(run):
    """A class called <script> is text."""
    result, _data, _ = run
    report = build_report(result.folder)
    report["dataset"]["classes"] = ["<script>alert(1)</script>", "b"]
    from asi_verify.report.write import render

    page = Page()
    page.feed(render(report, None))
    assert "script" not in page.tags


def test_no_path_of_this_machine_is_in_the_report(run):
    """A report is passed on."""
    result, _, _ = run
    text = json.dumps(build_report(result.folder))
    assert "/home" not in text
    assert "source" not in build_report(result.folder)["provenance"]["configuration"]["dataset"]


def test_an_unfinished_run_has_no_report():
    """With what to do."""
    folder = RunFolder.in_memory()
    folder.configure({})
    with pytest.raises(RunFolderError, match="start it again"):
        build_report(folder)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 8, 8, 8), (1, 224, 224)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pictures_of_all_kinds_of_images(shape, dtype):
    """Grey, colour, volumes, large ones; 8-bit and floats."""
    image = np.ones(shape, dtype) if dtype == np.float32 else np.full(shape, 9, np.uint8)
    assert picture(image).startswith("data:image/png;base64,")


def test_charts_cope_with_answers_that_are_no_numbers():
    """They are left out."""
    assert "<svg" in margins_before_and_after([None, 1.0, -2.0], [0.5, None, 3.0])


def test_ceilings_in_words():
    """In grey levels or pixels; equal labels have none."""
    assert ceiling_text("9/255", "grey levels") == "9/255"
    assert ceiling_text("29/510", "pixel units") == "14.5/255"
    assert ceiling_text("113/2", "pixels") == "56.5 pixels"
    assert "none" in ceiling_text(None, "pixels")
