"""ONNX Runtime sessions with a fixed provider and optimisation level."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import onnxruntime

from asi_verify.core.box import Box
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.properties import Property
from asi_verify.core.verdict import Witness
from asi_verify.errors import ModelError

__all__ = ["Session", "load"]

_LOG = logging.getLogger(__name__)
_BATCH = 256
_CHANGE_CONSTANTS = [
    "ConvAddFusion",
    "ConvBNFusion",
    "ConvMulFusion",
    "GemmSumFusion",
    "MatMulBNFusion",
]
"""Optimisations that multiply or add constants in float32 and run the network with the results,
which float32 semantics do not cover. An artifact that is made from a torch module, or with a
preprocessing contract, has nothing that they apply to (``export.folding``)."""


def load(
    artifact: bytes, threads: int = 0, optimised: str | None = None, usual: bool = False
) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the CPU, all graph optimisations but those that change constants.

    Args:
        artifact: the ONNX file's bytes.
        threads: threads inside one operator; 0 lets ONNX Runtime choose.
        optimised: where to write what is really run, to look at.
        usual: with all optimisations, as ONNX Runtime does by itself.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if optimised is not None:
        options.optimized_model_filepath = optimised
    try:
        return onnxruntime.InferenceSession(
            artifact,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=[] if usual else _CHANGE_CONSTANTS,
        )
    except Exception as error:
        # ONNX Runtime has an exception class per status code and no common base but Exception.
        raise ModelError(f"ONNX Runtime cannot load the model: {error}") from error


class Session:
    """An artifact as it runs in ONNX Runtime on the CPU; see ``load``.

    Args:
        artifact: the ONNX file's bytes.
        head: the name of the file's trailing softmax or sigmoid, if any (``Network.head``).
        threads: threads inside one operator; 0 lets ONNX Runtime choose.
        usual: with all optimisations, as ONNX Runtime does by itself.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """

    def __init__(
        self, artifact: bytes, head: str | None = None, threads: int = 0, usual: bool = False
    ) -> None:
        self._session = load(artifact, threads, usual=usual)
        (given,) = self._session.get_inputs()
        self._input = given.name
        self._fixed_batch = given.shape[0] if isinstance(given.shape[0], int) else None
        # A sigmoid is above 1/2 where its logit is above 0; near 1/2 the difference is exact.
        self._middle = np.float32(0.5 if head == "sigmoid" else 0.0)
        self.digest = bytes_digest(artifact)

    @property
    def has_fixed_batch(self) -> bool:
        """Whether the file takes so many images at a time and no others; ``run`` splits them up.

        Of files that do not say so it is seen when more are run.
        """
        return self._fixed_batch is not None

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The file's outputs, shape ``(N, logits)``, for inputs of shape ``(N, *input_shape)``.

        Outputs of another shape become vectors, in C order. Where a constant fits a single image
        only, though the file leaves its batch open, images are run one by one.
        With a trailing softmax the numbers are probabilities in the order of the logits; with a
        trailing sigmoid they are probabilities less 1/2, which have the sign of the logits.

        Raises:
            ModelError: ONNX Runtime cannot run it.
        """
        size = self._fixed_batch or _BATCH
        try:
            parts = [
                self._answers(inputs[start : start + size]) for start in range(0, len(inputs), size)
            ]
        except Exception as error:
            # An exception class per status code here too.
            if not self.has_fixed_batch and len(inputs) > 1 and self._takes_one(inputs[:1]):
                _LOG.info("the model is run image by image: several at once end in %s", error)
                self._fixed_batch = 1
                return self.run(inputs)
            raise ModelError(f"ONNX Runtime cannot run the model: {error}") from error
        return np.concatenate(parts).reshape(len(inputs), -1) - self._middle

    def _answers(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        quietly = onnxruntime.RunOptions()
        quietly.log_severity_level = 4  # what is wrong is raised, and need not be printed as well
        (outputs,) = self._session.run(None, {self._input: inputs}, quietly)
        return np.asarray(outputs)

    def _takes_one(self, image: npt.NDArray[np.float32]) -> bool:
        try:
            self._answers(image)
        except Exception:  # noqa: BLE001  whatever it is, it is told of the whole batch
            return False
        return True

    def margins(
        self, inputs: npt.NDArray[np.float32], property_: Property
    ) -> npt.NDArray[np.float64]:
        """How far each output is from violating a property: positive exactly where it holds."""
        return property_.margins(self.run(inputs))

    def replay(
        self, points: npt.NDArray[np.float32], box: Box, property_: Property, found_by: str
    ) -> list[Witness | None]:
        """Ask ONNX Runtime itself about claimed counterexamples.

        Args:
            points: one per sample, shape ``(N, *input_shape)``.
            box: the samples' regions.
            property_: what the points are claimed to violate.
            found_by: the search that claims it.

        Returns:
            A witness where the point lies in the region and the property fails on it; tolerance 0
            in both. A NaN among the outputs is a failure.
        """
        inside = box.contains(points)
        outputs = self.run(points)
        fails = ~(property_.margins(outputs) > 0)
        return [
            Witness(points[i].copy(), outputs[i].copy(), found_by)
            if fails[i] and inside[i]
            else None
            for i in range(len(points))
        ]
