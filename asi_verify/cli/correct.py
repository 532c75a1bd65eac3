"""``asi-verify correct``: corrects a model of the user's."""

from __future__ import annotations

from pathlib import Path

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
    LayoutOption,
    MeanOption,
    MemoriseOption,
    ModelArgument,
    NeverMissOption,
    NeverMissRadiusOption,
    NoImagesOption,
    OutOption,
    RadiusOption,
    RateOption,
    ReadinessOption,
    RoundsOption,
    ScaleOption,
    SeedOption,
    SemanticsOption,
    StdOption,
)
from asi_verify.cli.preprocess import preprocess_of
from asi_verify.cli.progress import TerminalProgress

__all__ = ["correct"]


def correct(
    model: ModelArgument,
    dataset: DatasetArgument,
    radius: RadiusOption = "1/255",
    seed: SeedOption = 0,
    out: OutOption = Path("out/correct"),
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
    cores: CoresOption = 1,
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
        preprocess=preprocess_of(scale, mean, std, layout),
        corrector=corrector_of(epochs, batch_size, learning_rate, bounds),
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
