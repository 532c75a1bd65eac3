"""The arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BatchSizeOption",
    "BoundsOption",
    "CoresOption",
    "DataRootOption",
    "DatasetArgument",
    "EpochsOption",
    "JsonOption",
    "LastLayerOption",
    "LayoutOption",
    "MeanOption",
    "MemoriseOption",
    "ModelArgument",
    "NamedDatasetOption",
    "NeverMissOption",
    "NeverMissRadiusOption",
    "NoImagesOption",
    "OutOption",
    "RadiusOption",
    "RateOption",
    "ReadinessOption",
    "RegionsOption",
    "RoundsOption",
    "RunFolderArgument",
    "ScaleOption",
    "SeedOption",
    "SemanticsOption",
    "SplitOption",
    "StdOption",
    "TargetOption",
]

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
SplitOption = Annotated[str, typer.Option(help="The samples to certify.")]
TargetOption = Annotated[str, typer.Option(help="'label' or 'prediction'.")]
SeedOption = Annotated[int, typer.Option(help="Of everything random.", min=0)]
OutOption = Annotated[Path, typer.Option(help="The run folder; a run in it goes on.")]
CoresOption = Annotated[
    int, typer.Option(help="Processes that prove and check, each on a core of its own.", min=1)
]
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
