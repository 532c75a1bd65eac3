"""A reference network after ordinary training, kept as an artifact in a run folder."""

from __future__ import annotations

from asi_verify.core.network import Network
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.data import Dataset
from asi_verify.export import Artifact
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.ordinary_training import OrdinaryTraining
from asi_verify.store import RunFolder

__all__ = ["ordinary_model"]


def ordinary_model(
    start: Network,
    architecture: str,
    training: OrdinaryTraining,
    data: Dataset,
    seed: int,
    folder: RunFolder,
    name: str = "ordinary",
    progress: Progress = NO_PROGRESS,
) -> Artifact:
    """Train a network, unless that was done, and read the artifact.

    Args:
        start: the network.
        architecture: its name, for the event log.
        training: how.
        data: on what.
        seed: of everything random.
        folder: where ``NAME.onnx`` lies in the end, and ``NAME.safetensors`` until then.
        name: see there.
        progress: told of epochs.
    """
    if folder.files.read(f"{name}.onnx") is None:
        checkpoints = Checkpoints(folder.files, f"{name}.safetensors")
        trained = Artifact.from_network(training.train(start, data, seed, checkpoints, progress))
        folder.events.add("trained", architecture=architecture, model=trained.digest)
        folder.files.write(f"{name}.onnx", trained.data)
        checkpoints.clear()
    return Artifact.from_bytes(folder.files.require(f"{name}.onnx"))
