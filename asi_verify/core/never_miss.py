"""Classes that must never be missed: their samples have larger regions than all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box, chosen
from asi_verify.core.family import RegionFamily
from asi_verify.core.linf import LInf, common_point
from asi_verify.core.region import family_from_json
from asi_verify.errors import CertificateError, RadiusError

__all__ = ["NeverMiss"]

_MOST_LABELS = 1024


@dataclass(frozen=True)
class NeverMiss:
    """Some classes, the regions of their samples, and the smaller ones of all others.

    Attributes:
        labels: the numbers of the classes, ascending; at least one.
        family: the regions of their samples.
        others: the regions of the samples of all other classes. No certificate is about them here;
            they decide with the larger ones what contradicts.

    Raises:
        RadiusError: the regions of the named classes are not larger than the others.
    """

    labels: tuple[int, ...]
    family: LInf
    others: LInf

    def __post_init__(self) -> None:
        if not self.family.radius > self.others.radius:
            raise RadiusError(
                f"never_miss_radius: {self.family.radius} is not larger than {self.others.radius}, "
                "the radius of all other samples"
            )

    def named(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """For each label, whether its sample must never be missed.

        Args:
            labels: shape ``(N,)``.
        """
        return np.isin(labels, self.labels)

    def boxes(self, images: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Box:
        """The regions of some samples, each of its own size; raises what ``LInf.boxes`` does."""
        return chosen(self.named(labels), self.family.boxes(images), self.others.boxes(images))

    def meeting_point(
        self, images: npt.NDArray[Any], labels: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32] | None:
        """A float32 member of the regions of all of some samples, or None if there is none."""
        return common_point(self.boxes(images, labels))

    def to_json(self) -> dict[str, Any]:
        """What claims hold of it beside their own family."""
        return {"labels": list(self.labels), "others": self.others.to_json()}

    @classmethod
    def from_json(cls, value: Any, family: RegionFamily) -> NeverMiss:
        """What claims about a family of regions hold of it; everything in it is untrusted.

        Raises:
            CertificateError: it is not in its canonical form, or not about such regions.
        """
        match value:
            case {"labels": [*labels], "others": others, **rest} if (
                not rest
                and 0 < len(labels) <= _MOST_LABELS
                and all(type(label) is int and label >= 0 for label in labels)
                and sorted(set(labels)) == labels
            ):
                pass
            case _:
                raise CertificateError(f"the classes {value!r} are not valid")
        smaller = family_from_json(others)
        if not isinstance(family, LInf) or not isinstance(smaller, LInf):
            raise CertificateError("classes are named for L-infinity regions alone")
        try:
            return cls(tuple(labels), family, smaller)
        except RadiusError as error:
            raise CertificateError(str(error)) from None
