"""DSSE envelopes: a statement with signatures over its bytes and their type.

Source: Dead Simple Signing Envelope v1.0.2 (protocol and envelope), as the in-toto attestation
framework v1 asks for it. A signature covers ``PAE(payloadType, payload)``, so bytes that were
signed as one type never pass for another, and nothing has to be parsed before it is verified.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from asi_verify.attest.reading import read_json
from asi_verify.core.canonical import canonical_json
from asi_verify.errors import AttestationError

__all__ = ["ENVELOPE_FILE", "LARGEST_ENVELOPE", "PAYLOAD_TYPE", "Envelope", "Signed", "pae"]

ENVELOPE_FILE = "statement.dsse.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
LARGEST_ENVELOPE = 1 << 22

_MOST_SIGNATURES = 64


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: ``DSSEv1 LEN type LEN payload``, lengths in bytes."""
    parts = [b"DSSEv1"]
    for part in (payload_type.encode(), payload):
        parts += [str(len(part)).encode(), part]
    return b" ".join(parts)


@dataclass(frozen=True)
class Signed:
    """One signature.

    Attributes:
        key_id: a hint which key made it; not covered by the signature, and believed by nobody.
        signature: its bytes.
    """

    key_id: str
    signature: bytes


@dataclass(frozen=True)
class Envelope:
    """A payload of type ``PAYLOAD_TYPE`` with signatures.

    Attributes:
        payload: the statement's bytes.
        signatures: one or more.
    """

    payload: bytes
    signatures: tuple[Signed, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"keyid": s.key_id, "sig": base64.b64encode(s.signature).decode()}
                    for s in self.signatures
                ],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Envelope:
        """Read an envelope, of this library or another's; everything in it is untrusted.

        As the specification asks, unknown fields are ignored, ``keyid`` may be missing, and base64
        may be the usual one or that for URLs.

        Raises:
            AttestationError: it is not an envelope, or one of another type of payload.
        """
        value = read_json(data, ENVELOPE_FILE)
        match value:
            case {"payload": str(text), "payloadType": str(kind), "signatures": [*signatures]}:
                pass
            case _:
                raise AttestationError(
                    f"{ENVELOPE_FILE}: an envelope has payload, payloadType and signatures; this "
                    "has not"
                )
        if kind != PAYLOAD_TYPE:
            raise AttestationError(
                f"{ENVELOPE_FILE}: the payloadType is {kind!r}, not {PAYLOAD_TYPE!r}"
            )
        if not 0 < len(signatures) <= _MOST_SIGNATURES:
            raise AttestationError(
                f"{ENVELOPE_FILE}: {len(signatures)} signatures; 1 to {_MOST_SIGNATURES} are "
                "expected"
            )
        return cls(_decode(text), tuple(_signed(signature) for signature in signatures))


def _signed(value: Any) -> Signed:
    match value:
        case {"sig": str(text), "keyid": str(key_id)} if key_id.isascii():
            return Signed(key_id, _decode(text))
        case {"sig": str(text)} if "keyid" not in value:
            return Signed("", _decode(text))
    raise AttestationError(f"{ENVELOPE_FILE}: a signature has a text sig and maybe an ASCII keyid")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        raise AttestationError(f"{ENVELOPE_FILE}: {text[:20]!r}... is not base64") from None
