"""``asi-verify sign`` and ``asi-verify verify``, in processes of their own."""

from __future__ import annotations

import json
import stat
import subprocess
import sys

from asi_verify.attest import ENVELOPE_FILE, STATEMENT_FILE
from asi_verify.store import EVENTS_FILE


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "asi_verify.cli", *map(str, arguments)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip


def test_a_folder_is_signed_with_a_new_key_and_verified_with_it(run, tmp_path):
    """What was verified, what was not, and what is stated are printed; exit code 0."""
    done = command("verify", run)
    assert done.returncode == 0, done.stderr
    assert "NOT verified: who states it: the statement is unsigned" in done.stdout
    assert "signature: unsigned" in done.stdout
    done = command("sign", run, "--new-key", tmp_path / "key.pem")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    done = command("verify", run)
    assert done.returncode == 0
    assert "signature: not verified" in done.stdout
    done = command("verify", run, "--key", tmp_path / "key.public.pem")
    assert done.returncode == 0
    assert "verified: the event log" in done.stdout
    assert "signature: verified" in done.stdout
    assert "NOT verified: the bounds: 'asi-verify check'" in done.stdout
    assert "stated, not derived here: status open(" in done.stdout
    done = command("verify", run, "--key", tmp_path / "key.public.pem", "--json")
    found = json.loads(done.stdout)
    assert found["holds"]
    assert found["signature"] == "verified"
    assert found["statement"] == json.loads((run / STATEMENT_FILE).read_bytes())


def test_what_does_not_hold_is_exit_code_1_with_the_reason(signed, finished):
    """For a wrong key, a changed log, and where a changed folder is to be signed."""
    done = command("verify", signed, "--key", finished / "other.public.pem")
    assert done.returncode == 1
    assert "refused: statement.dsse.json: none of its signatures" in done.stdout
    data = (signed / EVENTS_FILE).read_bytes()
    (signed / EVENTS_FILE).write_bytes(data.replace(b"examined", b"[red]ned"))
    done = command("verify", signed, "--key", finished / "ours.public.pem")
    assert done.returncode == 1
    assert "refused: events.jsonl, line 3: " in done.stdout
    assert "this does not hold" in done.stdout
    before = (signed / ENVELOPE_FILE).read_bytes()
    done = command("sign", signed, "--key", finished / "other.pem")
    assert done.returncode == 1
    assert "nothing was signed" in done.stdout
    assert (signed / ENVELOPE_FILE).read_bytes() == before


def test_wrong_use_is_one_line_and_exit_code_2(run, finished, tmp_path):
    """A key that is none, a folder that is none, two keys or no key."""
    for arguments in (
        ["verify", run, "--key", finished / "ours.pem"],
        ["verify", run, "--key", tmp_path / "nowhere.pem"],
        ["verify", tmp_path],
        ["sign", run],
        ["sign", run, "--key", finished / "ours.pem", "--new-key", tmp_path / "key.pem"],
        ["sign", run, "--key", finished / "ours.public.pem"],
        ["sign", run, "--new-key", finished / "ours.pem"],
        ["sign", tmp_path, "--new-key", tmp_path / "key.pem"],
    ):
        done = command(*arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ")
    assert not (run / ENVELOPE_FILE).exists()
    assert not (tmp_path / "key.pem").exists()
