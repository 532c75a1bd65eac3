"""``asi-verify run``: trains a network and corrects it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asi_verify.cli.corrector import corrector_of
from asi_verify.cli.finish import finish
from asi_verify.cli.options import (
    BatchSizeOption,
    BoundsOption,
    CoresOption,
    DataRootOption,
    DatasetArgument,
    EpochsOption,
    JsonOption,
    LastLayerOption,
    MemoriseOption,
    NeverMissOption,
    NeverMissRadiusOption,
    NoImagesOption,
    OutOption,
    RadiusOption,
    RateOption,
    ReadinessOption,
    RoundsOption,
    SeedOption,
    SemanticsOption,
)
from asi_verify.cli.progress import TerminalProgress
from asi_verify.errors import UsageError

__all__ = ["run"]


def run(
    context: typer.Context,
    dataset: DatasetArgument,
    radius: RadiusOption = "1/255",
    seed: SeedOption = 0,
    out: OutOption = Path("out/run"),
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
    cores: CoresOption = 1,
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
        corrector = corrector_of(epochs, batch_size, learning_rate, bounds, normed)
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
        cores=cores,
        data_root=data_root,
        progress=TerminalProgress(),
    )
    finish(result, dataset, out, data_root, no_images, as_json)


def _refuse_beside_settings(context: typer.Context, *names: str) -> None:
    """What a file of settings says cannot be said twice."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                f"--settings: the file says it already; leave --{name.replace('_', '-')} out"
            )


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
