"""The loss of ordinary and certified training, over the rows of each sample's property."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from asi_verify.core.properties import property_for
from asi_verify.data import Samples

__all__ = ["Objective", "deterministic"]


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss on margins ``m``, lower bounds or values of the rows of a property.

    For single labels ``log(1 + sum_r exp(-m_r))``, which is the cross-entropy; for several
    decisions ``sum_r log(1 + exp(-m_r))``, the binary cross-entropies added up.

    Attributes:
        rows: the property's rows for each distinct label, shape ``(labels, R, logits)``.
        label_of: which of them each sample has, shape ``(N,)``.
        several: whether a label is several decisions.
    """

    rows: torch.Tensor
    label_of: torch.Tensor
    several: bool

    @classmethod
    def of(cls, samples: Samples, logits: int) -> Objective:
        """The objective of a split for a model with so many logits."""
        unique, label_of = np.unique(samples.labels, axis=0, return_inverse=True)
        rows = np.stack([property_for(label, logits).rows() for label in unique])
        several = samples.labels.ndim == 2 or logits == 1
        return cls(
            torch.from_numpy(rows.astype(np.float32)),
            torch.from_numpy(label_of.reshape(-1)),
            several,
        )

    def rows_of(self, samples: torch.Tensor) -> torch.Tensor:
        """The rows of some samples' properties, shape ``(B, R, logits)``."""
        return self.rows[self.label_of[samples]]

    def margins(self, outputs: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
        """The rows applied to logits, shape ``(B, R)``."""
        return torch.einsum("brk,bk->br", self.rows_of(samples), outputs)

    def loss(self, margins: torch.Tensor) -> torch.Tensor:
        """The mean loss of a batch."""
        if self.several:
            return F.softplus(-margins).sum(dim=1).mean()
        return torch.logsumexp(F.pad(-margins, (1, 0)), dim=1).mean()


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Only torch algorithms that give the same result every time; undone afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
