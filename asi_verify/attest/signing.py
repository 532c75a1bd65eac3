"""Signing a run's statement."""

from __future__ import annotations

from pathlib import Path

from asi_verify.attest.envelope import (
    ENVELOPE_FILE,
    LARGEST_ENVELOPE,
    PAYLOAD_TYPE,
    Envelope,
    Signed,
    pae,
)
from asi_verify.attest.keys import KeyLike, key_id, private_key
from asi_verify.attest.reading import read_bounded
from asi_verify.attest.verification import statement_bytes, verify
from asi_verify.errors import AttestationError
from asi_verify.store import FolderFiles

__all__ = ["sign"]


def sign(folder: str | Path, key: KeyLike) -> Path:
    """Sign the statement of a finished run, whose files have to fit it.

    The signature is over the statement's bytes, and so over the digests of everything that it
    names. Signatures of other keys that are there stay; a key signs once.

    Args:
        folder: the run folder.
        key: a private Ed25519 key in PEM, by its path or its content.

    Returns:
        The path of the envelope.

    Raises:
        RunFolderError: the folder has no statement.
        AttestationError: the key cannot be used, or something in the folder does not hold.
    """
    secret = private_key(key)
    place = Path(folder)
    payload = statement_bytes(place)
    found = verify(place)
    if not found.holds:
        raise AttestationError(f"{folder}: {found.refused[0]}; nothing was signed")
    ours = key_id(secret.public_key())
    others: tuple[Signed, ...] = ()
    envelope = place / ENVELOPE_FILE
    if envelope.exists():
        there = Envelope.from_bytes(read_bounded(envelope, LARGEST_ENVELOPE))
        others = tuple(signed for signed in there.signatures if signed.key_id != ours)
    made = Signed(ours, secret.sign(pae(PAYLOAD_TYPE, payload)))
    FolderFiles(place).write(ENVELOPE_FILE, Envelope(payload, (*others, made)).to_bytes())
    return envelope
