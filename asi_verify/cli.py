"""The command ``asi-verify``: parses, calls public functions, prints, chooses the exit code.

Exit codes: 0 everything is certified; 1 something is refuted, undecided or open; 2 wrong use, with
one clear line and no traceback.
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from asi_verify.errors import AsiVerifyError, SoundnessAlarm, UsageError

if TYPE_CHECKING:
    from asi_verify.checker import CheckResult

__all__ = ["app", "main"]

_OPEN = 1
_WRONG_USE = 2
_INTERRUPTED = 130

app = typer.Typer(
    name="asi-verify",
    help="Correct a classifier until every logged mistake is proved unable to come back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

DatasetArgument = Annotated[
    str,
    typer.Argument(
        help="A MedMNIST name (breastmnist, breastmnist_64), 'phantom', a folder of images by "
        "class, or an NPZ file in MedMNIST's layout.",
        show_default=False,
    ),
]
RunFolderArgument = Annotated[Path, typer.Argument(help="The folder of a finished run.")]
NamedDatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="The data set, if the folder does not name it.")
]
ModelArgument = Annotated[Path, typer.Argument(help="An ONNX file.", show_default=False)]
RadiusOption = Annotated[
    str, typer.Option(help='Radius of the regions: "1/255", "2 grey levels", 0.01 of [0, 1].')
]
RegionsOption = Annotated[
    str,
    typer.Option(
        "--radius",
        help='Radius of the regions: "1/255", "2 grey levels", 0.01 of [0, 1]; or how many pixels '
        'may take any other value of the data set: "1 pixel", "3 voxels"; or "l2 0.5", "l1 3": '
        'all changes count together, in that norm; or "patch 3": a window of so many pixels a side '
        'may take any values; or "brightness 10/255", "contrast 0.1", "bias 0.1 degree 2", or '
        "several of these: of the whole image.",
    ),
]
SemanticsOption = Annotated[
    str, typer.Option(help="'float32': a runtime's rounding is covered; or 'real'.")
]
TargetOption = Annotated[str, typer.Option(help="'label' or 'prediction'.")]
SeedOption = Annotated[int, typer.Option(help="Of everything random.", min=0)]
OutOption = Annotated[Path, typer.Option(help="The run folder; a run in it goes on.")]
DataRootOption = Annotated[
    Path | None, typer.Option(help="Where MedMNIST files are looked for first.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
NoImagesOption = Annotated[
    bool, typer.Option("--no-images", help="Leave the images out of the report.")
]
ReadinessOption = Annotated[
    Path | None,
    typer.Option(help="The data set's readiness certificate, of 'asi-verify datasets audit'."),
]
RoundsOption = Annotated[int, typer.Option(help="Correction rounds at most.", min=1)]
LastLayerOption = Annotated[
    int,
    typer.Option(
        help="With at most so many open after a round, try the last layer alone; 0: never.", min=0
    ),
]
BoundsOption = Annotated[
    str,
    typer.Option(help="What is trained on: 'intervals', or 'crown-ibp': tighter, and slower."),
]
NeverMissOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A class, by name or number, of which no image may be missed: certified in larger "
        "regions too. May be given several times."
    ),
]
NeverMissRadiusOption = Annotated[
    str | None,
    typer.Option(help="Radius of these larger regions; four times the radius if not given."),
]
MemoriseOption = Annotated[
    int,
    typer.Option(
        help="Of what is open in the end, memorise at most so many (1 % of the split): exceptions.",
        min=0,
    ),
]
EpochsOption = Annotated[int, typer.Option(help="Epochs of a round at most.", min=1)]
BatchSizeOption = Annotated[int, typer.Option(help="Images per training step.", min=1)]
RateOption = Annotated[float, typer.Option("--learning-rate", help="Of certified training.")]
ScaleOption = Annotated[
    float | None, typer.Option(help="The model's pixel range, if not [0, 1]: 255.")
]
MeanOption = Annotated[str | None, typer.Option(help="Means per channel, in the model's range.")]
StdOption = Annotated[str | None, typer.Option(help="Deviations per channel, likewise.")]
LayoutOption = Annotated[str | None, typer.Option(help="NCHW, NHWC or flat, if not NCHW.")]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


class _Shown:
    """Progress on the terminal, on standard error; lines only where that is not one."""

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=_err, transient=True, disable=not _err.is_terminal) as bars:
            bar = bars.add_task(description, total=total)
            yield lambda steps: bars.advance(bar, steps)

    def say(self, text: str) -> None:
        _err.print(text)


@app.command()
def run(
    context: typer.Context,
    dataset: DatasetArgument,
    radius: RadiusOption = "1/255",
    seed: SeedOption = 0,
    out: OutOption = Path("out"),
    architecture: Annotated[str, typer.Option(help="See 'asi-verify models'.")] = "small-cnn",
    option: Annotated[
        list[str] | None,
        typer.Option(help="Of the architecture: 'width=16'. May be given several times."),
    ] = None,
    semantics: SemanticsOption = "float32",
    rounds: RoundsOption = 3,
    last_layer: LastLayerOption = 10,
    memorise: MemoriseOption = 0,
    epochs: EpochsOption = 300,
    bounds: BoundsOption = "intervals",
    settings: Annotated[
        Path | None,
        typer.Option(
            help="A file that 'asi-verify search' wrote, in place of the options that "
            "shape the network and its training."
        ),
    ] = None,
    never_miss: NeverMissOption = None,
    never_miss_radius: NeverMissRadiusOption = None,
    batch_size: BatchSizeOption = 64,
    learning_rate: RateOption = 1e-3,
    readiness: ReadinessOption = None,
    data_root: DataRootOption = None,
    no_images: NoImagesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a reference network, then correct it until every error is proved away."""
    from asi_verify._run import run as run_
    from asi_verify.repair import Candidate, read_settings
    from asi_verify.zoo import architecture as architecture_named

    if settings is not None:
        _refuse_beside_settings(
            context, "architecture", "option", "epochs", "batch_size", "learning_rate", "bounds"
        )
        chosen = read_settings(settings)
    else:
        normed: bool = architecture_named(architecture).batch_norm
        corrector = _training(epochs, batch_size, learning_rate, bounds, normed)
        chosen = Candidate(architecture, _options(option or []), corrector)
    result = run_(
        dataset,
        radius,
        seed=seed,
        semantics=semantics,
        architecture=chosen.architecture,
        options=chosen.options,
        corrector=chosen.corrector,
        rounds=rounds,
        last_layer=last_layer,
        never_miss=never_miss,
        never_miss_radius=never_miss_radius,
        memorise=memorise,
        readiness=readiness,
        out=out,
        data_root=data_root,
        progress=_Shown(),
    )
    _finish(result, dataset, out, data_root, no_images, as_json)


