"""The bug log: one test-suite for both, stateful; and the file of the one that has one."""

from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asi_verify.core.bug import Bug, BugEvent, BugKind, BugState, Category
from asi_verify.errors import RunFolderError
from asi_verify.store import MemoryBugLog, SqliteBugLog

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
events = st.builds(
    BugEvent, st.integers(0, 9), st.sampled_from(BugState), text, st.none() | text, text
)
bugs = st.builds(
    Bug,
    st.integers(0, 4),
    st.sampled_from(BugKind),
    text,
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
    st.floats(allow_nan=False),
    st.sampled_from(Category),
    st.lists(events, min_size=1, max_size=3).map(tuple),
)


class BugLogs(RuleBasedStateMachine):
    """Both logs, given the same, hold the same at every moment, also after being opened again."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.memory, self.file = MemoryBugLog(), SqliteBugLog(self.folder / "bugs.sqlite")

    @rule(some=st.lists(bugs, max_size=4), round_=st.integers(0, 9))
    def save(self, some, round_):
        self.memory.save(some, round_)
        self.file.save(some, round_)

    @rule()
    def open_again(self):
        self.file.close()
        self.file = SqliteBugLog(self.folder / "bugs.sqlite")

    @rule(some=st.lists(bugs, min_size=1, max_size=3))
    def fail_in_the_middle(self, some):
        """A save that is cut off changes nothing."""

        def cut_off():
            yield from some
            raise KeyboardInterrupt

        for log in (self.memory, self.file):
            with pytest.raises(KeyboardInterrupt):
                log.save(cut_off(), 9)

    @invariant()
    def they_agree(self):
        if hasattr(self, "file"):
            assert self.file.bugs() == self.memory.bugs()
            assert self.file.last_round() == self.memory.last_round()

    def teardown(self):
        self.file.close()
        shutil.rmtree(self.folder)


TestBugLogs = BugLogs.TestCase
TestBugLogs.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)

BUG = Bug(3, BugKind.MISCLASSIFIED, "d", (1,), (0,), math.nan, Category.UNLEARNED,
          (BugEvent(0, BugState.OPEN, "a"),))  # fmt: skip


def test_a_margin_that_is_no_number_stays_one(tmp_path):
    """A NaN logit is a bug worth keeping as it was."""
    log = SqliteBugLog(tmp_path / "bugs.sqlite")
    log.save([BUG], 0)
    assert math.isnan(log.bugs()[0].margin)
    log.close()


def test_other_programs_can_read_the_file(tmp_path):
    """One SQLite file with plain tables."""
    log = SqliteBugLog(tmp_path / "bugs.sqlite")
    log.save([BUG.with_event(BugEvent(1, BugState.CERTIFIED, "b", "c"))], 1)
    log.close()
    with sqlite3.connect(tmp_path / "bugs.sqlite") as connection:
        assert connection.execute("select row, state from bugs").fetchall() == [(3, "certified")]
        rows = connection.execute("select round, state, certificate from events").fetchall()
    connection.close()
    assert rows == [(0, "open", None), (1, "certified", "c")]


def test_a_file_that_is_no_log_or_a_newer_one_is_refused(tmp_path):
    """Neither is overwritten."""
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(RunFolderError, match="not a bug log"):
        SqliteBugLog(tmp_path / "text")
    log = SqliteBugLog(tmp_path / "new")
    log.close()
    with sqlite3.connect(tmp_path / "new") as connection:
        connection.execute("update meta set value = '99' where key = 'schema'")
    connection.close()
    with pytest.raises(RunFolderError, match="version 99"):
        SqliteBugLog(tmp_path / "new")
