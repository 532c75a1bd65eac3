"""Results: a view of a run folder, on disk or in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from asi_verify.core.bug import Bug
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.claims import ARTIFACT_FILE, CLAIMS_FILE, Claims
from asi_verify.core.status import Status, status_of
from asi_verify.errors import RunFolderError
from asi_verify.store import RunFolder

if TYPE_CHECKING:
    from asi_verify.export import NetworkModule

__all__ = [
    "AUDIT_FILE",
    "CERTIFICATES",
    "GIVEN",
    "RESULT_FILE",
    "Result",
    "load",
]

AUDIT_FILE = "audit.json"
RESULT_FILE = "result.json"
CERTIFICATES = "certificates/"
GIVEN = "rounds/00/"


class Result:
    """What a run found out. Nothing is computed here; everything was written by the run.

    Attributes:
        folder: the run folder behind it.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        summary = folder.read_json(RESULT_FILE)
        if summary is None:
            raise RunFolderError(f"{folder.files}: the run is not finished; start it again")
        self._summary: dict[str, Any] = summary

    @property
    def status(self) -> Status:
        """``zero``, ``zero_except(n)`` or ``open(n)``; with ``m memorised`` where there are any."""
        return status_of(self._summary)

    @property
    def memorised(self) -> list[int]:
        """Rows whose certificate may rest on a local patch, which count as exceptions."""
        return list(self._summary.get("memorised", []))

    @property
    def handed_over(self) -> list[int]:
        """Rows that no corrector could certify, for a guard to abstain on."""
        return list(self._summary.get("handed_over", []))

    @property
    def never_miss(self) -> Status | None:
        """The status of the classes that must never be missed, in their larger regions.

        None if the run was not asked for any.
        """
        found = self._summary.get("never_miss")
        return None if found is None else Status(found["open"], found["contradictions"])

    @property
    def holds(self) -> bool:
        """Whether nothing is open, and something is accepted, in the larger regions too."""
        own = self.status.is_zero and self._summary["accepted"] > 0
        larger = self._summary.get("never_miss")
        return own and (larger is None or (larger["open"] == 0 and larger["accepted"] > 0))

    @property
    def artifact(self) -> bytes:
        """The final ONNX file."""
        return self.folder.files.require(CERTIFICATES + ARTIFACT_FILE)

    @property
    def digest(self) -> str:
        """The SHA-256 of the final ONNX file."""
        return bytes_digest(self.artifact)

    @property
    def model(self) -> NetworkModule:
        """The final model as a torch module, generated from the artifact."""
        from asi_verify.export import Artifact

        return Artifact.from_bytes(self.artifact).module

    @property
    def claims(self) -> Claims:
        """What the certificates claim."""
        name = CERTIFICATES + CLAIMS_FILE
        return Claims.from_bytes(self.folder.files.require(name), f"{self.folder.files}/{name}")

    @property
    def claims_digest(self) -> str:
        """The SHA-256 of the file of claims, which what is found of them names."""
        return bytes_digest(self.folder.files.require(CERTIFICATES + CLAIMS_FILE))

    @property
    def bugs(self) -> list[Bug]:
        """Every logged error with its trace."""
        return self.folder.bugs.bugs()

    @property
    def summary(self) -> dict[str, Any]:
        """The figures: samples, errors, accepted certificates, what is open, accuracies."""
        return dict(self._summary)

    @property
    def audit(self) -> dict[str, Any]:
        """What the audit of the data set found."""
        found: dict[str, Any] = self.folder.read_json(AUDIT_FILE)
        return found

    def save(self, path: str | Path) -> Path:
        """Write everything into a new or empty folder; returns its path.

        Raises:
            RunFolderError: there are other things in it.
        """
        target = RunFolder.at(path)
        self.folder.copy_to(target)
        return Path(path)

    def __repr__(self) -> str:
        return f"<asi_verify result: {self.status}, model {self.digest[:12]}, {self.folder.files}>"


def load(path: str | Path) -> Result:
    """The result of a finished run.

    Raises:
        RunFolderError: it is not a run's folder, or the run is not finished.
    """
    return Result(RunFolder.open(path))
