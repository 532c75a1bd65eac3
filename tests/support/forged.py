"""A finished folder made to say more than is true, with every digest made to fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from asi_verify.attest import STATEMENT_FILE, write_statement
from asi_verify.core.canonical import array_digest
from asi_verify.core.certificate import Certificate
from asi_verify.core.claims import Claims
from asi_verify.core.evidence import Evidence, IntervalEvidence
from asi_verify.core.properties import property_for
from asi_verify.core.query import Query
from asi_verify.core.region import Region
from asi_verify.data import load_dataset
from asi_verify.store import FolderFiles, RunFolder, write_certificates


def forge(
    place: Path, evidence: Evidence | None = None, parts: dict[str, bytes] | None = None
) -> None:
    """Give every sample outside the contradictions a certificate, true or not, and state it."""
    claims = Claims.from_bytes((place / "certificates" / "claims.json").read_bytes())
    data = load_dataset(place.parent / "data.npz")
    samples = data.split("train")
    aside = {row for pair in claims.contradictions for row in pair}
    certificates = [
        Certificate(
            row,
            Query(
                claims.artifact,
                Region(claims.family, array_digest(samples.images[row])),
                property_for(samples.labels[row], len(data.classes)),
                claims.semantics,
            ),
            IntervalEvidence() if evidence is None else evidence,
        )
        for row in range(len(samples))
        if row not in aside
    ]
    artifact = (place / "certificates" / "artifact.onnx").read_bytes()
    write_certificates(
        FolderFiles(place),
        "certificates/",
        replace(claims, shards=()),
        artifact,
        certificates,
        parts or {},
    )
    result = json.loads((place / "result.json").read_bytes())
    result |= {"accepted": len(certificates), "open": 0}
    (place / "result.json").write_text(json.dumps(result))
    (place / STATEMENT_FILE).unlink()
    write_statement(RunFolder.open(place))
