"""Correctors: ways of making a model whose errors can be proved away. One signature for all."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box, chosen
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.semantics import Semantics
from asi_verify.data import Samples
from asi_verify.repair.checkpoints import Checkpoints

__all__ = ["Correction", "Corrector", "Task", "exact_settings"]


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be corrected.

    Attributes:
        samples: the whole split.
        family: the regions.
        rows: the samples that have to be certified: all outside the contradictions.
        open: those of them that the last round did not certify; a subset of ``rows``.
        seed: of everything random.
        round: how often the corrector was asked, this time included.
        semantics: in which arithmetic they have to be certified.
        validation: other samples that a corrector may choose by, if there are any; never those that
            a result is measured on in the end.
        larger: the regions of the samples that must never be missed; None if there are none.
        named: those samples, a subset of ``rows``; they have to be certified in both regions.
    """

    samples: Samples
    family: LInf
    rows: npt.NDArray[np.intp]
    open: npt.NDArray[np.intp]
    seed: int
    round: int
    semantics: Semantics = Semantics.FLOAT32
    validation: Samples | None = None
    larger: LInf | None = None
    named: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def boxes(self) -> Box:
        """The regions of the samples of ``rows``, the larger one where there are two."""
        images = self.samples.images[self.rows]
        box = self.family.boxes(images)
        if self.larger is None:
            return box
        return chosen(np.isin(self.rows, self.named), self.larger.boxes(images), box)


@dataclass(frozen=True, eq=False)
class Correction:
    """A corrected network, and what it took.

    Attributes:
        network: exact in float32.
        epochs: passes over the training set.
        screened: how many samples the corrector believes to be certified; a claim.
        history: for the report: one entry per epoch looked at.
        effect: for the record: what else there is to tell; empty for a training.
    """

    network: Network
    epochs: int
    screened: int
    history: tuple[Mapping[str, Any], ...]
    effect: Mapping[str, Any] = field(default_factory=dict)


class Corrector(abc.ABC):
    """Makes a network better at being proved. What it claims is proved again by others.

    Attributes:
        kind: for run folders and records.
    """

    kind: ClassVar[str]

    @abc.abstractmethod
    def attempt(
        self,
        network: Network,
        task: Task,
        checkpoints: Checkpoints | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Correction:
        """One round, from a network's weights; the network itself is not changed."""

    def settings(self) -> dict[str, Any]:
        """What shapes the result, as canonical JSON takes it."""
        return {"corrector": self.kind, **exact_settings(self)}


def exact_settings(described: Any) -> dict[str, Any]:
    """The fields of a dataclass as canonical JSON takes them: floats as exact text."""
    return {k: v.hex() if isinstance(v, float) else v for k, v in asdict(described).items()}
