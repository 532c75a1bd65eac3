"""``write_query``: the query about one sample, for other programs to answer."""

from __future__ import annotations

from pathlib import Path

from asi_verify.core.limits import LARGEST_ARTIFACT
from asi_verify.core.linf import LInf
from asi_verify.core.properties import property_for
from asi_verify.core.radius import RadiusLike
from asi_verify.data import DatasetLike, load_dataset
from asi_verify.errors import ModelError, UsageError
from asi_verify.lowering import read_network
from asi_verify.lowering.files import FileLike, naming, read_file
from asi_verify.lowering.vnnlib import write_vnnlib

__all__ = ["write_query"]


def write_query(
    model: FileLike,
    dataset: DatasetLike,
    row: int,
    radius: RadiusLike = "1/255",
    *,
    split: str = "train",
    data_root: str | Path | None = None,
) -> str:
    """The query about one sample as VNN-LIB text, for other programs to answer.

    The region is the smallest float32 box that covers the L-infinity ball, as in certificates; the
    unsafe set are the points at which the label does not win. A tie is unsafe.

    Args:
        model: an ONNX file that reads NCHW in [0, 1] and answers logits; by path or content.
        dataset: as for ``certify``.
        row: the sample's row in its split.
        radius: as for ``certify``.
        split: the sample's split.
        data_root: where MedMNIST files are looked for first.

    Raises:
        UsageError: the model ends in a softmax or sigmoid, does not fit the images, or something
            else cannot be used; see its subclasses.
    """
    samples = load_dataset(dataset, data_root=data_root).split(split)
    if not 0 <= row < len(samples):
        raise UsageError(f"row: {row}; {split} has the rows 0..{len(samples) - 1}")
    data = read_file(model, LARGEST_ARTIFACT, ModelError)
    with naming(model):
        network = read_network(data)
    images = samples.images[[row]]
    if network.head is not None or network.input_shape != images.shape[1:]:
        raise ModelError(
            f"the model reads {network.input_shape} and answers {network.head or 'logits'}; a "
            f"query needs one that reads {images.shape[1:]} and answers logits"
        )
    wanted = property_for(samples.labels[row], network.logits)
    return write_vnnlib(LInf.of(radius).boxes(images), wanted)
