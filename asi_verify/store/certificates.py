"""Writing certificate folders: shards, containers and the claims that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from asi_verify.core.canonical import bytes_digest
from asi_verify.core.certificate import Certificate
from asi_verify.core.claims import ARTIFACT_FILE, CLAIMS_FILE, Claims, Shard
from asi_verify.core.container import pack
from asi_verify.core.evidence import part_of
from asi_verify.store.files import Files

__all__ = ["PER_SHARD", "write_certificates"]

PER_SHARD = 1024
"""Certificates in one file: a data set is a few files, and a file is checked in one piece."""


def write_certificates(
    files: Files,
    prefix: str,
    claims: Claims,
    artifact: bytes,
    certificates: Sequence[Certificate],
    parts: Mapping[str, bytes],
) -> Claims:
    """Write an artifact with its certificates; the claims, which name everything, come last.

    Args:
        files: where to.
        prefix: the folder inside, ending in ``/``, or empty.
        claims: what is claimed; its shards are filled in here.
        artifact: the ONNX file.
        certificates: sorted by row.
        parts: binary parts by SHA-256, for the certificates that name them.

    Returns:
        The claims as written.
    """
    files.write(prefix + ARTIFACT_FILE, artifact)
    shards = []
    for number, start in enumerate(range(0, len(certificates), PER_SHARD)):
        some = certificates[start : start + PER_SHARD]
        data = b"".join(certificate.to_bytes() + b"\n" for certificate in some)
        name = f"{number:05d}.jsonl"
        files.write(prefix + name, data)
        container = _write_container(files, prefix, number, some, parts)
        shards.append(Shard(name, bytes_digest(data), len(some), container))
    written = replace(claims, shards=tuple(shards))
    files.write(prefix + CLAIMS_FILE, written.to_bytes())
    return written


def _write_container(
    files: Files,
    prefix: str,
    number: int,
    certificates: Sequence[Certificate],
    parts: Mapping[str, bytes],
) -> tuple[str, str] | None:
    names = {part_of(certificate.evidence) for certificate in certificates}
    needed = {name: parts[name] for name in names if name is not None}
    if not needed:
        return None
    packed = pack(needed)
    name = f"{number:05d}.bin"
    files.write(prefix + name, packed)
    return name, bytes_digest(packed)
