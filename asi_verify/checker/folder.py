"""Check a folder of certificates from its files and the data set alone.

The checker believes nothing that the folder says: it reads the artifact again, makes every region
again from the images, every property from the labels, and every bound with the trusted pass. What
it does believe is this package, ``core`` and ``lowering``, numpy and onnx.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.checker.enumeration import divided_margin, require_enumerable
from asi_verify.checker.split_tree import require_tree, tree_margins
from asi_verify.checker.trusted import TrustedPass
from asi_verify.core.canonical import array_digest, bytes_digest
from asi_verify.core.certificate import Certificate
from asi_verify.core.claims import ARTIFACT_FILE, CLAIMS_FILE, Claims, Shard
from asi_verify.core.container import unpack
from asi_verify.core.evidence import (
    EnumerationEvidence,
    GridEvidence,
    Intermediate,
    IntervalEvidence,
    LinearEvidence,
    SolverEvidence,
    TreeEvidence,
    part_of,
)
from asi_verify.core.family import RegionFamily
from asi_verify.core.images import refuse_unusable_images
from asi_verify.core.limits import (
    LARGEST_ARTIFACT,
    LARGEST_CLAIMS,
    LARGEST_CONTAINER,
    LARGEST_SHARD,
    LARGEST_VNNLIB,
    LONGEST_REASON,
    MOST_LOGITS,
    MOST_REFUSALS,
)
from asi_verify.core.local_patch import memorised_rows
from asi_verify.core.properties import Property, exclude_each_other, property_for
from asi_verify.core.query import Query
from asi_verify.core.region import Region
from asi_verify.core.split_tree import SplitTree
from asi_verify.core.status import Status
from asi_verify.errors import AsiVerifyError, CertificateError, ModelError, UsageError
from asi_verify.lowering import read_network

__all__ = [
    "CheckResult",
    "Margins",
    "Outcome",
    "Reader",
    "Way",
    "check_certificates",
    "check_files",
    "check_folder",
    "read_claims",
    "reader_of",
    "region_margins",
]

Reader = Callable[[str], bytes]
"""Gives the bytes of a file of the folder by name; raises ``CertificateError`` if there is none."""


class Outcome(Enum):
    """What the checker says of one certificate."""

    ACCEPTED = "accepted"
    """The checker derived the bound itself and it closes."""

    DELEGATED = "delegated"
    """A solver's word, with the script it was asked; never called certified."""

    REJECTED = "rejected"
    """Not what it claims to be, or the bound does not close."""


@dataclass(frozen=True)
class CheckResult:
    """What the checker found in a folder.

    Attributes:
        claims: what the folder claims; None where the claims themselves are refused.
        outcomes: outcome of each row that has a certificate.
        reasons: why, for each row that was not accepted.
        digests: the digest of each row's certificate.
        contradictions: rows in a listed contradiction that was confirmed.
        refused: reasons for which the folder as a whole is refused; empty if it is not.
        asked: the rows that have to have a certificate, unless they are in a contradiction: all, or
            those of the classes that the claims name.
        never_miss: for a run that was asked never to miss some classes, what was found in the
            folder of those certificates.
        memorised: rows outside the contradictions in whose regions a local patch of the artifact
            does something, as the artifact itself says; they never count as certified.
    """

    claims: Claims | None
    outcomes: dict[int, Outcome]
    reasons: dict[int, str]
    digests: dict[int, str]
    contradictions: frozenset[int]
    refused: tuple[str, ...]
    asked: frozenset[int]
    never_miss: CheckResult | None = None
    memorised: frozenset[int] = frozenset()

    def rows(self, outcome: Outcome) -> list[int]:
        """The rows with this outcome, in order."""
        return sorted(row for row, found in self.outcomes.items() if found is outcome)

    @property
    def missing(self) -> list[int]:
        """Rows outside the contradictions that have no certificate; none for a refused folder.

        What is refused may claim any number of samples.
        """
        if self.claims is None or self.refused:
            return []
        return [
            row
            for row in sorted(self.asked)
            if row not in self.outcomes and row not in self.contradictions
        ]

    @property
    def status(self) -> Status | None:
        """The status that the accepted certificates amount to; None for a refused folder.

        Of classes that must never be missed there are no exceptions: what is memorised is open.
        """
        if self.claims is None or self.refused:
            return None
        closed = set(self.rows(Outcome.ACCEPTED)) - self.contradictions
        if self.claims.never_miss is not None:
            closed -= self.memorised
        aside = len(self.contradictions)
        still_open = len(self.asked) - aside - len(closed)
        return Status(still_open, aside, len(closed & self.memorised))

    @property
    def holds(self) -> bool:
        """Whether nothing is open, refused or rejected, and a certificate accepted that counts.

        Without the last, a radius at which all samples contradict one another would be a success,
        though the model be right on half of them, and so would a model that memorised them all.
        Where classes are never to be missed, their certificates have to hold too.
        """
        zero = self.status is not None and self.status.is_zero
        counts = set(self.rows(Outcome.ACCEPTED)) - self.memorised - self.contradictions
        own = zero and bool(counts) and not self.rows(Outcome.REJECTED)
        return own and (self.never_miss is None or self.never_miss.holds)


