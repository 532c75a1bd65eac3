"""What stress test, guard and bubbles left in the folder: shown only if it is about this run."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import jsonschema
import pytest
from support.runs import trained

import asi_verify as asi
from asi_verify._bubbles import BUBBLES_FILE
from asi_verify._guard import GUARD_FIGURES, GUARD_FILE
from asi_verify._validate import VALIDATION_FILE
from asi_verify.checker import Outcome
from asi_verify.cli import main
from asi_verify.data import phantom
from asi_verify.prove import Intervals
from asi_verify.report import build_report, report_schema, write_report
from asi_verify.report.build import _ADDED
from asi_verify.report.charts import bubble_radii
from asi_verify.store import RunFolder
from asi_verify.stress import Alarm, Battery

SECTIONS = {"bubbles": BUBBLES_FILE, "guard": GUARD_FIGURES, "stress": VALIDATION_FILE}
HEADINGS = {"bubbles": "Certainty bubbles", "guard": "Guard: a model", "stress": "Stress test"}


@pytest.fixture(scope="module")
def data():
    """Phantom images without contradictions."""
    made, _ = phantom(9, samples=(40, 12, 12), duplicates=0, across=0, dual_labels=0, near=())
    return made


@pytest.fixture(scope="module")
def model(data):
    """After a few epochs of ordinary training."""
    return trained(data)


def certified(model, data, radius="0.5/255", **options):
    """A finished run of that model."""
    return asi.certify(model, data, radius, stages=[Intervals()], **options)


@pytest.fixture(scope="module")
def full(model, data, tmp_path_factory):
    """A run folder with everything in it, and the value of the stress test."""
    out = tmp_path_factory.mktemp("added") / "out"
    result = certified(model, data, out=out)
    groups = {"test": ["one", "other"] * 6}
    asi.build_guard(result, data, radius="0.1/255", groups=groups, second=result.artifact)
    asi.bubbles(result, data, "2/255", step="0.25/255", stages=[Intervals()])
    return result, asi.validate(result, data, battery=Battery(attacks=()))


@pytest.fixture
def folder(full):
    """A copy to change."""
    copied = RunFolder.in_memory()
    full[0].folder.copy_to(copied)
    return copied


def page(folder, data=None):
    """The page, in one line."""
    write_report(folder, data)
    return " ".join(folder.files.require("report.html").decode().split())


def changed(folder, name, **values):
    """Change some of what a file holds."""
    folder.write_json(name, {**folder.read_json(name), **values})


def test_the_files_are_those_that_the_commands_write():
    """Their names stand in both rooms, for a report imports no command."""
    assert {name: added.file for name, (added, _) in _ADDED.items()} == SECTIONS
    assert _ADDED["guard"][0].measured == GUARD_FILE


def test_each_section_is_shown_and_fits_the_schema(full, folder):
    """From what the commands wrote, nothing else."""
    report = build_report(folder)
    jsonschema.validate(json.loads(json.dumps(report)), report_schema())
    assert report["left_out"] == []
    text = page(folder)
    assert all(heading in text for heading in HEADINGS.values())
    assert "Not shown" not in text
    found = full[1]
    assert report["stress"]["claimed"] == found.claimed == full[0].summary["accepted"] > 0
    assert report["stress"]["corruptions"] == found.corruptions
    assert "No alarm" in report["stress"]["line"]


def test_what_the_guard_refuses_has_a_table_for_the_second_model(folder):
    """Counted and estimated apart, beside what the monitor of a stream said."""
    guard = build_report(folder)["guard"]
    for split in ("val", "test"):
        counts, second = guard["counted"][split]["counts"], guard["counted"][split]["second"]
        assert second["asked"] == counts["refused"] > 0
        assert second["first_right"] == second["second_right"] == counts["refused_right"]
        assert "second_error" not in second
    assert set(guard["estimated"]["test"]["second"]) == {
        "coverage",
        "error_when_answering",
        "first_error",
        "second_error",
    }
    assert guard["drift"]["seen"] == 12
    text = page(folder)
    assert "Counted: a second model, asked about what was refused" in text
    assert "Second model wrong on it" in text
    assert "of 12. If images come as they did" in text


def test_without_the_files_there_are_no_sections(model, data):
    """Null in JSON, no heading on the page."""
    result = certified(model, data)
    report = build_report(result.folder)
    jsonschema.validate(json.loads(json.dumps(report)), report_schema())
    assert [report[name] for name in SECTIONS] == [None] * 3
    assert report["left_out"] == []
    text = page(result.folder, data)
    assert not any(heading in text for heading in (*HEADINGS.values(), "Not shown"))


def about_another_model(folder, name):
    """The digest of the model, where it stands."""
    if name == BUBBLES_FILE:
        radii = {**folder.read_json(name)["radii"], "model": "ab" * 32}
        changed(folder, name, radii=radii)
    else:
        changed(folder, name, **{"artifact" if name == GUARD_FIGURES else "model": "ab" * 32})


def by_an_older_version(folder, name):
    """Which did not note the claims."""
    found = folder.read_json(name)
    del found["claims"]
    folder.write_json(name, found)


REFUSED = {
    "another model, abababababab": about_another_model,
    "an older version wrote it": by_an_older_version,
    "other claims": lambda folder, name: changed(folder, name, claims="ab" * 32),
    "not of the format": lambda folder, name: changed(folder, name, schema="asi-verify/other/1"),
    "it cannot be read": lambda folder, name: folder.files.write(name, b"{"),
}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("why", REFUSED)
def test_what_is_not_about_this_run_is_left_out_with_a_note(folder, section, why):
    """Never shown as if it were; the note says what to do, and the other sections stay."""
    REFUSED[why](folder, SECTIONS[section])
    report = build_report(folder)
    jsonschema.validate(json.loads(json.dumps(report)), report_schema())
    assert report[section] is None
    assert all(report[other] is not None for other in SECTIONS if other != section)
    (left_out,) = report["left_out"]
    assert left_out["file"] == SECTIONS[section]
    assert why in left_out["reason"]
    assert f"'asi-verify {_ADDED[section][0].command}'" in left_out["reason"]


def test_the_note_stands_on_the_page(folder):
    """In place of the sections."""
    for name in SECTIONS.values():
        about_another_model(folder, name)
    text = page(folder)
    assert not any(heading in text for heading in HEADINGS.values())
    said = text[text.index("Not shown") :]
    assert all(name in said for name in SECTIONS.values())
    assert said.count("another model, abababababab") == 3


@pytest.mark.parametrize("section", SECTIONS)
def test_files_of_a_run_at_another_radius_are_not_shown(folder, model, data, section):
    """The model is the same, the regions are not."""
    other = certified(model, data, "1/255").folder
    name = SECTIONS[section]
    other.files.write(name, folder.files.require(name))
    other.files.write(GUARD_FILE, folder.files.require(GUARD_FILE))
    report = build_report(other)
    assert report[section] is None
    assert "other claims" in report["left_out"][0]["reason"]


def test_figures_of_another_guard_are_not_shown(folder):
    """A process that is killed between the two files leaves a guard beside those of another."""
    folder.files.write(GUARD_FILE, folder.files.require(GUARD_FILE) + b" ")
    report = build_report(folder)
    assert report["guard"] is None
    assert "is another one" in report["left_out"][0]["reason"]


def test_an_alarm_is_loud(full, folder):
    """First on the page and in the headline; the page is not green although the status is zero."""
    alarms = (
        Alarm("darkest", 3, "an input inside is answered otherwise"),
        Alarm("check", None, "x"),
    )
    folder.write_json(VALIDATION_FILE, replace(full[1], alarms=alarms).to_json())
    folder.write_json("result.json", folder.read_json("result.json") | {"open": 0})
    report = build_report(folder)
    jsonschema.validate(json.loads(json.dumps(report)), report_schema())
    assert report["status"].startswith("zero")
    assert report["headline"].startswith("ALARM: 2 findings of the stress test contradict")
    assert [alarm["row"] for alarm in report["stress"]["alarms"]] == [3, None]
    assert "rely on nothing here" in report["stress"]["line"]
    text = page(folder)
    assert "<title>ALARM" in text
    assert 'role="alert"' in text
    assert 0 < text.index("an input inside is answered otherwise") < text.index("<header")
    assert '<header class="zero"' not in text
    assert "The stress test contradicts this" in text
    assert "2 alarms, with which this page begins" in text


def test_without_an_alarm_nothing_is_loud(folder):
    """Of the same folder."""
    report = build_report(folder)
    assert "ALARM" not in report["headline"]
    assert "ALARM" not in page(folder)


def test_what_tried_nothing_is_no_success(full, folder):
    """A trial inside without members, and a folder without claims."""
    first, *others = full[1].edge_cases
    empty = replace(full[1], edge_cases=(replace(first, tried=0, kept=0), *others))
    folder.write_json(VALIDATION_FILE, empty.to_json())
    line = build_report(folder)["stress"]["line"]
    assert f"tried by: {first.name}. That is no success" in line
    nothing = replace(full[1], claimed=0, edge_cases=(), determinism=None, constant_images={})
    folder.write_json(VALIDATION_FILE, nothing.to_json())
    assert "Nothing is claimed" in build_report(folder)["stress"]["line"]


def test_outside_of_the_regions_nothing_is_claimed(full, folder):
    """Trials stand on their side, and the page says so before any of those outside."""
    stress, found = build_report(folder)["stress"], full[1]
    for side, inside in (("inside", True), ("outside", False)):
        names = [trial["name"] for trial in stress[side]["edge_cases"]]
        assert names == [trial.name for trial in found.edge_cases if trial.inside is inside]
    text = page(folder)
    said = text.index("Nothing is claimed here")
    assert text.index("random member") < said < text.index("blend, 25%")
    assert said < text.index("Accuracy on corrupted images")


def tables(text):
    """The text of each table of a page."""
    return re.findall(r"<table.*?</table>", text)


def test_what_is_counted_and_what_is_estimated_share_no_table(folder):
    """In JSON no key is in both; on the page no table has a count and an interval."""
    guard = build_report(folder)["guard"]
    counted, estimated = guard["counted"]["test"], guard["estimated"]["test"]
    assert not set(counted["counts"]) & set(estimated)
    assert not set(counted["conformal"]) & set(estimated["conformal"])
    assert all(isinstance(value, int) for value in counted["counts"].values())
    text = page(folder)
    part = text[text.index(HEADINGS["guard"]) : text.index("The data set")]
    found, guessed = part.split("<h3>Estimated</h3>")
    interval = re.compile(r"[0-9.]+ to [0-9.]+ (%|points)")
    assert not interval.search(found)
    assert len(tables(guessed)) == 1
    assert interval.search(guessed)
    assert not re.search(r"[0-9]+ of [0-9]+", guessed)


def test_the_guards_figures_are_those_of_its_file(folder):
    """Counts of all, by layer, class and group; what was refused is the rest."""
    written, guard = folder.read_json(GUARD_FIGURES), build_report(folder)["guard"]
    for split in ("val", "test"):
        counted, told = written["counted"][split], guard["counted"][split]
        count = told["counts"]
        assert counted["counts"].items() <= count.items()
        assert count["refused"] + count["answered"] == count["samples"]
        assert count["refused_right"] + count["answered_right"] == count["right"]
        assert {layer["name"] for layer in told["layers"]} == set(counted["layers"])
        for layer in told["layers"]:
            assert counted["layers"][layer["name"]].items() <= layer.items()
        assert [each["name"] for each in told["classes"]] == list(counted["classes"])
    assert [group["name"] for group in guard["counted"]["test"]["groups"]] == ["one", "other"]
    assert guard["estimated"]["test"]["gain"] == written["estimated"]["test"]["gain"][1:]
    text = page(folder)
    assert "not-certified" in text
    assert "other" in text


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ("intervals", "proved by intervals to be"),
        ("crown-ibp", "proved by linear bounds (CROWN-IBP)"),
    ],
)
def test_a_guard_says_by_which_bounds_it_certifies(bounds, told, folder):
    """In the sentence that says what an answer means."""
    settings = folder.read_json(GUARD_FIGURES)["settings"]
    changed(folder, GUARD_FIGURES, settings={**settings, "bounds": bounds})
    assert told in page(folder)


def test_bubbles_are_counted_by_radius(folder, data):
    """All images, the smallest first; a chart with them; rows with label and radius."""
    found, bubbles = folder.read_json(BUBBLES_FILE), build_report(folder)["bubbles"]
    assert sum(entry["images"] for entry in bubbles["distribution"]) == 40
    assert len(bubbles["distribution"]) > 1
    assert [entry["row"] for entry in bubbles["smallest"]] == [
        entry["row"] for entry in found["smallest"]
    ]
    train = data.split("train")
    for entry in bubbles["smallest"]:
        assert entry["label"] == [train.labels[entry["row"]]]
        proved = found["radii"]["proved"][entry["row"]]
        assert entry["radius"] == (None if proved is None else str(asi.Radius.of(proved)))
    assert bubbles["others"] == found["others"]
    text = page(folder)
    part = text[text.index(HEADINGS["bubbles"]) : text.index(HEADINGS["guard"])]
    assert part.count("<svg") == 1
    assert part.count("<figure>") == len(bubbles["smallest"]) == 10
    assert f"row {bubbles['smallest'][0]['row']}, " in part


def test_memorised_images_have_no_bubble_that_counts(folder):
    """They stand apart, as everywhere in the report."""
    radii = folder.read_json(BUBBLES_FILE)["radii"]
    changed(folder, BUBBLES_FILE, radii={**radii, "memorised": [0, 7]})
    bubbles = build_report(folder)["bubbles"]
    assert sum(entry["images"] for entry in bubbles["distribution"]) == 38
    assert sum(entry["memorised"] for entry in bubbles["distribution"]) == 2
    assert "2 memorised images not counted" in bubbles["line"]


def test_the_smallest_bubbles_are_shown_as_pictures_only_where_these_are_wanted(folder, data):
    """None without the data set."""
    with_pictures = page(folder, data)
    part = with_pictures[with_pictures.index("The smallest") :]
    assert part.count('<figure><img src="data:image/png') == 10
    without = page(folder)
    assert "data:image" not in without
    assert "<img" not in without
    assert "<figure>" in without


@pytest.mark.parametrize("pictures", [True, False])
def test_a_report_that_is_there_is_written_anew_and_keeps_to_its_pictures(
    model, data, pictures, tmp_path
):
    """By each of the three; one without pictures gets none, one with them keeps them."""
    result = certified(model, data, out=tmp_path / "out")
    write_report(result.folder, data if pictures else None)
    before = asi.check(tmp_path / "out", data)
    options = {"step": "1/255", "stages": [Intervals()]}
    for add, section in (
        (lambda: asi.validate(result, data, battery=Battery(attacks=())), "stress"),
        (lambda: asi.build_guard(result, data, radius="0.1/255"), "guard"),
        (lambda: asi.bubbles(result, data, "1/255", **options), "bubbles"),
    ):
        assert json.loads((tmp_path / "out/report.json").read_text())[section] is None
        add()
        assert json.loads((tmp_path / "out/report.json").read_text())[section] is not None
        text = (tmp_path / "out/report.html").read_text()
        assert HEADINGS[section] in text
        assert pictures or "data:image" not in text
    assert ("data:image" in text) is pictures
    after = asi.check(tmp_path / "out", data)
    assert after.refused == before.refused == ()
    assert after.rows(Outcome.ACCEPTED) == before.rows(Outcome.ACCEPTED)
    assert after.rows(Outcome.ACCEPTED)
    assert main(["verify", str(tmp_path / "out")]) == 0


def test_no_report_is_written_where_there_is_none(full):
    """Whoever did not ask for one does not get one, and its pictures."""
    assert not {"report.html", "report.json"} & set(full[0].folder.files.names())


@pytest.mark.parametrize("missing", ["rounds/00/examination.json", "audit.json"])
def test_a_report_that_cannot_be_written_loses_nothing(model, data, missing, caplog):
    """What was found is returned and stands in its file; a warning says that the report is old."""
    result = certified(model, data)
    write_report(result.folder, None)
    result.folder.files.remove(missing)
    found = asi.validate(result, data, battery=Battery(attacks=()))
    assert result.folder.read_json(VALIDATION_FILE) == json.loads(json.dumps(found.to_json()))
    assert result.folder.read_json("report.json")["stress"] is None
    assert "older than what was found" in caplog.text


def test_a_name_cannot_ask_for_pictures(folder, data):
    """A class that is called like the page's note of its pictures is text."""
    noted = folder.configuration
    noted["dataset"]["classes"] = ['<meta name="asi-verify-pictures" content="shown">', "b"]
    folder.write_json("run.json", noted)
    from asi_verify.report import rewrite_report

    write_report(folder, None)
    rewrite_report(folder, data)
    assert "data:image" not in folder.files.require("report.html").decode()


@pytest.mark.parametrize(
    "distribution",
    [[(None, 3)], [("0", 4)], [("0.5/255", 1), ("8/255", 40)], [(None, 1), ("0", 2)]],
)
def test_the_chart_of_bubbles_copes_with_any_radii(distribution):
    """None at all, one alone, no bubble beside others."""
    drawn = bubble_radii(distribution, "0.5/255")
    assert drawn.startswith("<svg")
    assert (">none<" in drawn) is (distribution[0][0] is None)
