"""Evidence that a stream of numbers is not drawn like those before it: a conformal test martingale.

**p-values.** Let ``x_1, x_2, ...`` be exchangeable: any order of them is as likely. Let ``b`` and
``e`` be how many of ``x_1 .. x_(n-1)`` are below ``x_n`` and equal to it, and ``t_n`` drawn
uniformly from [0, 1). Then ``p_n = (b + t_n (e + 1)) / n`` are independent and uniform on [0, 1]:
whichever numbers the first ``n`` are, each of them is as likely the last one, and what the order of
the others gives is uniform whichever it is (Vovk, Nouretdinov, Gammerman 2003; Vovk, Gammerman,
Shafer 2005). The first ``m`` are calibration images, on which nothing is bet. Each later one is
ranked among all before it, not among the calibration images alone: ranks among those alone depend
on one another, and bets on them win without end where few calibration images happen to lie low.

**Bets.** ``f(p) = 1 + s (p - 1/2)`` is not negative for ``|s| <= 2`` and has the mean 1 for a
uniform ``p``; it wins where values rise (``s > 0``) or fall (bets of the simple jumper: Vovk,
Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman 2021). From a capital of 1, the part
``1 / (n (n + 1))`` is staked at the ``n``-th image of the stream, in equal shares on each of some
``s``, and stays with its bet; what is not staked yet, ``1 / (n + 1)``, is kept. The capital
``M_n``, kept and staked, is a martingale with ``M_0 = 1``. A change that begins late is noticed
too: stakes of its time have lost nothing before it, and only have to grow by ``n (n + 1)`` more.

**Alarm.** ``M`` ever reaches ``1 / a`` with probability at most ``a``, over the whole stream
however long (Ville 1939). Of ``k`` numbers per image each has a martingale of its own, and the
alarm is when one of them reaches ``k / a``: at most ``k (a / k)`` by the sum of the probabilities,
whatever they have to do with one another. Their mean would not do: each is a martingale given its
own past, and need not be one given the past of all.

The numbers are sorted into bins first, whose edges depend neither on calibration images nor on the
stream. That is a function of each number, so all of the above holds for the bins; and the counts of
the bins are all that has to be known of the past. Computed in float64: rounding moves a capital by
some 1e-15 of itself for each image, which the guarantee leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BETS", "Evidence"]

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BETS: Floats = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])
"""The slopes ``s``."""
_MOST = 1e100
"""Of one bet's capital, so that it stays finite; having less is always allowed."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known after some images, for each of the ``k`` numbers of an image.

    Attributes:
        counts: of all images so far, calibration images too, by bin; shape ``(k, bins)``.
        staked: the capital of each bet, shape ``(k, bets)``.
        seen: images of the stream so far.
    """

    counts: Integers
    staked: Floats
    seen: int

    @classmethod
    def calibrated(cls, bins: Integers, count: int) -> Evidence:
        """Before the stream.

        Args:
            bins: those of the calibration images, shape ``(M, k)``.
            count: how many bins there are.
        """
        counts = np.stack([np.bincount(column, minlength=count) for column in bins.T])
        return cls(counts, np.zeros((len(counts), len(BETS))), 0)

    def after(self, bins: Integers, ties: Floats) -> Evidence:
        """After one more image.

        Args:
            bins: those of its numbers, shape ``(k,)``.
            ties: ``t``, each drawn uniformly from [0, 1), shape ``(k,)``.
        """
        rows, number = np.arange(len(bins)), self.seen + 1
        equal = self.counts[rows, bins]
        below = self.counts.cumsum(axis=1)[rows, bins] - equal
        p = (below + ties * (equal + 1)) / (self.counts[0].sum() + 1)
        staked = self.staked + 1 / (number * (number + 1)) / len(BETS)
        won = staked * (1 + BETS * (p[:, None] - 0.5))
        counts = self.counts.copy()
        counts[rows, bins] += 1
        return Evidence(counts, np.minimum(won, _MOST), number)

    @property
    def capital(self) -> Floats:
        """``M``, shape ``(k,)``."""
        return np.asarray(self.staked.sum(axis=1) + 1 / (self.seen + 1))
