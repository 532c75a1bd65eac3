"""The readiness certificate of a data set, as a run takes it along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asi_verify.data import Dataset
from asi_verify.errors import CertificateError, UsageError
from asi_verify.store import RunFolder

if TYPE_CHECKING:
    from asi_verify.audit import Readiness

__all__ = ["note_readiness", "readiness_of", "readiness_settings"]


def readiness_of(given: Readiness | str | Path | None, data: Dataset) -> Readiness | None:
    """The readiness certificate that is meant, which is about this data set.

    Raises:
        CertificateError: it cannot be read.
        DataError: it is about other data.
    """
    from asi_verify.audit import Readiness

    if given is None:
        return None
    if not isinstance(given, Readiness | str | Path):
        raise UsageError(
            f"readiness: {type(given).__name__} is not understood; give what audit_dataset "
            "returned, or the path of its file"
        )
    found = given if isinstance(given, Readiness) else _readiness_at(Path(given))
    found.require_data(data)
    return found


def _readiness_at(path: Path) -> Readiness:
    from asi_verify.audit import Readiness

    try:
        return Readiness.from_bytes(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"readiness: {path} cannot be read: {error.strerror}") from None
    except CertificateError as error:
        raise CertificateError(
            f"readiness: {path}: {error}; give the file that audit_dataset wrote, unaltered"
        ) from None


def readiness_settings(ready: Readiness | None) -> dict[str, str]:
    """What a run folder notes of the readiness certificate; nothing if there is none."""
    return {} if ready is None else {"readiness": ready.digest}


def note_readiness(ready: Readiness | None, folder: RunFolder) -> None:
    """Keep the readiness certificate with the run, unless that was done."""
    from asi_verify.audit import READINESS_FILE

    if ready is not None and folder.files.read(READINESS_FILE) is None:
        folder.events.add("readiness", digest=ready.digest)
        folder.files.write(READINESS_FILE, ready.to_bytes())
