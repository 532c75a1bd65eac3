"""Named byte strings, in a folder and in memory, and the run folder on top of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import stat
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asi_verify.core.bug import Bug, BugEvent, BugKind, BugState, Category
from asi_verify.errors import RunFolderError
from asi_verify.store import FolderFiles, MemoryFiles, RunFolder

names = st.sampled_from(["a", "b.json", "c/d", "c/e/f"])


class BothFiles(RuleBasedStateMachine):
    """A folder and its twin in memory hold the same at every moment."""

    @initialize()
    def begin(self):
        self.place = tempfile.mkdtemp()
        self.folder, self.memory = FolderFiles(self.place), MemoryFiles()

    @rule(name=names, data=st.binary(max_size=20))
    def write(self, name, data):
        for files in (self.folder, self.memory):
            files.write(name, data)

    @rule(name=names)
    def remove(self, name):
        for files in (self.folder, self.memory):
            files.remove(name)

    @rule(name=names)
    def read(self, name):
        assert self.folder.read(name) == self.memory.read(name)

    @invariant()
    def they_agree(self):
        if hasattr(self, "folder"):
            assert self.folder.names() == self.memory.names()

    def teardown(self):
        shutil.rmtree(self.place)


TestBothFiles = BothFiles.TestCase
TestBothFiles.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)


@pytest.mark.parametrize("make", [FolderFiles, lambda p: MemoryFiles()])
@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "a//b", "."])
def test_names_stay_inside(make, name, tmp_path):
    """No name reaches out of the folder."""
    with pytest.raises(RunFolderError):
        make(tmp_path).write(name, b"")


def test_a_write_that_is_cut_off_leaves_what_was_there(tmp_path, monkeypatch):
    """The old bytes or the new ones, never half of them, and no remains."""
    files = FolderFiles(tmp_path)
    files.write("a", b"old")

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write("a", b"new")
    assert files.read("a") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_files_are_readable_as_the_umask_allows(tmp_path):
    """A report that only its owner could read would be of little use."""
    before = os.umask(0o022)
    try:
        FolderFiles(tmp_path).write("a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_missing_file_is_named():
    """With the folder that lacks it."""
    with pytest.raises(RunFolderError, match=r"audit\.json is missing"):
        MemoryFiles().require("audit.json")


def test_a_folder_belongs_to_one_run(tmp_path):
    """Another configuration is refused, and the message names what differs, and the remedy."""
    folder = RunFolder.at(tmp_path / "out")
    folder.configure({"radius": "1/255", "seed": 0})
    RunFolder.open(tmp_path / "out").configure({"radius": "1/255", "seed": 0})
    said = "here: seed is 0 there, 1 was asked for; give another folder, or the settings of the run"
    with pytest.raises(RunFolderError, match=said) as caught:
        RunFolder.open(tmp_path / "out").configure({"radius": "1/255", "seed": 1})
    assert "1/255" not in str(caught.value)


def test_settings_that_differ_are_named_alone_and_in_short(tmp_path):
    """However deep they stand, highest first; a long value is cut, and many are counted."""
    folder = RunFolder.at(tmp_path / "out")
    settings = {
        "corrector": {"epochs": 300, "learning_rate": 0.5},
        "never_miss": None,
        "options": list(range(200)),
        "seed": 0,
        "stages": [{"name": "falsify", "steps": 5}, {"name": "crown"}],
    }
    folder.configure(settings)
    other = json.loads(json.dumps(settings))
    other["corrector"]["epochs"] = 30
    other["stages"][0]["steps"] = 6
    del other["never_miss"]
    with pytest.raises(RunFolderError) as caught:
        folder.configure(other)
    assert (
        ": a run with other settings lies here: corrector.epochs is 300 there, 30 was asked for, "
        "stages.0.steps is 5 there, 6 was asked for; give another folder"
    ) in str(caught.value)
    with pytest.raises(
        RunFolderError, match=r"options is \[0, 1, .* \.\.\. .*, 199\] there, \[\] was"
    ):
        folder.configure({**settings, "options": []})
    with pytest.raises(RunFolderError, match=r"a is null there, 1 was asked for, .*, and 3 more; "):
        folder.configure({**settings, **dict.fromkeys("abcdefgh", 1)})


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    """Files of somebody else's are not mixed with those of a run."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match=r"thesis\.txt"):
        RunFolder.at(tmp_path)
    for place in (tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "a" / "b"):
        with pytest.raises(RunFolderError, match=r"thesis\.txt is a file; give a folder"):
            RunFolder.at(place)
    with pytest.raises(RunFolderError, match=r"no run\.json; this is not the folder of a run"):
        RunFolder.open(tmp_path)


