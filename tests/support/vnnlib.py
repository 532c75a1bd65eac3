"""Small VNN-LIB queries and proof folders, made without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from asi_verify.core.canonical import bytes_digest
from asi_verify.core.container import pack
from asi_verify.core.evidence import Evidence, part_of
from asi_verify.core.semantics import Semantics
from asi_verify.core.vnnlib_proof import CaseProof, VnnlibProof
from asi_verify.errors import CertificateError
from asi_verify.lowering.vnnlib import read_vnnlib

__all__ = ["declared", "proof_files", "reader", "sealed"]


def declared(inputs: int, outputs: int) -> str:
    """The declarations of a file."""
    names = [f"X_{i}" for i in range(inputs)] + [f"Y_{j}" for j in range(outputs)]
    return "".join(f"(declare-const {name} Real)\n" for name in names)


def proof_files(
    artifact: bytes,
    text: str,
    evidence: Sequence[Evidence],
    parts: dict[str, bytes] | None = None,
    semantics: Semantics = Semantics.FLOAT32,
) -> dict[str, bytes]:
    """The files of a proof folder, true or not."""
    asked = read_vnnlib(text.encode())
    proof = VnnlibProof(
        bytes_digest(artifact),
        bytes_digest(text.encode()),
        semantics,
        tuple(CaseProof(asked.digest(case), one) for case, one in enumerate(evidence)),
        None,
        {"made": "by a test"},
    )
    files = {"artifact.onnx": artifact, "property.vnnlib": text.encode()}
    named = {part_of(one) for one in evidence} - {None}
    if named:
        files["proof.bin"] = pack({name: (parts or {})[name] for name in named})
    return sealed({**files, "proof.json": proof.to_bytes()})


def sealed(files: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    """The files with the digests that belong to them, and some fields of the proof changed."""
    proof = VnnlibProof.from_bytes(files["proof.json"])
    container = bytes_digest(files["proof.bin"]) if "proof.bin" in files else None
    fields = {
        **vars(proof),
        "artifact": bytes_digest(files["artifact.onnx"]),
        "property_": bytes_digest(files["property.vnnlib"]),
        "container": container,
        **changes,
    }
    return {**files, "proof.json": VnnlibProof(**fields).to_bytes()}


def reader(files: dict[str, bytes]) -> Callable[[str], bytes]:
    """Gives the files by name, as a folder would."""

    def read(name: str) -> bytes:
        if name not in files:
            raise CertificateError(f"{name}: there is no such file")
        return files[name]

    return read
