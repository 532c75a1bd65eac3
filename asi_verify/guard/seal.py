"""Whether a guard's file is as it was made: its last metadata is the digest of all before it.

It finds damage, and files that another program edited, converted or saved anew. It does not find a
forger, who can seal anew; ``Guard.digest`` is there to be compared with what ``guard.json`` names.
"""

from __future__ import annotations

from asi_verify.core.canonical import bytes_digest

__all__ = ["is_sealed", "sealed"]

_DIGITS = 64
_HEAD = b"\x72\x48\x0a\x04seal\x12\x40"
"""Field 14 of ONNX's ``ModelProto`` (metadata), 72 bytes: the key "seal" and a value of 64 bytes.

In protobuf's wire format a repeated field may be continued at the end of a message, so that what
stands before is the message without it.
"""


def sealed(model: bytes) -> bytes:
    """The ONNX file with its digest as one more entry of its metadata."""
    return model + _HEAD + bytes_digest(model).encode()


def is_sealed(file: bytes) -> bool:
    """Whether a file is as ``sealed`` made it."""
    return file == sealed(file[: -len(_HEAD) - _DIGITS])
