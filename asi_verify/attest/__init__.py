"""Attestation: a statement of what a run ended with, its signature, and verifying both."""

from asi_verify.attest.envelope import ENVELOPE_FILE, PAYLOAD_TYPE
from asi_verify.attest.keys import new_key
from asi_verify.attest.signing import sign
from asi_verify.attest.statement import (
    PREDICATE_TYPE,
    STATEMENT_FILE,
    STATEMENT_TYPE,
    predicate_schema,
    write_statement,
)
from asi_verify.attest.verification import Signature, Verification, verify

__all__ = [
    "ENVELOPE_FILE",
    "PAYLOAD_TYPE",
    "PREDICATE_TYPE",
    "STATEMENT_FILE",
    "STATEMENT_TYPE",
    "Signature",
    "Verification",
    "new_key",
    "predicate_schema",
    "sign",
    "verify",
    "write_statement",
]