def read_claims(folder: str | Path) -> Claims:
    """What a certificate folder claims.

    Raises:
        CertificateError: the folder has no claims, or they cannot be read.
    """
    return Claims.from_bytes(reader_of(folder)(CLAIMS_FILE), str(Path(folder) / CLAIMS_FILE))


def check_folder(
    folder: str | Path,
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    margins: Margins | None = None,
) -> CheckResult:
    """Check every certificate of a folder against the artifact in it and a data set.

    Args:
        folder: holds ``claims.json``, ``artifact.onnx`` and the shards.
        images: the split's images, ``(N, C, *spatial)``, uint8 or float32 in [0, 1].
        labels: the split's labels, ``(N,)`` or ``(N, decisions)``, integers.
        margins: computes ``region_margins``, in other processes as it may be.

    Returns:
        Outcomes for all rows; a certificate that is refused has a reason, and so has a folder.

    Raises:
        CertificateError: the folder has no claims, or they cannot be read.
        DataError: the images are not images.
    """
    return _checked(read_claims(folder), reader_of(folder), images, labels, margins)


def check_files(
    read: Reader,
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    margins: Margins | None = None,
) -> CheckResult:
    """``check_folder`` for files that lie elsewhere than in a folder."""
    return _checked(Claims.from_bytes(read(CLAIMS_FILE)), read, images, labels, margins)


def _checked(
    claims: Claims,
    read: Reader,
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    margins: Margins | None,
) -> CheckResult:
    """Check every certificate that the claims name."""
    refuse_unusable_images(images)
    refused: list[str] = []
    try:
        trusted = _artifact(read(ARTIFACT_FILE), claims, images.shape[1:])
    except AsiVerifyError as error:
        return CheckResult(claims, {}, {}, {}, frozenset(), (_shown(error),), frozenset())
    try:
        _compare_data(claims, images, labels)
        claims.family.boxes(images[:1])  # some families are of 8-bit images alone
    except UsageError as error:
        return CheckResult(claims, {}, {}, {}, frozenset(), (_shown(error),), frozenset())
    confirmed = _contradictions(claims, trusted.network.logits, images, labels, refused)
    memorised = memorised_rows(trusted.network, claims.family, images) - confirmed
    if tuple(sorted(memorised)) != claims.memorised:
        refused.append(
            f"the model's local patches memorise {len(memorised)} rows, the claims name others"
        )
    outcomes: dict[int, Outcome] = {}
    reasons: dict[int, str] = {}
    digests: dict[int, str] = {}
    for shard in claims.shards:
        if len(refused) >= MOST_REFUSALS:
            break
        try:
            certificates, parts = _open_shard(read, shard)
        except CertificateError as error:
            refused.append(f"{shard.file}: {_shown(error)}")
            continue
        duplicated = [c.row for c in certificates if c.row in outcomes]
        if duplicated or len({c.row for c in certificates}) < len(certificates):
            refused.append(f"{shard.file}: a row has two certificates")
            continue
        found = check_certificates(trusted, claims, certificates, images, labels, parts, margins)
        for certificate, (outcome, reason) in zip(certificates, found, strict=True):
            outcomes[certificate.row] = outcome
            digests[certificate.row] = certificate.digest
            if outcome is not Outcome.ACCEPTED:
                reasons[certificate.row] = reason
    asked = frozenset(_asked_rows(claims, labels))
    return CheckResult(
        claims,
        outcomes,
        reasons,
        digests,
        asked & confirmed,
        tuple(refused),
        asked,
        memorised=memorised & asked,
    )


