"""The script of the MedMNIST table: its pieces work, and the pages say what its figures say.

A whole cell with the network's usual budget takes minutes: ``benchmarks/medmnist_table.py``.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import asi_verify as asi
from asi_verify.prove import Intervals
from asi_verify.repair import CertifiedTraining, OrdinaryTraining

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RADII = ("1/255", "2/255", "4/255")


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """The script and what it is made of, with their runs in a new folder."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    names = ("medmnist_table", "_medmnist_page", "_runs", "_shares")
    found = {name.strip("_"): importlib.import_module(name) for name in names}
    monkeypatch.setattr(found["runs"], "RUNS", tmp_path)
    return SimpleNamespace(**found)


def a_cell(dataset="breastmnist", seed=0, test=0.8, status="zero", **more):
    """Figures of a run that nobody made."""
    accuracy = {"train": 1.0, "val": 0.9, "test": test}
    cost = {"seconds": 60.0 * (seed + 1), "processor_seconds": None, "peak_bytes": 2**30}
    return {
        "dataset": dataset,
        "seed": seed,
        "network": "small-cnn",
        "radius": "1/255",
        "ceilings": {"all": "3/85", "outside_contradictions": "3/85"},
        "certified": {radius: {**accuracy, "train": 0.9999} for radius in RADII},
        "contradictions": 0,
        "corrected": accuracy,
        "machine": {"processor": "abacus"},
        "ordinary": accuracy,
        "run": {**cost, "parts": 1},
        "samples": 546,
        "shares": cost,
        "stages": ["interval", "crown-ibp"],
        "status": status,
    } | more


def column(text, heading):
    """The texts of one column of the table that has it."""
    (table,) = (part for part in text.split("\n\n") if f"| {heading} |" in part)
    rows = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in table.splitlines()]
    return [row[rows[0].index(heading)] for row in rows[2:]]


def test_a_run_becomes_a_cell_and_a_page(scripts, monkeypatch):
    """Trained, certified at each radius, put together, kept, drawn: all in one, on a small set."""
    data, _ = asi.phantom(samples=(24, 8, 8), duplicates=0, across=0, dual_labels=0, near=())
    wanted = scripts.runs.Wanted(data.name, 0)
    asi.run(
        data,
        ordinary=OrdinaryTraining(epochs=8, batch_size=4),
        corrector=CertifiedTraining(epochs=2),
        options={"hidden": 8},
        rounds=1,
        last_layer=0,
        stages=[Intervals()],
        out=wanted.folder,
    )
    scripts.shares.shares(data, wanted.folder, "cpu", RADII)
    cost = scripts.runs.Cost(2.0, 1.0, 2**20)
    monkeypatch.setattr(scripts.medmnist_table, "made", lambda _: cost)
    ended = scripts.runs.Ended(0, "", cost)
    monkeypatch.setattr(scripts.medmnist_table, "measured", lambda _: ended)
    cell = scripts.medmnist_table.cell(wanted, "cpu")
    result = asi.load(wanted.folder)
    assert cell["model"] == result.digest
    assert cell["corrected"] == result.summary["after"]["accuracy"]
    assert set(cell["certified"]) == set(RADII)
    for split in data.splits:
        certified = [cell["certified"][radius][split] for radius in RADII]
        assert certified == sorted(certified, reverse=True)
        assert certified[0] <= cell["corrected"][split]
    assert scripts.medmnist_table.finished() == [cell]
    text = scripts.medmnist_page.full([cell]) + scripts.medmnist_page.short([cell])
    assert f"| {data.name} | small-cnn | 1/255 | 0 | {result.status} |" in text
    scripts.medmnist_page.draw([cell], wanted.folder / "plot.svg")
    assert f"{data.name}, small-cnn" in (wanted.folder / "plot.svg").read_text()


def test_what_is_finished_is_not_done_again(scripts, monkeypatch):
    """A cell that is kept is read; nothing is run for it."""
    wanted = scripts.runs.Wanted("breastmnist", 2)
    scripts.runs.keep(wanted.folder / "medmnist_table.json", a_cell(seed=2))
    monkeypatch.setattr(scripts.medmnist_table, "made", None)
    assert scripts.medmnist_table.cell(wanted, "cpu") == a_cell(seed=2)


def test_a_share_is_of_one_model_and_found_once(scripts, monkeypatch, tmp_path):
    """Kept shares are used again for the same model, and for no other."""
    model = SimpleNamespace(artifact=b"", digest="a")
    asked = []
    monkeypatch.setattr(scripts.shares.asi, "load", lambda _: model)
    monkeypatch.setattr(
        scripts.shares, "_share", lambda *about: asked.append(about[3]) or {"accepted": 1}
    )
    for digest, times in (("a", 3), ("a", 3), ("b", 6)):
        model.digest = digest
        scripts.shares.shares("phantom", tmp_path, "cpu", ["1/255"])
        assert len(asked) == times


def test_lines_over_seeds_hold_mean_smallest_and_largest(scripts):
    """Where a set has several seeds; each has a line of its own too."""
    cells = [a_cell(seed=0, test=0.8), a_cell(seed=1, test=0.9, status="open(2)")]
    text = scripts.medmnist_page.full([*cells, a_cell("retinamnist", test=0.5)])
    shown = column(text, "ordinary, test")
    assert shown == ["**85.0% (80.0% to 90.0%)**", "80.0%", "90.0%", "50.0%"]
    assert column(text, "ordinary, train") == ["**100%**", "100%", "100%", "100%"]
    assert column(text, "status") == ["**zero: 1, open(2): 1**", "zero", "open(2)", "zero"]
    assert column(text, "run, time") == ["**90 s (60 s to 120 s)**", "60 s", "120 s", "60 s"]
    assert column(text, "run, processor")[1:3] == ["", ""]


