"""The chain of the event log: what was changed shows, and a run that was killed goes on in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asi_verify.core.canonical import bytes_digest
from asi_verify.errors import RunFolderError
from asi_verify.store import EVENTS_FILE, EventLog, MemoryFiles, RunFolder, read_chain


def log_of(count=5, configuration=None):
    """A configured folder in memory with some events after the first line."""
    folder = RunFolder.in_memory()
    folder.configure({"radius": "1/255"} if configuration is None else configuration)
    for number in range(count):
        folder.events.add("round", number=number)
    return folder


DATA = log_of().files.require(EVENTS_FILE)
LINES = DATA.splitlines(keepends=True)


def refused(data):
    """The number of the line that is refused first."""
    with pytest.raises(RunFolderError, match=r"events\.jsonl, line \d+: ") as found:
        read_chain(data)
    return int(str(found.value).split("line ")[1].split(":")[0])


def test_every_line_names_the_line_before():
    """By the SHA-256 of its bytes; the head is that of the last line."""
    chain = read_chain(DATA)
    digests = [bytes_digest(line.rstrip(b"\n")) for line in LINES]
    assert [event["previous"] for event in chain.events] == [None, *digests[:-1]]
    assert chain.head == digests[-1]
    assert all("time" in event for event in chain.events)


def test_the_first_line_commits_to_the_settings():
    """It holds the digest of run.json; other settings make another head."""
    folder = log_of()
    settings_digest = bytes_digest(folder.files.require("run.json"))
    assert folder.events.chain().settings == settings_digest
    assert log_of(configuration={"radius": "2/255"}).events.chain().settings != settings_digest


@pytest.mark.parametrize("number", range(len(LINES) - 1))
def test_a_line_that_was_taken_out_shows(number):
    """At the line that stood behind it; the first line too."""
    assert refused(b"".join(LINES[:number] + LINES[number + 1 :])) == number + 1


@given(order=st.permutations(range(len(LINES))))
def test_lines_that_were_moved_show(order):
    """At the first one that is out of place."""
    if order == sorted(order):
        assert read_chain(DATA).events
        return
    first = next(i for i, number in enumerate(order) if i != number)
    assert refused(b"".join(LINES[number] for number in order)) == first + 1


@settings(max_examples=300)
@given(place=st.integers(0, len(DATA) - len(LINES[-1]) - 1), byte=st.integers(0, 255))
def test_a_byte_that_was_changed_shows(place, byte):
    """Anywhere before the last line: at its line, or at the next, which names another one."""
    if DATA[place] == byte:
        return
    changed = DATA[:place] + bytes([byte]) + DATA[place + 1 :]
    line = DATA.count(b"\n", 0, place) + 1
    assert refused(changed) in (line, line + 1)


@given(place=st.integers(len(DATA) - len(LINES[-1]), len(DATA) - 1), byte=st.integers(0, 255))
def test_a_change_of_the_last_line_changes_the_head(place, byte):
    """No line follows that could name it: the head is what a statement names."""
    changed = DATA[:place] + bytes([byte]) + DATA[place + 1 :]
    try:
        same = read_chain(changed).head == read_chain(DATA).head
    except RunFolderError:
        return
    assert same == (changed == DATA)


@pytest.mark.parametrize("number", range(1, len(LINES)))
def test_lines_that_were_cut_off_change_head_and_number(number):
    """What is left is a chain that fits: only head and number, which a statement names, show it."""
    cut, whole = read_chain(b"".join(LINES[:number])), read_chain(DATA)
    assert cut.head != whole.head
    assert len(cut.events) < len(whole.events)


def test_a_line_that_was_put_in_shows():
    """Whether it fits the line before or not: what follows does not fit it."""
    other = EventLog(files := MemoryFiles())
    files.write(EVENTS_FILE, b"".join(LINES[:3]))
    other.add("round", number=9)
    added = files.require(EVENTS_FILE).splitlines(keepends=True)[-1]
    assert refused(b"".join([*LINES[:3], added, *LINES[3:]])) == 5
    assert refused(b"".join([*LINES[:3], LINES[2], *LINES[3:]])) == 4


HOSTILE = {
    "nothing": b"",
    "an incomplete line": LINES[0] + LINES[1][:-1],
    "an empty line": LINES[0] + b"\n",
    "another order of keys": b'{"time":"","details":{},"event":"begun","previous":null}\n',
    "another field": LINES[0].replace(b'{"details"', b'{"also":1,"details"'),
    "a key twice": LINES[0].replace(b'"event":"begun"', b'"event":"begun","event":"begun"'),
    "too deep": b'{"details":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "too long": b'{"details":{"a":"' + b"a" * (1 << 21) + b'"}}\n',
    "another beginning": LINES[0].replace(b"begun", b"begin"),
    "another format": LINES[0].replace(b"events/1", b"events/2"),
    "settings that are no digest": LINES[0].replace(b'"settings":"', b'"settings":"x'),
    "not text": b"\xff\xfe\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_log_is_refused(name):
    """With the line; nothing else is raised."""
    assert refused(HOSTILE[name]) in (1, 2)


def test_a_log_in_another_folders_place_is_noticed():
    """A run does not go on with the log of other settings, a changed one, or none."""
    folder = log_of()
    configuration = folder.configuration
    folder.configure(configuration)
    whole = folder.files.require(EVENTS_FILE)
    folder.files.write(EVENTS_FILE, b"".join([LINES[0], *LINES[2:]]))
    with pytest.raises(RunFolderError, match=r"line 2: .*give another folder"):
        folder.configure(configuration)
    folder.files.remove(EVENTS_FILE)
    with pytest.raises(RunFolderError, match=r"events\.jsonl is missing"):
        folder.configure(configuration)
    other = log_of(configuration={"radius": "1/255", "seed": 1})
    folder.files.write(EVENTS_FILE, other.files.require(EVENTS_FILE))
    with pytest.raises(RunFolderError, match="was begun for the settings"):
        folder.configure(configuration)
    folder.files.write(EVENTS_FILE, whole)
    folder.configure(configuration)


def test_settings_that_were_changed_are_noticed():
    """Also where the change is in nothing that a run compares: the bytes are another's."""
    folder = log_of()
    folder.files.write("run.json", b'{"radius":"1/255"}')
    with pytest.raises(RunFolderError, match="one of the two was changed"):
        folder.configure({"radius": "1/255"})


