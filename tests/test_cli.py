"""The command line, run as a stranger would: in processes of its own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.runs import trained
from typer.main import get_command

import asi_verify as asi
from asi_verify.cli import app, main
from asi_verify.data import phantom
from asi_verify.prove import Intervals

QUICK = ["--epochs", "3", "--rounds", "1"]


def run(*arguments, **options):
    """The command in a process; standard output and error, and the exit code."""
    return subprocess.run(
        [sys.executable, "-m", "asi_verify.cli", *map(str, arguments)],
        check=False, capture_output=True, text=True, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small NPZ data set, a model of it, and a run folder."""
    place = tmp_path_factory.mktemp("cli")
    data, _ = phantom(9, samples=(30, 6, 6), duplicates=0, across=0, dual_labels=0, near=())
    arrays = {}
    for name, samples in data.splits.items():
        arrays[f"{name}_images"] = samples.images[:, 0]
        arrays[f"{name}_labels"] = samples.labels[:, None]
    np.savez(place / "data.npz", **arrays)
    model = asi.certify(trained(data), data, stages=[Intervals()]).artifact
    (place / "model.onnx").write_bytes(model)
    return place


def test_certify_writes_a_folder_and_prints_what_it_found(folder):
    """Exit code 0 if all is certified, 1 if something is open; the report lies in the folder."""
    done = run("certify", folder / "model.onnx", folder / "data.npz", "--radius", 0,
               "--out", folder / "zero")  # fmt: skip
    errors = json.loads(run("errors", folder / "model.onnx", folder / "data.npz", "--json").stdout)
    assert done.returncode == (1 if errors["errors"] else 0), done.stderr
    assert (folder / "zero" / "report.html").is_file()
    assert "status: " in done.stdout
    done = run("certify", folder / "model.onnx", folder / "data.npz", "--radius", "1/255",
               "--out", folder / "one", "--json")  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"].startswith("open(")


def test_a_run_that_proves_nothing_is_not_a_success(folder):
    """At a radius at which every sample contradicts another, nothing is open and nothing holds."""
    out = folder / "wide"
    done = run("certify", folder / "model.onnx", folder / "data.npz", "--radius", "60/255",
               "--out", out, "--json")  # fmt: skip
    assert json.loads(done.stdout)["status"] == "zero_except(30)"
    assert done.returncode == 1
    assert run("check", out).returncode == 1


def test_correct_and_check_and_report(folder):
    """The loop from a file, its check, and its report without pictures."""
    out = folder / "corrected"
    done = run("correct", folder / "model.onnx", folder / "data.npz", *QUICK, "--out", out)
    assert done.returncode in (0, 1), done.stderr
    assert "misclassified" in done.stderr
    assert re.search(r"accuracy on train: [\d.]+% before, [\d.]+% after\n", done.stdout)
    checked = run("check", out, "--json")
    assert checked.returncode == done.returncode
    found = json.loads(checked.stdout)
    assert not found["rejected"]
    assert found["status"] in done.stdout
    checked = run("check", out, "--dataset", folder / "data.npz")
    assert checked.returncode == done.returncode
    assert (
        "claimed: L-infinity, radius 1/255 of the pixel range, float32 semantics, about the label"
        in checked.stdout
    )
    done = run("report", out, "--no-images")
    assert done.returncode == 0
    assert "data:image" not in (out / "report.html").read_text()
    assert run("report", out).returncode == 0
    assert run("report", out, "--dataset", folder / "data.npz").returncode == 0


def test_check_says_what_is_wrong(folder, tmp_path):
    """A model that was swapped, an image that was changed: exit code 1 and the reason."""
    out = tmp_path / "out"
    run("certify", folder / "model.onnx", folder / "data.npz", "--radius", 0, "--out", out)
    other = dict(np.load(folder / "data.npz"))
    other["train_images"] = other["train_images"].copy()
    other["train_images"][0, 0, 0] ^= 1
    np.savez(tmp_path / "other.npz", **other)
    done = run("check", out, "--dataset", tmp_path / "other.npz")
    assert done.returncode == 1
    assert "another data set" in done.stdout
    artifact = out / "certificates" / "artifact.onnx"
    artifact.write_bytes(artifact.read_bytes() + b"\x00")
    done = run("check", out)
    assert done.returncode == 1
    assert "another model" in done.stdout


def test_errors_lists_what_is_wrong(folder):
    """In a table or as JSON; exit code 1 if there is any."""
    as_json = run("errors", folder / "model.onnx", folder / "data.npz", "--json")
    found = json.loads(as_json.stdout)
    assert found["samples"] == 30
    assert as_json.returncode == (1 if found["errors"] else 0)
    table = run("errors", folder / "model.onnx", folder / "data.npz", "--split", "test")
    assert "misclassified" in table.stdout


def test_a_data_set_is_audited(folder):
    """Exit code 1 for contradictions, 0 without; the file is what --json prints and a run takes."""
    ready = folder / "ready.json"
    done = run("datasets", "audit", folder / "data.npz", "--radius", "1/255", "--out", ready)
    assert done.returncode == 0, done.stderr
    made = asi.Readiness.from_bytes(ready.read_bytes())
    assert f"digest: {made.digest}" in done.stdout
    assert "not asked" in done.stdout
    again = run("datasets", "audit", folder / "data.npz", "--json")
    assert json.loads(again.stdout) == made.to_json()
    done = run("certify", folder / "model.onnx", folder / "data.npz", "--radius", 0,
               "--readiness", ready, "--out", folder / "named")  # fmt: skip
    assert made.digest in (folder / "named" / "report.html").read_text("utf-8"), done.stderr
    assert run("datasets", "audit", "phantom").returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        ["datasets", "audit", "nonsense"],
        ["datasets", "audit", "phantom", "--radius", "much"],
        ["datasets", "audit", "phantom", "--out", "not/there.json"],
        ["datasets", "--json", "audit", "phantom"],
    ],
)
def test_an_audit_refuses_wrong_use(words, capsys):
    """One line, exit code 2."""
    assert main(words) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ")