def check_certificates(
    trusted: TrustedPass,
    claims: Claims,
    certificates: list[Certificate],
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    parts: dict[str, bytes],
    margins: Margins | None = None,
) -> list[tuple[Outcome, str]]:
    """Check certificates of one artifact, batched; an outcome and a reason for each, in order.

    Args:
        trusted: the trusted pass over the artifact's network.
        claims: what the folder claims; every certificate must be of it.
        certificates: any number of them.
        images: the whole split's images.
        labels: the whole split's labels.
        parts: the shard's binary parts.
        margins: as for ``check_folder``.
    """
    of_regions = margins or region_margins
    found: list[tuple[Outcome, str]] = [(Outcome.REJECTED, "not looked at")] * len(certificates)
    groups: dict[tuple[Property, Way], list[tuple[int, SplitTree | None]]] = defaultdict(list)
    for position, certificate in enumerate(certificates):
        reason = _misfit(certificate, claims, trusted.network.logits, images, labels)
        asked = (
            (Outcome.REJECTED, reason)
            if reason
            else _asked(trusted, claims.family, certificate, parts)
        )
        if isinstance(asked, _Asked):
            groups[certificate.query.property_, asked.way].append((position, asked.tree))
        else:
            found[position] = asked
    for (property_, way), members in groups.items():
        positions = [position for position, _ in members]
        asked_of = images[[certificates[position].row for position in positions]]
        trees = [tree for _, tree in members if tree is not None]
        found_of = of_regions(trusted, claims.family, asked_of, property_, way, trees)
        for position, margin in zip(positions, found_of, strict=True):
            if margin > 0:
                found[position] = (Outcome.ACCEPTED, "")
            else:
                reason = f"the bound does not close: the smallest margin is only above {margin:g}"
                found[position] = (Outcome.REJECTED, reason)
    return found


Way = IntervalEvidence | LinearEvidence | EnumerationEvidence | GridEvidence | Intermediate
"""Which pass to make; for a split tree, how the bounds over its whole region are obtained."""


def region_margins(
    trusted: TrustedPass,
    family: RegionFamily,
    images: npt.NDArray[Any],
    property_: Property,
    way: Way,
    trees: Sequence[SplitTree],
) -> npt.NDArray[np.float64]:
    """A lower bound on the property's rows, taken together, over each image's region.

    Args:
        trusted: the trusted pass over the artifact's network.
        family: of the regions.
        images: their centres, shape ``(B, C, *spatial)``.
        property_: one for all of them.
        way: which pass to make.
        trees: one for each image where that is of split trees; none otherwise.

    Returns:
        Shape ``(B,)``; the property is proved of an image where it is above 0. Never NaN.
    """
    match way:
        case EnumerationEvidence() | GridEvidence():
            return np.array([divided_margin(trusted, family, i, property_, way) for i in images])
        case Intermediate():
            box, reach = family.boxes(images), family.reach(images)
            return tree_margins(trusted, box, property_, way, trees, reach)
        case _:
            return trusted.margins(family.boxes(images), property_, way, family.reach(images))


Margins = Callable[..., npt.NDArray[np.float64]]
"""``region_margins``, or whatever computes the same."""


class _Asked(NamedTuple):
    """What a certificate asks of the trusted pass."""

    way: Way
    tree: SplitTree | None = None


