"""Canonical JSON and digests: one value, one byte string, one name.

Canonical JSON is RFC 8785 restricted to what this project stores: objects with ASCII keys, arrays,
strings, booleans, null, and integers that a double holds exactly. Floats are refused; a float that
has to be kept is stored exactly, as ``float.hex()`` text or in a binary container.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["array_digest", "bytes_digest", "canonical_json", "digest"]

# RFC 8785 (section 3.2.2.3) serialises numbers as ECMAScript doubles: integers beyond this bound
# would not survive a reader that uses doubles.
_LARGEST_INTEGER = 2**53 - 1


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 form of a value, as UTF-8 bytes.

    Raises:
        TypeError: a float, a key that is not an ASCII string, or a type that JSON does not have.
        ValueError: an integer outside +-(2**53 - 1), or a string with a lone surrogate.
    """
    _refuse_what_is_not_canonical(value)
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def _refuse_what_is_not_canonical(value: Any) -> None:
    if value is None or isinstance(value, bool | str):
        return
    if isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise ValueError(f"the integer {value} is beyond 2**53 - 1; store it as text")
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise TypeError(f"the object key {key!r} is not an ASCII string")
            _refuse_what_is_not_canonical(item)
        return
    if isinstance(value, list | tuple):
        for item in value:
            _refuse_what_is_not_canonical(item)
        return
    raise TypeError(f"{value!r} of type {type(value).__name__} has no canonical JSON form")


def bytes_digest(data: bytes) -> str:
    """The SHA-256 of a byte string, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return bytes_digest(canonical_json(value))


def array_digest(array: npt.NDArray[Any]) -> str:
    """The SHA-256 of an array: its dtype, its shape and its values, whatever its memory layout.

    Little-endian C-order bytes are hashed behind a header, so an array of another dtype or shape
    with the same bytes has another digest.
    """
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    header = canonical_json({"dtype": little.dtype.str, "shape": list(array.shape)})
    return bytes_digest(b"array\x00" + header + b"\x00" + little.tobytes())
