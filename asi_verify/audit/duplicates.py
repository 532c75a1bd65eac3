"""Exact duplicates, within a split and across splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asi_verify.data import Samples

__all__ = ["DuplicateGroup", "find_duplicates"]


@dataclass(frozen=True)
class DuplicateGroup:
    """Images with the same pixels.

    Attributes:
        digest: the image's digest.
        members: ``(split, row)`` of each.
        labels: the label of each, in the same order.
    """

    digest: str
    members: tuple[tuple[str, int], ...]
    labels: tuple[tuple[int, ...], ...]

    @property
    def crosses_splits(self) -> bool:
        """Whether the members lie in more than one split: a leak from training to test."""
        return len({split for split, _ in self.members}) > 1

    @property
    def disagrees(self) -> bool:
        """Whether the same pixels have different labels."""
        return len(set(self.labels)) > 1

    def to_json(self) -> dict[str, Any]:
        """For ``audit.json`` and the report."""
        return {
            "crosses_splits": self.crosses_splits,
            "digest": self.digest,
            "disagrees": self.disagrees,
            "labels": [list(label) for label in self.labels],
            "members": [list(member) for member in self.members],
        }


def find_duplicates(splits: Mapping[str, Samples]) -> tuple[DuplicateGroup, ...]:
    """All groups of two or more equal images, in the order of their first member."""
    groups: dict[str, list[tuple[str, int, tuple[int, ...]]]] = defaultdict(list)
    for split, samples in splits.items():
        labels = samples.labels.reshape(len(samples), -1).tolist()
        for row, digest in enumerate(samples.image_digests):
            groups[digest].append((split, row, tuple(labels[row])))
    return tuple(
        DuplicateGroup(
            digest,
            tuple((split, row) for split, row, _ in members),
            tuple(label for _, _, label in members),
        )
        for digest, members in groups.items()
        if len(members) > 1
    )