def _asked(
    trusted: TrustedPass,
    family: RegionFamily,
    certificate: Certificate,
    parts: dict[str, bytes],
) -> _Asked | tuple[Outcome, str]:
    part = part_of(certificate.evidence)
    if part is not None and part not in parts:
        return Outcome.REJECTED, f"the part {part} that it names is missing"
    match certificate.evidence:
        case SolverEvidence(solver=solver, version=version):
            return Outcome.DELEGATED, f"the word of {solver} {version}"
        case TreeEvidence(intermediate=intermediate, tree=name):
            try:
                tree = SplitTree.from_bytes(parts[name])
                require_tree(trusted, certificate.query.property_, tree)
            except CertificateError as error:
                return Outcome.REJECTED, str(error)
            return _Asked(intermediate, tree)
        case EnumerationEvidence() | GridEvidence() as evidence:
            try:
                require_enumerable(family, evidence, trusted.network.input_shape)
            except CertificateError as error:
                return Outcome.REJECTED, str(error)
            return _Asked(evidence)
        case evidence:
            return _Asked(evidence)


def _shown(error: AsiVerifyError) -> str:
    """The reason, cut: files can hold names of any length."""
    return str(error)[:LONGEST_REASON]


def reader_of(folder: str | Path) -> Reader:
    """Gives the plain files of a folder; each may have so many bytes as its kind is allowed."""

    def read(name: str) -> bytes:
        return _read_plain_file(Path(folder) / name, _LARGEST[Path(name).suffix])

    return read


_LARGEST = {
    ".json": LARGEST_CLAIMS,
    ".onnx": LARGEST_ARTIFACT,
    ".jsonl": LARGEST_SHARD,
    ".bin": LARGEST_CONTAINER,
    ".vnnlib": LARGEST_VNNLIB,
}
"""How many bytes a file of a folder may have, by the end of its name."""