def _refuse_beside_settings(context: typer.Context, *names: str) -> None:
    """What a file of settings says cannot be said twice."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                f"--settings: the file says it already; leave --{name.replace('_', '-')} out"
            )


@app.command()
def search(
    dataset: DatasetArgument,
    budget: Annotated[
        int,
        typer.Option(
            help="Epochs of certified training, of all candidates together.",
            min=1,
            show_default=False,
        ),
    ],
    radius: RadiusOption = "1/255",
    seed: SeedOption = 0,
    out: Annotated[
        Path, typer.Option(help="The folder of the search; a search in it goes on.")
    ] = Path("search"),
    candidates: Annotated[
        Path | None,
        typer.Option(help="A JSON file with an array of settings to try, not the usual ones."),
    ] = None,
    semantics: SemanticsOption = "float32",
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which network and which settings certify most within a budget of epochs."""
    from asi_verify._search import SETTINGS_FILE
    from asi_verify._search import search as search_
    from asi_verify.repair import read_candidates

    found = search_(
        dataset,
        radius,
        budget=budget,
        candidates=None if candidates is None else read_candidates(candidates),
        seed=seed,
        semantics=semantics,
        out=out,
        data_root=data_root,
        progress=_Shown(),
    )
    if as_json:
        _print_json(found.summary)
        return
    table = Table("candidate", "settings", "epochs", "certified", "right on validation")
    for number, trial in enumerate(found.summary["trials"]):
        last = trial["stages"][-1]
        right = "" if last["right"] is None else str(last["right"])
        best = f"{number} (best)" if number == found.summary["best"] else str(number)
        told = _differing(trial["settings"])
        table.add_row(best, told, str(last["epochs"]), str(last["certified"]), right)
    _out.print(table)
    _out.print(f"{found.summary['spent']} epochs; settings: {out / SETTINGS_FILE}", markup=False)


def _differing(settings: dict[str, Any]) -> str:
    """What is said of a candidate: its network, and what its correction does not leave alone."""
    from dataclasses import asdict

    from asi_verify.repair import CertifiedTraining

    usual = asdict(CertifiedTraining())
    own = {k: v for k, v in settings["corrector"].items() if v != usual[k]}
    parts = [settings["architecture"], *(f"{k}={v}" for k, v in settings["options"].items())]
    return " ".join([*parts, *(f"{k}={v:g}" for k, v in own.items())])


