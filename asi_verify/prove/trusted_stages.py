"""The stages that the trusted pass decides: intervals, CROWN-IBP, CROWN."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from asi_verify.bounds import Method, Proposer, proposer_for
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.network import Network
from asi_verify.core.verdict import Proved
from asi_verify.errors import EngineFailedError
from asi_verify.prove.stage import Batch, Stage, StageResult

__all__ = ["Crown", "CrownIbp", "Intervals"]

_log = logging.getLogger(__name__)


class _Decided(Stage):
    """A stage in which an engine may say where it is worth asking the trusted pass."""

    evidence: IntervalEvidence | LinearEvidence

    def attempt(self, batch: Batch) -> StageResult:
        promising, proposed = self._promising(batch)
        margins = np.full(len(batch), -np.inf)
        if promising.any():
            margins[promising] = self._margins(batch.take(np.flatnonzero(promising)))
        proved = margins > 0
        declined = int((promising & ~proved).sum()) if proposed else 0
        return StageResult(
            tuple(Proved(self.evidence) if yes else None for yes in proved), declined
        )

    def _margins(self, batch: Batch) -> npt.NDArray[np.float64]:
        if len(batch) > 1 or not isinstance(self.evidence, LinearEvidence):
            evidence = self.evidence
            return batch.trusted.margins(batch.box, batch.property_, evidence, batch.reach)
        # The bounds over a single region serve later stages and other properties too.
        bounds = batch.root_bounds(self.evidence.intermediate)
        values = batch.trusted.rows(bounds, batch.property_, to_input=True)
        return batch.property_.overall(values)

    def _promising(self, batch: Batch) -> tuple[npt.NDArray[np.bool_], bool]:
        """Where the trusted pass is worth asking, and whether an engine says so.

        Without an engine, or if it fails, the trusted pass is asked about all of the batch; and
        about regions that are far smaller than the boxes that engines know.
        """
        everything = np.ones(len(batch), dtype=np.bool_)
        proposer = None if batch.reach is not None else self._proposer(batch)
        if proposer is None:
            return everything, False
        try:
            bounds = proposer.lower(batch.box, batch.property_.rows())
        except EngineFailedError as error:
            _log.warning("nothing proposed for %d samples: %s", len(batch), error)
            return everything, False
        values = bounds + batch.property_.constants()
        return np.asarray(batch.property_.overall(values) > 0), True

    def _proposer(self, batch: Batch) -> Proposer | None:
        del batch
        return None


@dataclass(frozen=True)
class Intervals(_Decided):
    """Interval arithmetic. The trusted pass costs about what a proposal would: it is asked."""

    name: str = "interval"
    evidence: IntervalEvidence = field(default=IntervalEvidence(), init=False)


class _Linear(_Decided):
    method: Method
    device: str
    proposes: bool

    def _proposer(self, batch: Batch) -> Proposer | None:
        if not self.proposes:
            return None
        return _kept_proposer(batch.artifact.network, self.method, self.device)


@lru_cache(maxsize=2)
def _kept_proposer(network: Network, method: Method, device: str) -> Proposer | None:
    """Built once, however many batches ask it."""
    return proposer_for(network, method, device)


@dataclass(frozen=True)
class CrownIbp(_Linear):
    """A backward linear pass over interval bounds (Zhang et al. 2020).

    Attributes:
        device: where the engine computes its proposals.
        proposes: whether the engine is asked first. It spares the trusted pass what cannot be
            proved; for single queries, loading it takes longer than it spares.
    """

    device: str = "cpu"
    proposes: bool = True
    name: str = "crown-ibp"
    evidence: LinearEvidence = field(default=LinearEvidence(Intermediate.INTERVAL), init=False)
    method: Method = field(default=Method.CROWN_IBP, init=False)


@dataclass(frozen=True)
class Crown(_Linear):
    """Backward linear passes for intermediate bounds too (Zhang et al. 2018).

    Attributes:
        device: where the engine computes its proposals.
        proposes: whether the engine is asked first. It spares the trusted pass what cannot be
            proved; for single queries, loading it takes longer than it spares.
    """

    device: str = "cpu"
    proposes: bool = True
    name: str = "crown"
    evidence: LinearEvidence = field(default=LinearEvidence(Intermediate.BACKWARD), init=False)
    method: Method = field(default=Method.CROWN, init=False)
