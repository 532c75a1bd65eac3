"""The statement: an in-toto Statement v1 about what a run ended with, in canonical JSON.

Source: the in-toto attestation framework, specification v1, statement and predicate layers.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from asi_verify.attest.run_files import FINISHED, RunFiles
from asi_verify.core.canonical import canonical_json
from asi_verify.store import RunFolder

__all__ = [
    "PREDICATE_TYPE",
    "STATEMENT_FILE",
    "STATEMENT_TYPE",
    "predicate_schema",
    "statement_of",
    "write_statement",
]

STATEMENT_FILE = "statement.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:asi-verify:attestation:1"


def predicate_schema() -> dict[str, Any]:
    """The JSON schema of the predicate."""
    place = resources.files("asi_verify.attest").joinpath("schema/attestation-1.json")
    schema: dict[str, Any] = json.loads(place.read_text("utf-8"))
    return schema


def statement_of(subjects: list[dict[str, Any]], predicate: dict[str, Any]) -> dict[str, Any]:
    """A statement with its fixed fields."""
    return {
        "_type": STATEMENT_TYPE,
        "predicate": predicate,
        "predicateType": PREDICATE_TYPE,
        "subject": subjects,
    }


def write_statement(folder: RunFolder) -> None:
    """Close a finished run: log its end, and write the statement unless there is one.

    Everything but the event log, and the subject that is about it, is a function of the run's
    inputs: times are in no other file that the statement names.

    Args:
        folder: of a finished run, locked.

    Raises:
        UsageError: the run's files do not fit one another; see its subclasses.
    """
    if folder.files.read(STATEMENT_FILE) is not None:
        return
    run = RunFiles(folder.files.require)
    folder.events.add(FINISHED, **run.end())
    subjects = [
        run.model(),
        run.certificates(),
        *([run.named_certificates()] if run.asks_for_classes() else []),
        run.result(),
        run.images(),
        run.labels(),
        run.events(),
    ]
    folder.files.write(STATEMENT_FILE, canonical_json(statement_of(subjects, run.predicate())))