def test_lists_of_data_sets_and_models():
    """What is known by name."""
    found = json.loads(run("datasets", "--json").stdout)["datasets"]
    assert len(found) == 18
    assert "retinamnist" in run("datasets").stdout
    assert "small-cnn" in json.loads(run("models", "--json").stdout)["models"]
    assert json.loads(run("models", "--json").stdout)["options"]["resnet18"] == {"width": 64}
    shown = run("models").stdout
    assert "small-cnn" in shown
    assert "(width=64)" in shown


def test_the_doctor_tries_everything():
    """On a machine where these tests run, nothing that is needed is missing."""
    done = run("doctor", "--json")
    findings = {f["name"]: f for f in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0
    for name in ("trusted pass", "auto_LiRPA", "z3", "torch"):
        assert findings[name]["works"], findings[name]
    assert "ok   trusted pass" in run("doctor").stdout


WRONG = [
    ["run", "phantom", "--radius=-1/255"],
    ["run", "phantom", "--radius", "7"],
    ["run", "phantom", "--radius", "much"],
    ["run", "brestmnist"],
    ["run", "phantom", "--architecture", "big"],
    ["run", "phantom", "--architecture", "resnet18", "--option", "width"],
    ["run", "phantom", "--architecture", "resnet18", "--option", "depth=4"],
    ["run", "phantom", "--architecture", "cnn3d"],
    ["run", "phantom", "--seed", "-1"],
    ["run"],
    ["certify", "nowhere.onnx", "phantom"],
    ["certify", __file__, "phantom"],
    ["certify", "{model}", "{data}", "--split", "all"],
    ["certify", "{model}", "{data}", "--target", "truth"],
    ["certify", "{model}", "{data}", "--mean", "a,b"],
    ["certify", "{model}", "{data}", "--layout", "HWC"],
    ["certify", "{model}", "{data}", "--out", "{model}/out"],
    ["vnnlib", "--batch", "{list}", "--results", "{model}/results.csv"],
    ["run", "phantom", "--option", "hidden=8", "--option", "hidden=16"],
    ["check", "nowhere"],
    ["report", "nowhere"],
    ["sign", "nowhere", "--key", "key.pem"],
    ["sign", "{model}"],
    ["verify", "nowhere"],
    ["nothing"],
    ["run", "breastmnist", "--data-root", "{empty}"],
    ["run", "{data}", "--batch-size", "0"],
    ["run", "{data}", "--learning-rate", "nan"],
    ["correct", "{model}", "{data}", "--learning-rate", "0"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=lambda a: " ".join(a)[:40])
def test_wrong_use_is_one_line_and_exit_code_2(arguments, folder, tmp_path, monkeypatch, capsys):
    """No traceback, nothing written."""
    for name in ("ASI_VERIFY_SHARED", "ASI_VERIFY_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("asi_verify.data.medmnist._URL", "http://127.0.0.1:9/{file}")
    places = {"model": folder / "model.onnx", "data": folder / "data.npz", "empty": tmp_path / "e"}
    places["list"] = tmp_path / "list.csv"
    places["list"].write_text("a.onnx,b.vnnlib,5\n")
    assert main([part.format(**places) if "{" in part else part for part in arguments]) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 or "Usage:" in printed.err
    assert not (tmp_path / "out" / "run.json").exists()


STRANGE = [
    (["certify", "nowhere.onnx", "{data}"], "nowhere.onnx: there is no such file; give an"),
    (["certify", "empty", "{data}"], "empty: a folder; give an ONNX file"),
    (["certify", "text.onnx", "{data}"], "text.onnx: not an ONNX file, or a truncated one; export"),
    (["errors", "text.onnx", "{data}"], "text.onnx: not an ONNX file"),
    (["query", "text.onnx", "{data}", "0"], "text.onnx: not an ONNX file"),
    (["certify", "{model}", "images.npz"], "images.npz: not an NPZ file in MedMNIST's layout"),
    (["certify", "{model}", "text.npz"], "and train_labels: it is of another kind"),
    (["certify", "{model}", "other.npz"], "other.npz: no train_images, val_images or test"),
    (["certify", "{model}", "short.npz"], "short.npz: 30 images, but 5 labels"),
    (["certify", "{model}", "broken"], "broken/a/x.png: not a readable image: "),
    (["certify", "{model}", "brestmnist"], "'brestmnist' is neither a data set's name nor"),
    (["certify", "{model}", ""], "'' is neither a data set's name nor a folder"),
    (["certify", "{model}", "{data}", "--radius", "abc"], "radius: 'abc' is not a number; write"),
    (["certify", "{model}", "{data}", "--radius=-1/255"], "radius: '-1/255' is negative; write it"),
    (["certify", "{model}", "{data}", "--split", "x"], "no split 'x'; it has train, val, test"),
    (["certify", "{model}", "{data}", "--out", "text.onnx"], "text.onnx is a file; give a folder"),
    (["certify", "{model}", "{data}", "--out", "broken"], "broken holds other things (a, ...)"),
    (["certify", "{model}", "{data}", "--out", "/proc/a/out"], "/proc/a/out: "),
    (["certify", "{model}", "{data}", "--readiness", "text.onnx"], "give the file that audit"),
    (["vnnlib", "{model}", "open.vnnlib"], "open.vnnlib: line 2: the file ends inside 3 open pare"),
    (["vnnlib", "{model}", "word.vnnlib"], "word.vnnlib: line 3: 'banana' is neither a"),
    (["vnnlib", "{model}", "empty"], "empty: a folder; give a file"),
    (["vnnlib", "{model}", "word.vnnlib", "--out", "broken"], "broken: there are other things"),
    (["check", "empty"], "empty: neither a run nor certificates lie here"),
    (["check", "nowhere"], "nowhere: there is no such folder; give a run's"),
    (["check", "text.onnx"], "text.onnx: not a folder; give a run's"),
    (["report", "empty"], "empty: no run.json; this is not the folder of a run; give the one that"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "says"), STRANGE, ids=lambda a: " ".join(a)[:40])
def test_what_a_stranger_tries_is_refused_with_value_and_remedy(
    arguments, says, folder, tmp_path, monkeypatch, capsys
):
    """One line and exit code 2; the place is left as it was."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("broken", "a").mkdir(parents=True)
    Path("broken", "b").mkdir()
    whole = io.BytesIO()
    Image.effect_noise((28, 28), 9).save(whole, "png")
    Path("broken", "a", "x.png").write_bytes(whole.getvalue()[:200])
    for name in ("text.onnx", "text.npz"):
        Path(name).write_text("hello")
    Path("open.vnnlib").write_text("(declare-const X_0 Real)\n(assert (<= X_0 (+ 1 2\n")
    Path("word.vnnlib").write_text(
        "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(assert (<= X_0 banana))\n"
    )
    arrays = dict(np.load(folder / "data.npz"))
    np.savez("images.npz", **{k: v for k, v in arrays.items() if k.endswith("images")})
    np.savez("short.npz", **arrays | {"train_labels": arrays["train_labels"][:5]})
    np.savez("other.npz", weights=np.zeros(3))
    before = sorted(Path().rglob("*"))
    places = {"model": folder / "model.onnx", "data": folder / "data.npz"}
    assert main([part.format(**places) for part in arguments]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert says in shown
    assert sorted(Path().rglob("*")) == before


def test_a_soundness_alarm_ends_with_exit_code_1(monkeypatch, capsys):
    """And is not mistaken for wrong use."""
    from asi_verify import _run
    from asi_verify.errors import SoundnessAlarm

    def alarm(*_, **__):
        raise SoundnessAlarm("two components disagree")

    monkeypatch.setattr(_run, "run", alarm)
    assert main(["run", "phantom"]) == 1
    assert "SOUNDNESS ALARM: two components disagree" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(monkeypatch, capsys):
    """Control-C is not an error."""
    from asi_verify import _run

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(_run, "run", interrupted)
    assert main(["run", "phantom"]) == 130
    assert "goes on" in capsys.readouterr().err


def test_every_command_has_help():
    """With a sentence about what it does."""
    for command in app.registered_commands:
        done = run(command.callback.__name__, "--help")
        assert done.returncode == 0
        assert command.callback.__doc__.split(".")[0][:30] in " ".join(done.stdout.split())


def test_a_command_stands_in_the_file_of_its_name():
    """Whoever looks for one finds it; a command below another stands in that one's file."""
    top = get_command(app).commands
    for name, command in top.items():
        for made in (command, *getattr(command, "commands", {}).values()):
            assert made.callback.__module__ == f"asi_verify.cli.{name}"


DRIVER = """
import sys
from asi_verify.repair import checkpoints
checkpoints._SECONDS_BETWEEN = 0.0
from asi_verify.cli import main
sys.exit(main(sys.argv[1:]))
"""


def small_run(data, out, wait=None):
    """A run on a small set, killed after a while if asked for; whether it came to its end."""
    command = [sys.executable, "-c", DRIVER, "run", str(data), "--epochs", "25", "--rounds", "2",
               "--radius", "2/255", "--out", str(out)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _, errors = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return False
        assert process.returncode in (0, 1), errors.decode()
        return True


def digests(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(Path(out).glob("certificates/*"))
    }


def test_a_run_that_is_killed_goes_on_to_the_same_digests(folder, tmp_path):
    """Killed again and again at growing times, it ends with the bytes of a run left in peace."""
    data = folder / "data.npz"
    start = time.monotonic()
    assert small_run(data, tmp_path / "whole")
    whole = time.monotonic() - start
    kills = 0
    for share in np.linspace(0.35, 0.95, 5):
        if small_run(data, tmp_path / "killed", wait=share * whole):
            break
        kills += 1
    else:
        assert small_run(data, tmp_path / "killed")
    assert kills >= 2
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    names = ("round.json", "examination.json")
    for name in names:
        for number in ("01", "02"):
            one, two = (
                json.loads(path.read_bytes()) if path.exists() else None
                for path in (tmp_path / w / "rounds" / number / name for w in ("whole", "killed"))
            )
            for value in (one, two):
                for stage in (value or {}).get("stages", []):
                    stage.pop("seconds")
            assert one == two
    bugs = [asi.load(tmp_path / which).bugs for which in ("whole", "killed")]
    assert bugs[0] == bugs[1]
    predicates = []
    for which in ("whole", "killed"):
        verified = asi.verify(tmp_path / which)
        assert verified.holds, verified.refused
        predicates.append(verified.statement["predicate"])
    assert predicates[0] == predicates[1]


def test_two_runs_in_one_folder_do_not_mix(tmp_path):
    """The second one is told to wait."""
    from asi_verify.store import RunFolder

    with RunFolder.at(tmp_path / "out").locked():
        done = run("run", "phantom", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "another process" in done.stderr


def test_the_environment_is_left_alone():
    """Running the command in this process changes no variables."""
    before = dict(os.environ)
    main(["models"])
    assert dict(os.environ) == before