def _read_plain_file(path: Path, largest: int) -> bytes:
    """The bytes of a file that lies in the folder itself.

    Links are not followed: they could lead anywhere. Opening does not wait, as it would for a pipe,
    and what is looked at is what was opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _NO_LINKS_NO_WAITING)
    except OSError as error:
        raise CertificateError(
            f"{path}: there is no such file ({error.strerror}); is this a certificate folder?"
        ) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise CertificateError(f"{path}: not a plain file")
        if found.st_size > largest:
            raise CertificateError(f"{path}: {found.st_size} bytes; {largest} are allowed")
        with os.fdopen(handle, "rb", closefd=False) as file:
            # Not more than it had, should it grow meanwhile.
            return file.read(found.st_size)
    finally:
        os.close(handle)


# Windows has neither flag, nor the files that they are for.
_NO_LINKS_NO_WAITING = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)


def _artifact(data: bytes, claims: Claims, shape: tuple[int, ...]) -> TrustedPass:
    if bytes_digest(data) != claims.artifact:
        raise CertificateError(
            f"{ARTIFACT_FILE} has the digest {bytes_digest(data)}, the claims are about the model "
            f"{claims.artifact}: this is another model"
        )
    try:
        network = read_network(data)
    except ModelError as error:
        raise ModelError(f"{ARTIFACT_FILE}: {error}") from None
    if network.input_shape != shape:
        raise ModelError(f"the model reads images of shape {network.input_shape}, not {shape}")
    if network.logits > MOST_LOGITS:
        raise ModelError(f"the model has {network.logits} logits; {MOST_LOGITS} are supported")
    return TrustedPass(network, claims.semantics)


def _compare_data(claims: Claims, images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    claimed = claims.dataset
    if len(images) != len(labels):
        raise CertificateError(f"{len(images)} images, but {len(labels)} labels")
    same = (
        len(images) == claimed.samples
        and array_digest(images) == claimed.images
        and array_digest(labels.astype(np.int64)) == claimed.labels
    )
    if not same:
        raise CertificateError(
            f"these images and labels are not those of {claimed.name} ({claimed.split}) that the "
            "claims are about: this is another data set"
        )
    if claims.never_miss is not None and labels.ndim != 1:
        raise CertificateError("classes are named, but a sample has several labels")


def _asked_rows(claims: Claims, labels: npt.NDArray[Any]) -> list[int]:
    """The rows that have to have a certificate, by the labels themselves."""
    only = claims.never_miss
    asked = np.ones(len(labels), dtype=np.bool_) if only is None else only.named(labels)
    rows: list[int] = np.flatnonzero(asked).tolist()
    return rows


def _meet(claims: Claims, images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> bool:
    """Whether the regions of some samples meet, each of the size that is claimed for it."""
    if claims.never_miss is None:
        return claims.family.meeting_point(images) is not None
    return claims.never_miss.meeting_point(images, labels) is not None


def _contradictions(
    claims: Claims,
    logits: int,
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    refused: list[str],
) -> set[int]:
    confirmed: set[int] = set()
    if claims.dataset.target == "prediction" and claims.contradictions:
        refused.append("labels may contradict each other, a model's own predictions do not")
        return confirmed
    for first, second in claims.contradictions:
        if len(refused) >= MOST_REFUSALS:
            break
        if second >= len(images):
            refused.append(f"the contradiction {first}, {second} names a row that does not exist")
            continue
        try:
            wanted = [property_for(labels[row], logits) for row in (first, second)]
        except UsageError as error:
            refused.append(f"the contradiction {first}, {second}: {error}")
            continue
        pair = [first, second]
        if not exclude_each_other(*wanted) or not _meet(claims, images[pair], labels[pair]):
            refused.append(f"rows {first} and {second} do not contradict each other")
            continue
        confirmed |= {first, second}
    return confirmed


def _open_shard(read: Reader, shard: Shard) -> tuple[list[Certificate], dict[str, bytes]]:
    data = read(shard.file)
    if bytes_digest(data) != shard.sha256:
        raise CertificateError("its bytes are not those that the claims name")
    # Counted first: a file of nothing but ends of lines would be a long list.
    count = data.count(b"\n")
    if (data and not data.endswith(b"\n")) or count != shard.certificates:
        raise CertificateError(f"{count} whole lines, {shard.certificates} claimed")
    lines = data.split(b"\n")[:-1]
    parts: dict[str, bytes] = {}
    if shard.container is not None:
        name, digest = shard.container
        packed = read(name)
        if bytes_digest(packed) != digest:
            raise CertificateError(f"the bytes of {name} are not those that the claims name")
        parts = unpack(packed)
    # Provenance proves nothing, and may be large.
    return [replace(Certificate.from_bytes(line), provenance={}) for line in lines], parts


_DIFFERENT = {
    "artifact": "it is about another model",
    "region": "it is about another kind of region, or its centre is another image",
    "property_": "the property is not that of the sample's label",
    "semantics": "it is about other semantics",
}
"""What it means when a field of a certificate's query is not the one that the claims ask for."""


def _misfit(
    certificate: Certificate,
    claims: Claims,
    logits: int,
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
) -> str:
    """Why a certificate is not one of the claimed kind; empty if it is."""
    row, query = certificate.row, certificate.query
    if row >= len(images):
        return f"row {row} does not exist"
    if claims.never_miss is not None and not claims.never_miss.named(labels[row]):
        return "its label is none of those that the claims name"
    if query.property_.logits != logits:
        return f"the property speaks of {query.property_.logits} logits, the model has {logits}"
    try:
        of_label = property_for(labels[row], logits)
    except UsageError as error:
        return str(error)
    if type(query.property_) is not type(of_label):
        # About predictions too: the signs of logits do not say which of them is the largest.
        return _DIFFERENT["property_"]
    wanted = Query(
        claims.artifact,
        Region(claims.family, array_digest(images[row])),
        of_label if claims.dataset.target == "label" else query.property_,
        claims.semantics,
    )
    differences = (
        reason
        for name, reason in _DIFFERENT.items()
        if getattr(query, name) != getattr(wanted, name)
    )
    return next(differences, "")