def test_a_folder_is_made_when_a_run_begins(tmp_path):
    """Asking for it leaves nothing behind: what is refused later was never there."""
    folder = RunFolder.at(tmp_path / "a" / "out")
    assert not list(tmp_path.iterdir())
    with folder.locked():
        assert (tmp_path / "a" / "out" / "bugs.sqlite").is_file()


def test_a_folder_that_cannot_be_made_is_named():
    """With the remedy; by whoever is asked first, the rights or the system."""
    place = "/proc/asi-verify/out"
    with (
        pytest.raises(RunFolderError, match=rf"{place}: .*; give another folder"),
        RunFolder.at(place).locked(),
    ):
        pass


@pytest.mark.parametrize("data", [b"", b'{"radius":', b"\xff", b"[" * 100_000])
def test_a_file_that_was_damaged_is_named(tmp_path, data):
    """Of a result and of the settings, with the remedy; not an error of the JSON parser."""
    folder = RunFolder.at(tmp_path)
    folder.configure({"radius": "1/255"})
    for name in ("result.json", "run.json"):
        folder.files.write(name, data)
        with pytest.raises(RunFolderError, match=rf"{name} was damaged .* from a copy"):
            folder.read_json(name)
    with pytest.raises(RunFolderError, match=r"run\.json was damaged"):
        folder.configure({"radius": "1/255"})
    with pytest.raises(RunFolderError, match=r"run\.json was damaged"):
        _ = folder.configuration


def hold(path, ready, done):
    with RunFolder.at(path).locked():
        ready.set()
        done.wait(30)


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    """The second one says so and goes."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "out", ready, done))
    other.start()
    assert ready.wait(30)
    with (
        pytest.raises(RunFolderError, match="another process"),
        RunFolder.at(tmp_path / "out").locked(),
    ):
        pass
    done.set()
    other.join(30)
    with RunFolder.at(tmp_path / "out").locked():
        pass


def test_a_result_in_memory_can_be_written_down(tmp_path):
    """Files, bugs and rounds are all there afterwards."""
    memory = RunFolder.in_memory()
    memory.configure({"a": 1})
    memory.files.write("c/d", b"x")
    bug = Bug(0, BugKind.COUNTEREXAMPLE, "i", (0,), (1,), -1.0, Category.UNLEARNED,
              (BugEvent(0, BugState.OPEN, "m"),))  # fmt: skip
    memory.bugs.save([bug], 2)
    target = RunFolder.at(tmp_path / "out")
    memory.copy_to(target)
    again = RunFolder.open(tmp_path / "out")
    assert again.files.read("c/d") == b"x"
    assert again.bugs.bugs() == [bug]
    assert again.bugs.last_round() == 2
    with pytest.raises(RunFolderError, match="not empty"):
        memory.copy_to(again)


def test_events_are_added_and_kept_in_order():
    """One JSON line each, with the time."""
    folder = RunFolder.in_memory()
    folder.events.add("first", number=1)
    folder.events.add("second")
    kinds = [event["event"] for event in folder.events.chain().events]
    assert kinds == ["begun", "first", "second"]
    lines = folder.files.require("events.jsonl").splitlines()
    assert all("time" in json.loads(line) for line in lines)
