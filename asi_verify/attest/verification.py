"""Verifying a run folder: the statement against the files, the signature against a key.

This is about whether files are those that were stated and signed. It derives no bound: that the
certificates hold is what the checker is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asi_verify.attest.envelope import (
    ENVELOPE_FILE,
    LARGEST_ENVELOPE,
    PAYLOAD_TYPE,
    Envelope,
    pae,
)
from asi_verify.attest.keys import KeyLike, key_id, public_key, verifies
from asi_verify.attest.reading import bounded_reader, read_bounded, same_json
from asi_verify.attest.run_files import RunFiles
from asi_verify.attest.statement import (
    PREDICATE_TYPE,
    STATEMENT_FILE,
    STATEMENT_TYPE,
    statement_of,
)
from asi_verify.core.certificate import parse_json
from asi_verify.errors import AttestationError, RunFolderError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["Signature", "Verification", "statement_bytes", "verify"]

_LARGEST_STATEMENT = 1 << 20

_NEVER_LOOKED_AT = (
    "the bounds: 'asi-verify check' derives them again from the certificates and the data set",
    "the data set itself: only its digests in statement and claims were compared",
    "other files of the folder, such as the report, the bug log and the rounds",
)


class Signature(Enum):
    """What is known of the statement's signature."""

    NONE = "unsigned"
    """There is no envelope: anybody can have written the statement."""

    NOT_VERIFIED = "not verified"
    """There is an envelope, and no key was given to verify it with."""

    VERIFIED = "verified"
    """The given key signed exactly this statement."""

    REFUSED = "refused"
    """The envelope cannot be read, is about another statement, or is not signed by the key."""


@dataclass(frozen=True)
class Verification:
    """What was verified of a folder, what was not looked at, and what does not hold.

    Attributes:
        verified: in words, what holds.
        unverified: what was not looked at, and by what it can be.
        refused: why something does not hold; empty if everything that was looked at does.
        signature: what is known of the signature.
        statement: the statement, as it stands in the folder; None if it cannot be read.
    """

    verified: tuple[str, ...]
    unverified: tuple[str, ...]
    refused: tuple[str, ...]
    signature: Signature
    statement: dict[str, Any] | None

    @property
    def holds(self) -> bool:
        """Whether everything that was looked at holds; true of an unsigned statement too."""
        return not self.refused


def statement_bytes(folder: Path) -> bytes:
    """The bytes of a folder's statement.

    Raises:
        RunFolderError: there is none.
        AttestationError: it cannot be read, or is too large.
    """
    if not (folder / STATEMENT_FILE).is_file():
        raise RunFolderError(
            f"{folder}: no {STATEMENT_FILE}; give the folder of a run, and start the run again if "
            "it is not finished"
        )
    return read_bounded(folder / STATEMENT_FILE, _LARGEST_STATEMENT)


def verify(folder: str | Path, key: KeyLike | None = None) -> Verification:
    """Compare a run's statement with its files, and its signature with a key.

    Args:
        folder: the run folder.
        key: a public Ed25519 key in PEM, by its path or its content; without one a signature is
            not verified. With one, a statement that this key did not sign is refused.

    Raises:
        RunFolderError: the folder has no statement.
        AttestationError: the key cannot be used.

    What is not promised: that the certificates hold, which ``check`` derives again; that the data
    set is the one named, which ``check`` reads; who holds the key; that times are right. Without a
    key nothing shows who wrote the folder: whoever can write all of its files can make them fit.
    """
    place = Path(folder)
    payload = statement_bytes(place)
    wanted = None if key is None else public_key(key)
    verified: list[str] = []
    refused: list[str] = []
    unverified = list(_NEVER_LOOKED_AT)
    statement = None
    try:
        statement = _parse(payload)
    except UsageError as error:
        refused.append(str(error))
    else:
        _compare_files(statement, RunFiles(bounded_reader(place)), verified, refused)
    try:
        signature = _signature(place, payload, wanted)
    except AttestationError as error:
        refused.append(str(error))
        there = os.path.lexists(place / ENVELOPE_FILE)
        signature = Signature.REFUSED if there else Signature.NONE
    if signature is Signature.NONE:
        unverified.insert(0, "who states it: the statement is unsigned")
    if signature is Signature.NOT_VERIFIED:
        unverified.insert(0, "the signature: there is one, and no key was given")
    if signature is Signature.VERIFIED and wanted is not None:
        verified.append(f"the signature: by the key {key_id(wanted)}")
    return Verification(
        tuple(verified), tuple(unverified), tuple(dict.fromkeys(refused)), signature, statement
    )