@app.command()
def correct(
    model: ModelArgument,
    dataset: DatasetArgument,
    radius: RadiusOption = "1/255",
    seed: SeedOption = 0,
    out: OutOption = Path("out"),
    semantics: SemanticsOption = "float32",
    rounds: RoundsOption = 3,
    last_layer: LastLayerOption = 10,
    memorise: MemoriseOption = 0,
    epochs: EpochsOption = 300,
    bounds: BoundsOption = "intervals",
    never_miss: NeverMissOption = None,
    never_miss_radius: NeverMissRadiusOption = None,
    batch_size: BatchSizeOption = 64,
    learning_rate: RateOption = 1e-3,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    readiness: ReadinessOption = None,
    data_root: DataRootOption = None,
    no_images: NoImagesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Correct a model of yours until every error on its training set is proved away."""
    from asi_verify._certify import correct as correct_

    result = correct_(
        model,
        dataset,
        radius,
        seed=seed,
        semantics=semantics,
        preprocess=_preprocess(scale, mean, std, layout),
        corrector=_training(epochs, batch_size, learning_rate, bounds),
        rounds=rounds,
        last_layer=last_layer,
        never_miss=never_miss,
        never_miss_radius=never_miss_radius,
        memorise=memorise,
        readiness=readiness,
        out=out,
        data_root=data_root,
        progress=_Shown(),
    )
    _finish(result, dataset, out, data_root, no_images, as_json)


@app.command()
def certify(
    model: ModelArgument,
    dataset: DatasetArgument,
    radius: RegionsOption = "1/255",
    split: Annotated[str, typer.Option(help="The samples to certify.")] = "train",
    target: TargetOption = "label",
    semantics: SemanticsOption = "float32",
    never_miss: NeverMissOption = None,
    never_miss_radius: NeverMissRadiusOption = None,
    out: OutOption = Path("out"),
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    readiness: ReadinessOption = None,
    data_root: DataRootOption = None,
    no_images: NoImagesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Errors, proofs and counterexamples of a model as it is."""
    from asi_verify._certify import certify as certify_

    result = certify_(
        model,
        dataset,
        radius,
        split=split,
        target=target,
        semantics=semantics,
        preprocess=_preprocess(scale, mean, std, layout),
        never_miss=never_miss,
        never_miss_radius=never_miss_radius,
        readiness=readiness,
        out=out,
        data_root=data_root,
        progress=_Shown(),
    )
    _finish(result, dataset, out, data_root, no_images, as_json)


@app.command()
def errors(
    model: ModelArgument,
    dataset: DatasetArgument,
    split: Annotated[str, typer.Option(help="The samples to run the model on.")] = "train",
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every sample that a model gets wrong, as ONNX Runtime runs it."""
    from asi_verify._errors import list_errors

    found = list_errors(
        model,
        dataset,
        split=split,
        preprocess=_preprocess(scale, mean, std, layout),
        data_root=data_root,
    )
    if as_json:
        _print_json(found)
    else:
        table = Table("row", "label", "answer", "margin", title=None)
        for error in found["errors"]:
            margin = "not a number" if error["margin"] is None else f"{error['margin']:.4f}"
            table.add_row(str(error["row"]), error["label"], error["prediction"], margin)
        if found["errors"]:
            _out.print(table)
        _out.print(
            f"{len(found['errors'])} of {found['samples']} misclassified "
            f"({found['accuracy']:.1%} right)"
        )
    raise typer.Exit(_OPEN if found["errors"] else 0)


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(help="A run folder, or one of certificates or of a VNN-LIB proof.")
    ],
    dataset: NamedDatasetOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every certificate from the files and the data set alone, or the proof of a query."""
    from asi_verify.checker import is_vnnlib_folder

    if is_vnnlib_folder(folder):
        _check_proof(folder, as_json)
    from asi_verify._certify import check as check_
    from asi_verify.checker.command import summary

    result = check_(folder, dataset, data_root=data_root)
    if as_json:
        _print_json(summary(result))
    else:
        _print_check(result)
        if result.never_miss is not None:
            _print_check(result.never_miss, "never miss: ")
    raise typer.Exit(0 if result.holds else _OPEN)


def _print_check(result: CheckResult, about: str = "") -> None:
    """What the checker found in one folder of certificates."""
    from asi_verify.checker import Outcome
    from asi_verify.checker.command import printable

    # The reasons quote what the folder says.
    for reason in result.refused:
        _out.print(f"{about}refused: {printable(reason)}", markup=False)
    for row in result.rows(Outcome.REJECTED):
        _out.print(f"{about}row {row} rejected: {printable(result.reasons[row])}", markup=False)
    _out.print(
        f"{about}{len(result.rows(Outcome.ACCEPTED))} accepted, "
        f"{len(result.rows(Outcome.DELEGATED))} delegated, "
        f"{len(result.rows(Outcome.REJECTED))} rejected, {len(result.missing)} missing; "
        f"status {result.status or 'refused'}"
    )
    if claims := result.claims:
        only = claims.never_miss
        of = "" if only is None else f"of the classes {', '.join(map(str, only.labels))}, "
        _out.print(
            f"{about}claimed: {of}{claims.family}, {claims.semantics.value} semantics, "
            f"about the {claims.dataset.target}, model {claims.artifact}"
        )


def _check_proof(folder: Path, as_json: bool) -> None:
    """Check the proof of a VNN-LIB query, print what was found, and leave with the exit code."""
    from asi_verify.checker import check_vnnlib
    from asi_verify.checker.command import printable, vnnlib_summary

    checked = check_vnnlib(folder)
    if as_json:
        _print_json(vnnlib_summary(checked))
    else:
        why = f": {printable(checked.reason)}" if checked.reason else ""
        _out.print(f"{checked.outcome.value}{why}", markup=False)
        proof = checked.proof
        _out.print(
            f"claimed: unsat, {len(proof.cases)} cases, {proof.semantics.value} semantics, "
            f"model {proof.artifact}, property {proof.property_}",
            markup=False,
        )
    raise typer.Exit(0 if checked.holds else _OPEN)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="The run folder of the model as it was.")],
    after: Annotated[Path, typer.Argument(help="The run folder of the model as it is.")],
    dataset: Annotated[
        str | None, typer.Option(help="The data set, if the folders do not name it.")
    ] = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which guarantees a retrained model keeps, gains and loses; both are checked anew."""
    from asi_verify._compare import compare as compare_

    found = compare_(before, after, dataset, data_root=data_root)
    if as_json:
        _print_json(found.to_json())
    else:
        for row in found.lost:
            _out.print(f"row {row} lost")
        for row in found.never_miss_lost:
            _out.print(f"row {row} lost in its larger region")
        _out.print(
            f"{len(found.kept)} kept, {len(found.gained)} gained, {len(found.lost)} lost, "
            f"{len(found.neither)} in neither"
        )
    raise typer.Exit(0 if found.holds else _OPEN)


@app.command()
def plan(
    model: ModelArgument,
    dataset: DatasetArgument,
    radius: RegionsOption = "1/255",
    split: Annotated[str, typer.Option(help="The samples to certify.")] = "train",
    semantics: SemanticsOption = "float32",
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a run would find unsupported, impossible or slow, before hours are spent."""
    from asi_verify._plan import plan as plan_

    found = plan_(
        model,
        dataset,
        radius,
        split=split,
        semantics=semantics,
        preprocess=_preprocess(scale, mean, std, layout),
        data_root=data_root,
    )
    if as_json:
        _print_json(found.to_json())
        return
    counts = ", ".join(f"{count} {name}" for name, count in found.operators.items())
    _out.print(f"operators: {counts}; {found.parameters} parameters; all supported")
    _out.print(f"accuracy: {found.accuracy:.1%} of {found.samples} samples")
    ceiling = f"; outside them nothing contradicts below {found.ceiling}" if found.ceiling else ""
    _out.print(f"contradictions: {found.contradictions} samples{ceiling}")
    table = Table("stage, by itself", "all samples that are right")
    for name, seconds in found.seconds.items():
        table.add_row(name, f"{seconds:.0f} s")
    if found.epoch_seconds is not None:
        table.add_row("an epoch of certified training", f"{found.epoch_seconds:.1f} s")
    _out.print(table)
    _out.print(f"memory of the passes: about {found.memory / 2**20:.0f} MiB")