def test_almost_all_is_not_shown_as_all(scripts):
    """What is rounded would claim too much."""
    assert scripts.medmnist_page.share(0.99999) == "99.9%"
    assert scripts.medmnist_page.share(1.0) == "100%"


def test_what_a_process_costs_is_its_own(scripts):
    """Time and memory of the process that is measured; its last words, and how it ended."""
    small, large = "pass", "import sys; x = bytearray(300_000_000); sys.exit('no room')"
    first, second = (scripts.runs.measured([sys.executable, "-c", code]) for code in (small, large))
    assert (first.code, second.code, second.last_line) == (0, 1, "no room")
    assert second.cost.peak_bytes > 300_000_000
    again = scripts.runs.measured([sys.executable, "-c", small])
    assert again.cost.peak_bytes < second.cost.peak_bytes or own_peak() > 300_000_000
    assert second.cost.seconds >= 0
    assert second.cost.processor_seconds is not None


def own_peak():
    """The most memory of this process, which Linux counts towards those that it starts."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_run_that_was_killed_is_one_run_in_two_parts(scripts, monkeypatch):
    """The clock of both parts, up to the last file of the first; the processor's is not known."""
    wanted, starts = scripts.runs.Wanted("breastmnist", 0), []

    def measured(command):
        starts.append(command)
        wanted.folder.mkdir(exist_ok=True)
        (wanted.folder / "run.json").touch()
        if len(starts) == 1:
            began = json.loads(noted.read_text())["began"]
            os.utime(wanted.folder / "run.json", (began + 50, began + 50))
            raise KeyboardInterrupt
        return scripts.runs.Ended(1, "", scripts.runs.Cost(10.0, 5.0, 7))

    noted = wanted.folder.with_name("breastmnist-0.cost.json")
    monkeypatch.setattr(scripts.runs, "measured", measured)
    with pytest.raises(KeyboardInterrupt):
        scripts.runs.made(wanted)
    assert scripts.runs.made(wanted) == scripts.runs.Cost(60.0, None, 7, 2)
    assert starts[0] == starts[1]
    # Asked once more, its settings are compared, and that costs nothing that counts.
    assert scripts.runs.made(wanted) == scripts.runs.Cost(60.0, None, 7, 2)
    shutil.rmtree(wanted.folder)
    assert scripts.runs.made(wanted) == scripts.runs.Cost(10.0, 5.0, 7)


def test_a_finished_run_that_was_brought_here_has_no_cost(scripts, monkeypatch):
    """Unless the benchmark that timed it left its figures there."""
    wanted = scripts.runs.Wanted("breastmnist", 0)
    ended = scripts.runs.Ended(0, "", scripts.runs.Cost(1.0, 1.0, 1))
    monkeypatch.setattr(scripts.runs, "measured", lambda _: ended)
    scripts.runs.keep(wanted.folder / "result.json", {})
    assert scripts.runs.made(wanted) is None
    scripts.runs.keep(wanted.folder / "benchmark.json", {"seconds": 9.0, "processor_seconds": 8.0})
    assert scripts.runs.made(wanted) == scripts.runs.Cost(9.0, 8.0, None)


def test_a_run_that_is_refused_says_why(scripts):
    """The command that makes runs is understood, and its one line of wrong use is passed on."""
    wanted = scripts.runs.Wanted("phantom", 0, network="abacus")
    with pytest.raises(RuntimeError, match=r"phantom-abacus-0: .*'abacus' is not known"):
        scripts.runs.made(wanted)


def test_runs_of_different_kinds_lie_in_different_folders(scripts):
    """Those of one in one folder, the usual ones where every benchmark looks for them."""
    wanted = scripts.runs.Wanted
    names = [
        wanted("breastmnist", 0).folder.name,
        wanted("breastmnist", 1).folder.name,
        wanted("breastmnist", 0, network="cnn7").folder.name,
        wanted("breastmnist", 0, radius="2/255").folder.name,
        wanted("breastmnist", 0, radius="3/510").folder.name,
    ]
    assert names[0] == wanted("breastmnist", 0, radius="2/510").folder.name == "breastmnist-0"
    assert names[3] == "breastmnist-0-radius-2"
    assert len(set(names)) == len(names)


def test_the_command_line_takes_sets_networks_and_seeds(scripts, capsys):
    """Every set of MedMNIST by name, and no other; what the device is for is said."""
    given = scripts.medmnist_table.parsed(["--set", "pathmnist", "--seed", "1", "2"])
    assert (given.set, given.seed, given.network) == (["pathmnist"], [1, 2], ["small-cnn"])
    with pytest.raises(SystemExit):
        scripts.medmnist_table.parsed(["--set", "imagenet"])
    with pytest.raises(SystemExit):
        scripts.medmnist_table.parsed(["--help"])
    assert "Training" in capsys.readouterr().out


def test_the_pages_say_what_the_figures_say(scripts):
    """The page and the block in the results are what the script makes of the JSON beside them."""
    cells = json.loads((DOCS / "results" / "medmnist_table.json").read_text())["figures"]["cells"]
    assert cells
    results = (DOCS / "results.md").read_text()
    assert scripts.medmnist_page.with_block(results, scripts.medmnist_page.short(cells)) == results
    assert scripts.medmnist_page.full(cells) in (DOCS / "results/medmnist_table.md").read_text()


def test_every_set_of_the_figures_is_in_the_plot():
    """One plot for each set, network and radius, by its title."""
    cells = json.loads((DOCS / "results" / "medmnist_table.json").read_text())["figures"]["cells"]
    text = (DOCS / "results" / "medmnist_table.svg").read_text()
    for cell in cells:
        assert f"{cell['dataset']}, {cell['network']}" in text