def _signature(folder: Path, payload: bytes, key: Ed25519PublicKey | None) -> Signature:
    """What is known of the signature; an ``AttestationError`` if it does not hold."""
    if not os.path.lexists(folder / ENVELOPE_FILE):
        if key is not None:
            raise AttestationError(f"the statement is unsigned: there is no {ENVELOPE_FILE}")
        return Signature.NONE
    envelope = Envelope.from_bytes(read_bounded(folder / ENVELOPE_FILE, LARGEST_ENVELOPE))
    # The bytes that were signed are the bytes that were compared with the files.
    if envelope.payload != payload:
        raise AttestationError(f"{ENVELOPE_FILE}: it is about another statement")
    if key is None:
        return Signature.NOT_VERIFIED
    message = pae(PAYLOAD_TYPE, payload)
    if any(verifies(key, signed.signature, message) for signed in envelope.signatures):
        return Signature.VERIFIED
    raise AttestationError(
        f"{ENVELOPE_FILE}: none of its signatures is one of the given key ({key_id(key)}) over "
        "this statement"
    )


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        value = parse_json(payload, longest=_LARGEST_STATEMENT)
    except UsageError as error:
        raise AttestationError(f"{STATEMENT_FILE}: {error}") from None
    match value:
        case {"_type": str(kind), "predicateType": str(predicate), "predicate": dict(), **rest}:
            pass
        case _:
            raise AttestationError(f"{STATEMENT_FILE}: not an in-toto statement")
    if (kind, predicate) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise AttestationError(
            f"{STATEMENT_FILE}: of the types {kind!r} and {predicate!r}; {STATEMENT_TYPE!r} and "
            f"{PREDICATE_TYPE!r} are expected"
        )
    match rest:
        case {"subject": [*subjects]} if all(map(_is_named, subjects)):
            return dict(value)
    raise AttestationError(f"{STATEMENT_FILE}: its subject is not a list of objects with names")


def _is_named(subject: Any) -> bool:
    return isinstance(subject, dict) and isinstance(subject.get("name"), str)


def _compare_files(
    statement: dict[str, Any], run: RunFiles, verified: list[str], refused: list[str]
) -> None:
    """Make every part of the statement again from the files, and compare."""
    parts: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("the model", run.model),
        ("the claims and every file of certificates that they name", run.certificates),
        ("the figures of the result", run.result),
        ("the digest of the images, as in the claims", run.images),
        ("the digest of the labels, as in the claims", run.labels),
        ("the event log: every line, the settings it begins with, the result it ends with",
         run.events),
    ]  # fmt: skip
    try:
        if run.asks_for_classes():
            words = "the same of the classes that must never be missed"
            parts.insert(2, (words, run.named_certificates))
    except UsageError as error:
        refused.append(str(error))
    stated = {subject.get("name"): subject for subject in statement["subject"]}
    subjects = []
    for words, part in parts:
        try:
            made = part()
            subjects.append(made)
            _compare_subject(stated.get(made["name"]), made)
        except UsageError as error:
            refused.append(str(error))
        else:
            verified.append(words)
    try:
        predicate = run.predicate()
        _compare_predicate(statement["predicate"], predicate)
    except UsageError as error:
        refused.append(str(error))
    else:
        verified.append("what is stated: status, counts, region, semantics, target, versions")
    # Last, and over everything: what was not compared above is not allowed to be there.
    if not refused and not same_json(statement, statement_of(subjects, predicate)):
        refused.append(f"{STATEMENT_FILE}: it holds more than the files give")


def _compare_subject(stated: dict[str, Any] | None, made: dict[str, Any]) -> None:
    if stated is None:
        raise AttestationError(f"{STATEMENT_FILE}: it does not name {made['name']}")
    if not same_json(stated.get("digest"), made["digest"]):
        raise AttestationError(
            f"{made['name']}: its digest is {made['digest']['sha256']}, the statement says "
            f"{stated.get('digest')!r}: one of the two was changed"
        )
    if not same_json(stated, made):
        raise AttestationError(f"{STATEMENT_FILE}: of {made['name']} it says {stated!r}")


def _compare_predicate(stated: dict[str, Any], made: dict[str, Any]) -> None:
    for field, value in made.items():
        if not same_json(stated.get(field), value):
            raise AttestationError(
                f"{STATEMENT_FILE}: {field} is stated as {stated.get(field)!r}, the files give "
                f"{value!r}"
            )
    if set(stated) != set(made):
        more = sorted(set(stated) - set(made))
        raise AttestationError(f"{STATEMENT_FILE}: the predicate has the unknown fields {more}")
