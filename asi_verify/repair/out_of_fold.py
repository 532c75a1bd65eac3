"""Predictions for every image by networks that were not trained on it, nor on an equal one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from asi_verify.core.images import encode
from asi_verify.core.network import Network
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.data import Dataset, Samples, Task
from asi_verify.errors import DataError, UsageError
from asi_verify.export import NetworkModule
from asi_verify.repair.ordinary_training import OrdinaryTraining
from asi_verify.repair.untrained import untrained_network

__all__ = ["ARCHITECTURE", "out_of_fold"]

ARCHITECTURE = "small-cnn"
"""The reference network that is trained."""

_BATCH = 256
_SHORTEST = 4
"""The smallest extent of an image that the network reads."""


def out_of_fold(
    dataset: Dataset,
    seed: int = 0,
    folds: int = 5,
    training: OrdinaryTraining | None = None,
    progress: Progress = NO_PROGRESS,
) -> Mapping[str, npt.NDArray[np.float64]]:
    """Train one network without each fold of ``train``, and ask those that have not seen an image.

    An image of ``train``, wherever it lies, is shown to the network of its own fold alone; equal
    images share a fold, so that a label never vouches for its copy. Any other image gets the mean
    of all networks. The folds hold each label about equally often.

    Args:
        dataset: with a split ``train``.
        seed: of the folds and of everything random in the training.
        folds: how many.
        training: ``OrdinaryTraining()`` if not given; without a split to choose the epoch on, the
            last one is taken.
        progress: told of epochs.

    Returns:
        By split, shape ``(N, classes)``, rows that sum to 1; for several labels ``(N, decisions)``,
        the probability of each. The same on the same machine, versions and number of threads.

    Raises:
        DataError: there is no split ``train``, or its images are too few or too small.
        UsageError: folds is no number above 1.
    """
    if type(folds) is not int or folds not in range(2, 1 << 20):
        raise UsageError(f"folds: {folds!r}; a whole number from 2 on is expected")
    train = dataset.split("train")
    if min(dataset.image_shape[1:]) < _SHORTEST:
        raise DataError(
            f"{dataset.name}: images of {dataset.image_shape[1:]} pixels are too small for the "
            f"network that judges labels; {_SHORTEST} a side are needed"
        )
    fold_of = _folds(train, seed, folds, dataset.name)
    several = dataset.task is Task.MULTI_LABEL
    start = untrained_network(ARCHITECTURE, dataset, seed)
    chosen = training if training is not None else OrdinaryTraining()
    folds_of_rows = np.array([fold_of[digest] for digest in train.image_digests])
    judged: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in dataset.splits}
    for fold in range(folds):
        others = train.take(np.flatnonzero(folds_of_rows != fold))
        part = Dataset(dataset.name, dataset.task, dataset.classes, {"train": others})
        network = chosen.train(start, part, seed, progress=progress)
        for name, samples in dataset.splits.items():
            judged[name].append(_probabilities(network, samples, several))
    found = {}
    for name, samples in dataset.splits.items():
        each = np.stack(judged[name])
        mean = each.mean(axis=0)
        for row, digest in enumerate(samples.image_digests):
            if digest in fold_of:
                mean[row] = each[fold_of[digest], row]
        found[name] = mean
    return found


def _folds(train: Samples, seed: int, folds: int, name: str) -> dict[str, int]:
    """The fold of each distinct image, by its digest."""
    first = {digest: row for row, digest in reversed(list(enumerate(train.image_digests)))}
    if len(first) < folds:
        raise DataError(f"{name}: {len(first)} different images are too few for {folds} folds")
    rows = np.array(sorted(first.values()))
    shuffled = np.random.default_rng(seed).permutation(rows)
    labels = train.labels.reshape(len(train), -1)[shuffled]
    # By label, at random within one, dealt out in turn; the sort is stable.
    dealt = shuffled[np.lexsort(labels.T[::-1])]
    return {train.image_digests[row]: place % folds for place, row in enumerate(dealt.tolist())}


def _probabilities(network: Network, samples: Samples, several: bool) -> npt.NDArray[np.float64]:
    module, inputs = NetworkModule(network), torch.from_numpy(encode(samples.images))
    with torch.no_grad():
        logits = torch.cat([module(some) for some in inputs.split(_BATCH)]).double()
    shares = torch.sigmoid(logits) if several else torch.softmax(logits, dim=1)
    return np.asarray(shares.numpy())
