"""Containers: the binary parts of a shard's certificates, each named by its SHA-256.

Layout: the magic ``ASIVBIN1``, the length of the header as 8 little-endian bytes, the header in
canonical JSON (``{sha256: [offset, length], ...}``, offsets from the end of the header), the parts
in the order of their names, one after the other and nothing between or behind them. Nothing is
compressed and nothing overlaps, so nothing can unfold into more than it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from asi_verify.core.canonical import bytes_digest, canonical_json
from asi_verify.core.certificate import parse_json
from asi_verify.core.query import is_digest
from asi_verify.errors import CertificateError

__all__ = ["pack", "unpack"]

_MAGIC = b"ASIVBIN1"
_LENGTH = 8
_LONGEST_HEADER = 1 << 24


def pack(parts: Mapping[str, bytes]) -> bytes:
    """The container of some parts, each under its SHA-256; the same parts give the same bytes."""
    names = sorted(parts)
    offsets, offset = {}, 0
    for name in names:
        offsets[name] = [offset, len(parts[name])]
        offset += len(parts[name])
    header = canonical_json(offsets)
    body = b"".join(parts[name] for name in names)
    return _MAGIC + len(header).to_bytes(_LENGTH, "little") + header + body


def unpack(data: bytes) -> dict[str, bytes]:
    """The parts of a container, each compared with its name.

    Raises:
        CertificateError: it is not a container, a part lies outside it, or is another's.
    """
    start = len(_MAGIC) + _LENGTH
    if len(data) < start or not data.startswith(_MAGIC):
        raise CertificateError("not a container: its first bytes are wrong")
    length = int.from_bytes(data[len(_MAGIC) : start], "little")
    if length > _LONGEST_HEADER or start + length > len(data):
        raise CertificateError(f"the container's header of {length} bytes is longer than the file")
    header = parse_json(data[start : start + length], longest=_LONGEST_HEADER)
    if not isinstance(header, dict):
        raise CertificateError("the container's header is not an object")
    body = memoryview(data)[start + length :]
    parts, end = {}, 0
    for name, place in header.items():  # in the order of the names, as canonical JSON is
        match place:
            case [int(offset), int(size)] if offset == end and size >= 0 and is_digest(name):
                part = bytes(body[offset : offset + size])
            case _:
                raise CertificateError(f"the container's entry {name!r}: {place!r} is not valid")
        if len(part) != size or bytes_digest(part) != name:
            raise CertificateError(f"the container's part {name!r} is missing or another's")
        parts[name] = part
        end += size
    if end != len(body):
        raise CertificateError(f"the container's parts end {len(body) - end} bytes before it does")
    return parts
