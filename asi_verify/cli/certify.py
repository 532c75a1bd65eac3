"""``asi-verify certify``: a model as it is."""

from __future__ import annotations

from pathlib import Path

from asi_verify.cli.finish import finish
from asi_verify.cli.options import (
    CoresOption,
    DataRootOption,
    DatasetArgument,
    JsonOption,
    LayoutOption,
    MeanOption,
    ModelArgument,
    NeverMissOption,
    NeverMissRadiusOption,
    NoImagesOption,
    OutOption,
    ReadinessOption,
    RegionsOption,
    ScaleOption,
    SemanticsOption,
    SplitOption,
    StdOption,
    TargetOption,
)
from asi_verify.cli.preprocess import preprocess_of
from asi_verify.cli.progress import TerminalProgress

__all__ = ["certify"]


def certify(
    model: ModelArgument,
    dataset: DatasetArgument,
    radius: RegionsOption = "1/255",
    split: SplitOption = "train",
    target: TargetOption = "label",
    semantics: SemanticsOption = "float32",
    never_miss: NeverMissOption = None,
    never_miss_radius: NeverMissRadiusOption = None,
    out: OutOption = Path("out/certify"),
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
    """Errors, proofs and counterexamples of a model as it is."""
    from asi_verify._certify import certify as certify_

    result = certify_(
        model,
        dataset,
        radius,
        split=split,
        target=target,
        semantics=semantics,
        preprocess=preprocess_of(scale, mean, std, layout),
        never_miss=never_miss,
        never_miss_radius=never_miss_radius,
        readiness=readiness,
        out=out,
        cores=cores,
        data_root=data_root,
        progress=TerminalProgress(),
    )
    finish(result, dataset, out, data_root, no_images, as_json)
