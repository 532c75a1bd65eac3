"""The trusted pass and the certificate checker.

Everything that has to be believed is here, in ``core`` and in ``lowering``; it needs numpy, onnx
and the standard library, and runs as ``python -m asi_verify.checker FOLDER``.
"""

from asi_verify.checker.folder import (
    CheckResult,
    Outcome,
    check_certificates,
    check_files,
    check_folder,
    read_claims,
)
from asi_verify.checker.trusted import TrustedPass
from asi_verify.checker.vnnlib import (
    VnnlibCheck,
    check_vnnlib,
    check_vnnlib_files,
    is_vnnlib_folder,
)

__all__ = [
    "CheckResult",
    "Outcome",
    "TrustedPass",
    "VnnlibCheck",
    "check_certificates",
    "check_files",
    "check_folder",
    "check_vnnlib",
    "check_vnnlib_files",
    "is_vnnlib_folder",
    "read_claims",
]