@app.command()
def radii(
    model: ModelArgument,
    dataset: DatasetArgument,
    most: Annotated[str, typer.Option(help="The largest radius tried.")] = "8/255",
    step: Annotated[str, typer.Option(help="The radii tried are its multiples.")] = "0.5/255",
    split: Annotated[str, typer.Option(help="The samples.")] = "train",
    target: TargetOption = "label",
    semantics: SemanticsOption = "float32",
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """The largest radius at which each sample is proved."""
    from asi_verify._radius_map import radius_map

    found = radius_map(
        model,
        dataset,
        most,
        step=step,
        split=split,
        target=target,
        semantics=semantics,
        preprocess=_preprocess(scale, mean, std, layout),
        data_root=data_root,
        progress=_Shown(),
    )
    if as_json:
        _print_json(found.to_json())
        return
    table = Table("row", "proved at", "refuted at")
    for row, (proved, refuted) in enumerate(zip(found.proved, found.refuted, strict=True)):
        table.add_row(str(row), *("" if r is None else str(r) for r in (proved, refuted)))
    _out.print(table)


@app.command()
def bubbles(
    folder: RunFolderArgument,
    most: Annotated[str, typer.Option(help="The largest radius tried.")] = "8/255",
    step: Annotated[str, typer.Option(help="The radii tried are its multiples.")] = "0.5/255",
    dataset: NamedDatasetOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """How far the proof around each certified image reaches, and who else lies inside."""
    from asi_verify._bubbles import BUBBLES_FILE
    from asi_verify._bubbles import bubbles as bubbles_

    found = bubbles_(folder, dataset, most, step=step, data_root=data_root, progress=_Shown())
    if as_json:
        _print_json(found.to_json())
        return
    table = Table("largest radius proved", "images")
    for radius, count in found.distribution().items():
        table.add_row(radius, str(count))
    _out.print(table)
    _out.print(f"smallest: rows {', '.join(map(str, found.smallest()))}")
    for name, others in found.others.items():
        _out.print(
            f"{name}: {others.inside} of {others.samples} images lie inside of a bubble, "
            f"{others.right} of them with its label"
        )
    _out.print(f"everything: {folder / BUBBLES_FILE}", markup=False)


@app.command()
def sign(
    folder: RunFolderArgument,
    key: Annotated[
        Path | None, typer.Option(help="A private Ed25519 key, PEM, for its owner alone.")
    ] = None,
    new_key: Annotated[
        Path | None, typer.Option(help="Make a key pair: the private key's new file.")
    ] = None,
) -> None:
    """Sign the statement of a finished run with an Ed25519 key."""
    from asi_verify.attest import new_key as new_key_
    from asi_verify.attest import sign as sign_
    from asi_verify.attest import verify as verify_

    made = key or new_key
    if made is None or (key and new_key):
        raise UsageError("give --key with a private key, or --new-key to have one made")
    found = verify_(folder)
    if not found.holds:
        for reason in found.refused:
            _out.print(f"refused: {reason}", markup=False)
        _out.print("nothing was signed")
        raise typer.Exit(_OPEN)
    if new_key is not None:
        _out.print(f"public key: {new_key_(new_key)}", markup=False)
    _out.print(f"signed: {sign_(folder, made)}", markup=False)


@app.command()
def verify(
    folder: RunFolderArgument,
    key: Annotated[
        Path | None, typer.Option(help="The public Ed25519 key, PEM, that has to have signed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a run's statement with its files, and its signature with a key; derives no bound."""
    from asi_verify.attest import verify as verify_

    found = verify_(folder, key)
    if as_json:
        _print_json(
            {
                "holds": found.holds,
                "refused": list(found.refused),
                "signature": found.signature.value,
                "statement": found.statement,
                "unverified": list(found.unverified),
                "verified": list(found.verified),
            }
        )
    else:
        for mark, lines in (
            ("verified", found.verified),
            ("NOT verified", found.unverified),
            ("refused", found.refused),
        ):
            for line in lines:
                _out.print(f"{mark}: {line}", markup=False)
        _out.print(f"signature: {found.signature.value}")
        if found.holds and found.statement is not None:
            stated = found.statement["predicate"]
            _out.print(
                f"stated, not derived here: status {stated['status']}, "
                f"region {stated['claim']['region']}, {stated['claim']['semantics']} semantics, "
                f"about the {stated['claim']['target']}",
                markup=False,
            )
            if "never_miss" in stated:
                larger = stated["never_miss"]
                _out.print(
                    f"and of the classes {larger['claim']['labels']}: status {larger['status']}, "
                    f"region {larger['claim']['region']}",
                    markup=False,
                )
        _out.print("what was looked at holds" if found.holds else "this does not hold")
    raise typer.Exit(0 if found.holds else _OPEN)


@app.command()
def validate(
    folder: RunFolderArgument,
    dataset: NamedDatasetOption = None,
    no_attacks: Annotated[
        bool, typer.Option("--no-attacks", help="Leave the attacks of the toolbox out.")
    ] = False,
    most: Annotated[
        int, typer.Option(help="Attack at most so many images, the least certain first.", min=1)
    ] = 256,
    seed: SeedOption = 0,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try to break what a run claims: edge cases, corruptions, attacks, other ways to run it."""
    from asi_verify._validate import VALIDATION_FILE
    from asi_verify._validate import validate as validate_
    from asi_verify.stress import Battery, default_attacks

    battery = Battery(() if no_attacks else default_attacks(), most, seed)
    found = validate_(folder, dataset, battery=battery, data_root=data_root, progress=_Shown())
    if as_json:
        _print_json(found.to_json())
    else:
        _print_validation(found)
        _out.print(f"everything: {folder / VALIDATION_FILE}", markup=False)
    raise typer.Exit(0 if found.holds else _OPEN)


def _print_validation(found: Any) -> None:
    """Alarms first, then what was tried."""
    for alarm in found.alarms:
        about = "" if alarm.row is None else f", row {alarm.row}"
        _out.print(f"ALARM ({alarm.trial}{about}): {alarm.detail}", markup=False)
    table = Table("tried", "inside the regions", "inputs", "answers kept")
    for trial in (*found.edge_cases, *found.attacks):
        inside = "yes" if trial.inside else "no"
        table.add_row(trial.name, inside, str(trial.tried), str(trial.kept))
    _out.print(table)
    for split, kinds in found.corruptions.items():
        severe = Table(f"accuracy on {split}", *map(str, range(1, 6)))
        severe.add_row("as they are", f"{kinds['none'][0]:.1%}")
        for kind, accuracies in kinds.items():
            if kind != "none":
                severe.add_row(kind, *(f"{accuracy:.1%}" for accuracy in accuracies))
        _out.print(severe)
    if (runs := found.determinism) is not None:
        _out.print(
            f"{len(runs.ways)} other ways to run the model: {runs.decisions_differ} images decided "
            f"otherwise, {runs.bits_differ} with other bits"
        )
    if not found.claimed:
        _out.print("nothing is claimed: the folder has no certificate")
    else:
        _out.print(f"{found.claimed} regions claimed, {len(found.alarms)} alarms")


@app.command()
def report(
    folder: RunFolderArgument,
    dataset: NamedDatasetOption = None,
    data_root: DataRootOption = None,
    no_images: NoImagesOption = False,
) -> None:
    """Write report.json and report.html again."""
    from asi_verify._certify import noted_dataset
    from asi_verify.data import load_dataset
    from asi_verify.report import HTML_FILE, write_report
    from asi_verify.store import RunFolder

    place = RunFolder.open(folder)
    data = None
    if not no_images:
        given = dataset is not None
        data = (
            load_dataset(dataset, data_root=data_root)
            if given
            else noted_dataset(folder, data_root)
        )
    _out.print(write_report(place, data)["headline"])
    _out.print(f"report: {folder / HTML_FILE}")


@app.command()
def guard(
    folder: RunFolderArgument,
    radius: Annotated[
        str | None,
        typer.Option(help="Radius of the region around each image; that of the run if not given."),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(help="Choose the radius so that this part of the images is certified."),
    ] = None,
    no_monitors: Annotated[
        bool, typer.Option("--no-monitors", help="Do not refuse images unlike the training images.")
    ] = False,
    membership: Annotated[
        bool,
        typer.Option(
            "--membership",
            help="Answer in accepted regions of training images too; writes these images.",
        ),
    ] = False,
    dataset: NamedDatasetOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the model's guard, which answers only what it certifies, and measure it."""
    from asi_verify._guard import GUARD_FIGURES, GUARD_FILE, build_guard
    from asi_verify.store import RunFolder

    build_guard(
        folder,
        dataset,
        radius=radius,
        coverage=coverage,
        monitors=not no_monitors,
        membership=membership,
        data_root=data_root,
    )
    found = RunFolder.open(folder).read_json(GUARD_FIGURES)
    if as_json:
        _print_json(found)
        return
    _print_guard(found)
    _out.print(f"guard: {folder / GUARD_FILE}, radius {found['radius']}", markup=False)


def _print_guard(found: dict[str, Any]) -> None:
    """What is counted, and in lines of its own what is estimated."""
    table = Table(
        "split", "samples", "answered", "right, of all", "of those answered", "of those refused"
    )
    for name, split in found["counted"].items():
        count = split["counts"]
        samples, answered = count["samples"], count["answered"]
        table.add_row(
            name,
            str(samples),
            _part(answered, samples),
            _part(count["right"], samples),
            _part(count["answered_right"], answered),
            _part(count["right"] - count["answered_right"], samples - answered),
        )
    _out.print(table)
    for name, split in found["counted"].items():
        layers = (f"{layer['refuses']} by {what}" for what, layer in split["layers"].items())
        _out.print(f"refused on {name}: {', '.join(layers)}")
    for name, estimate in found["estimated"].items():
        lower, upper = estimate["error_when_answering"]
        _out.print(
            f"estimated from {name}, for images like these, at {estimate['confidence']:.0%} "
            f"confidence: wrong when answering {lower:.1%} to {upper:.1%}"
        )


def _part(count: int, of: int) -> str:
    return f"{count} ({count / of:.1%})" if of else "none"


@app.command()
def vnnlib(
    model: Annotated[
        Path | None, typer.Argument(help="An ONNX file, or one packed by gzip.")
    ] = None,
    property_: Annotated[
        Path | None,
        typer.Argument(metavar="PROPERTY", help="A VNN-LIB 1 file, or one packed by gzip."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds for each query; 60 where nothing else is said.", min=0),
    ] = None,
    semantics: Annotated[
        str, typer.Option(help="'float32': a runtime's rounding is covered; 'real': as VNN-COMP.")
    ] = "float32",
    out: Annotated[
        Path | None, typer.Option(help="A new folder for the proof; of a batch, one for each row.")
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(help="A CSV file of rows onnx,vnnlib,timeout instead of one query."),
    ] = None,
    results: Annotated[Path, typer.Option(help="The CSV file of a batch's answers.")] = Path(
        "results.csv"
    ),
) -> None:
    """Answer a VNN-LIB query: sat with a counterexample, unsat, timeout or unknown."""
    from asi_verify._vnnlib import Answer, solve_vnnlib

    if batch is not None:
        if model is not None:
            raise UsageError("--batch names the queries; leave MODEL and PROPERTY out")
        _answer_batch(batch, timeout, semantics, out, results)
    if model is None or property_ is None:
        raise UsageError("give an ONNX file and a VNN-LIB file, or --batch with a list of them")
    seconds = 60.0 if timeout is None else timeout
    found = solve_vnnlib(model, property_, timeout=seconds, semantics=semantics)
    sys.stdout.write(f"{found.answer.value}\n")
    if found.witness is not None:
        sys.stdout.write(f"{found.witness}\n")
    _err.print(f"{found.reason} ({found.seconds:.2f} s)", markup=False)
    if out is not None and found.files:
        found.save(out)
    raise typer.Exit(0 if found.answer is Answer.UNSAT else _OPEN)


def _answer_batch(
    batch: Path, timeout: float | None, semantics: str, out: Path | None, results: Path
) -> None:
    """Answer a list, write a row as soon as it is answered, and leave with the exit code."""
    from asi_verify._vnnlib import Answer
    from asi_verify._vnnlib_batch import solve_vnnlib_batch

    counts = dict.fromkeys(Answer, 0)
    # A list that cannot be read leaves the answers of an earlier one as they are.
    answered = solve_vnnlib_batch(batch, timeout=timeout, semantics=semantics)
    with results.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["onnx", "vnnlib", "answer", "seconds", "reason"])
        for number, row in enumerate(answered):
            found = row.result
            counts[found.answer] += 1
            writer.writerow(
                [row.onnx, row.vnnlib, found.answer.value, f"{found.seconds:.3f}", found.reason]
            )
            file.flush()
            if out is not None and found.files:
                found.save(out / f"{number:05d}")
    counted = ", ".join(f"{count} {answer.value}" for answer, count in counts.items())
    _out.print(f"{counted}; answers: {results}", markup=False)
    proved = counts[Answer.UNSAT] == sum(counts.values()) > 0
    raise typer.Exit(0 if proved else _OPEN)


@app.command()
def query(
    model: ModelArgument,
    dataset: DatasetArgument,
    row: Annotated[int, typer.Argument(help="The sample's row in its split, from 0.")],
    radius: RadiusOption = "1/255",
    split: Annotated[str, typer.Option(help="The sample's split.")] = "train",
    data_root: DataRootOption = None,
) -> None:
    """Print a sample's query as VNN-LIB, for other programs to answer."""
    from asi_verify._query import write_query

    sys.stdout.write(write_query(model, dataset, row, radius, split=split, data_root=data_root))


datasets_app = typer.Typer(invoke_without_command=True, add_completion=False)
app.add_typer(datasets_app, name="datasets")


@datasets_app.callback()
def datasets(
    context: typer.Context, data_root: DataRootOption = None, as_json: JsonOption = False
) -> None:
    """List the data sets that are known by name, and where their files lie; or audit one."""
    if context.invoked_subcommand is not None:
        if data_root is not None or as_json:
            raise UsageError(f"give the options after 'datasets {context.invoked_subcommand}'")
        return
    from asi_verify.data import find_file, medmnist_sets

    facts = [
        {
            "classes": len(known.labels),
            "dimensions": known.dimensions,
            "file": None if (path := find_file(name, data_root=data_root)) is None else str(path),
            "license": known.license,
            "name": name,
            "samples": dict(known.samples),
            "sizes": sorted(known.md5),
            "task": known.task.value,
        }
        for name, known in medmnist_sets().items()
    ]
    if as_json:
        _print_json({"datasets": facts})
        return
    whole = (Column(name, no_wrap=True) for name in ("name", "task", "classes"))
    table = Table(*whole, "train/val/test", "sizes", "license", Column("file", overflow="fold"))
    for fact in facts:
        samples: Any = fact["samples"]
        sizes: Any = fact["sizes"]
        table.add_row(
            str(fact["name"]),
            str(fact["task"]),
            str(fact["classes"]),
            "/".join(str(samples[split]) for split in ("train", "val", "test")),
            " ".join(map(str, sizes)) + (" 3-D" if fact["dimensions"] == 3 else ""),
            str(fact["license"]),
            str(fact["file"] or "not here yet"),
        )
    table.add_row("phantom", "binary", "2", "240/60/60", "28", "synthetic", "made when asked for")
    _out.print(table)


@datasets_app.command("audit")
def audit_dataset(
    dataset: DatasetArgument,
    radius: RegionsOption = "1/255",
    suspects: Annotated[
        bool,
        typer.Option("--suspects", help="Also look for labels that seem wrong; this trains."),
    ] = False,
    seed: SeedOption = 0,
    out: Annotated[Path | None, typer.Option(help="A file for the readiness certificate.")] = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """What can be promised about a data set at all, whatever the model."""
    from asi_verify._audit_dataset import audit_dataset as audit_dataset_

    made = audit_dataset_(
        dataset,
        radius,
        suspects=suspects,
        seed=seed,
        out=out,
        data_root=data_root,
        progress=_Shown(),
    )
    if as_json:
        _print_json(made.to_json())
    else:
        _print_readiness(made)
        if out is not None:
            _out.print(f"readiness certificate: {out}", markup=False)
    raise typer.Exit(_OPEN if made.contradicted else 0)


def _print_readiness(made: Any) -> None:
    """A line for each split, what concerns all of them, and the digest."""
    from asi_verify.audit import ceiling_text

    value = made.value
    table = Table(
        "split", "samples", "of each class", "contradictions", "ceiling outside", "suspected"
    )
    for name, entry in made.splits.items():
        suspects = made.suspects(name)
        table.add_row(
            name,
            str(entry["samples"]),
            " ".join(map(str, entry["counts"])),
            str(len(entry["contradictions"])),
            ceiling_text(
                entry["ceilings"]["outside_contradictions"], entry["nearest_other_label"]["unit"]
            ),
            "not asked" if suspects is None else str(len(suspects)),
        )
    _out.print(table)
    groups = value["duplicates"]
    _out.print(
        f"groups of equal images: {len(groups)}, {sum(g['crosses_splits'] for g in groups)} across "
        f"splits, {sum(g['disagrees'] for g in groups)} with different labels"
    )
    for sentence in value["undecided"]:
        _out.print(f"not decided: {sentence}", markup=False)
    _out.print(f"digest: {made.digest}")


@app.command()
def models(as_json: JsonOption = False) -> None:
    """List the reference architectures and their options."""
    from asi_verify.zoo import ARCHITECTURES, options_of

    lines = {name: (kind.__doc__ or "").splitlines()[0] for name, kind in ARCHITECTURES.items()}
    if as_json:
        _print_json({"models": lines, "options": {name: options_of(name) for name in lines}})
        return
    for name, line in lines.items():
        options = ", ".join(f"{option}={default}" for option, default in options_of(name).items())
        _out.print(f"{name}: {line} ({options})")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Try every component on this machine, and say what is missing."""
    from asi_verify._doctor import examine_installation

    findings = examine_installation()
    if as_json:
        _print_json({"findings": [vars(finding) for finding in findings]})
    else:
        for finding in findings:
            mark = "ok  " if finding.works else ("FAIL" if finding.needed else "-   ")
            _out.print(f"{mark} {finding.name}: {finding.detail}")
    raise typer.Exit(_OPEN if any(f.needed and not f.works for f in findings) else 0)


def _options(given: list[str]) -> dict[str, int]:
    """``name=number``, several times."""
    options = {}
    for text in given:
        name, _, number = text.partition("=")
        if name in options:
            raise UsageError(f"--option: {name!r} is given twice; give it once")
        try:
            options[name] = int(number)
        except ValueError:
            raise UsageError(f"--option: {text!r} is not of the form width=16") from None
    return options


def _preprocess(scale: float | None, mean: str | None, std: str | None, layout: str | None) -> Any:
    from asi_verify.data import Preprocess

    if scale is None and mean is None and std is None and layout is None:
        return None
    return Preprocess(
        scale=1.0 if scale is None else scale,
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        layout=layout or "NCHW",
    )


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text or "").replace(",", " ").split())
    except ValueError:
        raise UsageError(
            f"{option}: {text!r} is not a list of numbers such as 0.5,0.4,0.3"
        ) from None


def _training(
    epochs: int, batch_size: int, learning_rate: float, bounds: str, normed: bool = False
) -> Any:
    """The corrector of the options, with batch norm where the architecture has it."""
    from asi_verify.repair import CertifiedTraining

    if not 0 < learning_rate < 1:
        raise UsageError(f"--learning-rate: {learning_rate}; more than 0 and less than 1 is meant")
    return CertifiedTraining(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        batch_norm=normed,
        fresh_weights=normed,
        bounds=bounds,
    )


def _finish(
    result: Any,
    dataset: str,
    out: Path,
    data_root: Path | None,
    no_images: bool,
    as_json: bool,
) -> None:
    """Write the report, print the result, and leave with its exit code."""
    from asi_verify.data import load_dataset
    from asi_verify.report import HTML_FILE, write_report

    data = None if no_images else load_dataset(dataset, data_root=data_root)
    written = write_report(result.folder, data)
    if as_json:
        _print_json(
            {
                **result.summary,
                "certificates": written["certificates"],
                "model": written["model"]["sha256"],
                "status": written["status"],
            }
        )
    else:
        _out.print(written["headline"])
        larger = result.never_miss
        if result.status.open or (larger is not None and larger.open):
            _out.print("What is open, and why, stands first in the report.")
        if result.memorised:
            _out.print(f"memorised exceptions: rows {', '.join(map(str, result.memorised))}")
        before, after = written["before"]["accuracy"], written["after"]["accuracy"]
        for name in sorted(after, key=("train", "val", "test").index):
            was = f"{before[name]:.1%} before, " if written["model"]["corrected"] else ""
            _out.print(f"accuracy on {name}: {was}{after[name]:.1%}")
        if written["never_miss"] is not None:
            _out.print(written["never_miss"]["line"], markup=False)
        _out.print(f"status: {written['status']}")
        _out.print(f"model: {out / 'certificates' / 'artifact.onnx'}")
        _out.print(f"report: {out / HTML_FILE}")
    raise typer.Exit(0 if result.holds else _OPEN)


def _print_json(value: Any) -> None:
    # Not through rich, which would wrap lines.
    sys.stdout.write(json.dumps(value, sort_keys=True) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        app(arguments, prog_name="asi-verify")
    except SystemExit as leaving:
        if leaving.code == _INTERRUPTED:  # typer has dealt with the interruption
            _err.print("stopped; the same command goes on where it was")
        return leaving.code if isinstance(leaving.code, int) else _OPEN
    except SoundnessAlarm as alarm:
        _err.print(f"SOUNDNESS ALARM: {alarm}", markup=False)
        return _OPEN
    except AsiVerifyError as error:
        _err.print(f"error: {error}", markup=False)
        return _WRONG_USE
    except OSError as error:  # a folder that cannot be written, a full disk
        place = "" if error.filename is None else f"{error.filename}: "
        _err.print(f"error: {place}{error.strerror or error}", markup=False)
        return _WRONG_USE
    return 0


if __name__ == "__main__":
    sys.exit(main())