@pytest.mark.parametrize("left", [1, 7, len(LINES[3]) - 1])
def test_a_torn_last_line_is_cut_and_said(left):
    """What was torn off is named in the log; every whole line stays."""
    folder = log_of(2)
    whole = folder.files.require(EVENTS_FILE)
    torn = LINES[3][:left]
    folder.files.write(EVENTS_FILE, whole + torn)
    folder.configure(folder.configuration)
    folder.events.add("round", number=2)
    assert folder.files.require(EVENTS_FILE).startswith(whole)
    *_, said, added = folder.events.chain().events
    assert said["event"] == "recovered"
    assert said["details"] == {"bytes": left, "sha256": bytes_digest(torn)}
    assert added["details"] == {"number": 2}


def test_recovery_repairs_nothing_else():
    """A line that does not fit is refused, torn line behind it or not, and nothing is written."""
    folder = log_of(3)
    lines = folder.files.require(EVENTS_FILE).splitlines(keepends=True)
    spoiled = b"".join([lines[0], *lines[2:]]) + b"torn"
    folder.files.write(EVENTS_FILE, spoiled)
    with pytest.raises(RunFolderError, match="line 2"):
        folder.events.add("round", number=4)
    folder.files.write(EVENTS_FILE, lines[0][:-1])
    with pytest.raises(RunFolderError, match="empty"):
        folder.events.add("round", number=4)
    assert folder.files.require(EVENTS_FILE) == lines[0][:-1]


def test_a_log_that_nobody_began_is_about_no_settings():
    """So it passes for no run's."""
    log = EventLog(MemoryFiles())
    log.add("round", number=1)
    assert log.chain().settings is None
    with pytest.raises(RunFolderError, match="None"):
        log.refuse_other("0" * 64)


def test_what_has_no_canonical_form_is_no_event():
    """A float in the details is a mistake of ours, and the log stays as it was."""
    folder = log_of(1)
    before = folder.files.require(EVENTS_FILE)
    with pytest.raises(TypeError):
        folder.events.add("round", loss=0.5)
    assert folder.files.require(EVENTS_FILE) == before


def test_a_run_that_was_killed_before_its_settings_begins_anew(tmp_path):
    """The first line, an unfinished file and a bug log are all that can be there."""
    folder = RunFolder.at(tmp_path / "out")
    folder.events.begin("0" * 64)
    (tmp_path / "out" / ".part-left").write_bytes(b"half")
    again = RunFolder.at(tmp_path / "out")
    again.configure({"seed": 0})
    assert again.events.chain().settings == bytes_digest(again.files.require("run.json"))
    assert len(again.events.chain().events) == 1


WRITER = """
import sys
from asi_verify.store import RunFolder
folder = RunFolder.at(sys.argv[1])
folder.configure({"seed": 0})
number = 0
while True:
    folder.events.add("round", number=number)
    print(number, flush=True)
    number += 1
"""


def test_a_process_that_is_killed_leaves_a_chain_that_goes_on(tmp_path):
    """Killed thrice in the middle of writing: every event that was reported is there, in order."""
    out = tmp_path / "out"
    reported = []
    for kills in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, text=True
        ) as process:
            seen = [process.stdout.readline() for _ in range(4 + kills)]
            process.send_signal(signal.SIGKILL)
            seen += process.stdout.readlines()
        reported.append(len([line for line in seen if line.endswith("\n")]))
    folder = RunFolder.open(out)
    folder.configure({"seed": 0})
    folder.events.add("end")
    numbers = [e["details"].get("number") for e in folder.events.chain().events[1:-1]]
    starts = [i for i, number in enumerate(numbers) if number == 0]
    written = [b - a for a, b in zip(starts, [*starts[1:], len(numbers)], strict=True)]
    assert len(written) == 3
    assert all(w in (r, r + 1) for w, r in zip(written, reported, strict=True))
    assert json.loads(out.joinpath(EVENTS_FILE).read_bytes().splitlines()[-1])["event"] == "end"
