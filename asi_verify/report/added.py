"""Whether a file that was added to a run folder after the run is about what the report is about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from asi_verify.core.canonical import bytes_digest
from asi_verify.store import Files

__all__ = ["Added", "read_added"]


@dataclass(frozen=True)
class Added:
    """A file that a command writes into the folder of a finished run.

    Attributes:
        file: its name in the folder.
        schema: the identifier of its format.
        model: where it says which model it is about, key by key.
        command: what writes it.
        measured: the file beside it that it is about, whose digest it has under ``file``; None
            where it is about none.
    """

    file: str
    schema: str
    model: tuple[str, ...]
    command: str
    measured: str | None = None


def read_added(added: Added, files: Files, model: str, claims: str) -> dict[str, Any] | str | None:
    """What the file holds; in words, why it is not about this model and these claims; or None.

    The claims name the model, the data, the regions and the semantics. Of the same model there can
    be other claims, of another radius; what was found about those is not shown either.

    Args:
        added: which file.
        files: of the run folder.
        model: the artifact's SHA-256.
        claims: the SHA-256 of the file of claims.

    Returns:
        None if there is no such file.
    """
    data = files.read(added.file)
    if data is None:
        return None
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    why = _why_not(found, added, files, model, claims)
    if why is None:
        read: dict[str, Any] = found
        return read
    return f"{why}; 'asi-verify {added.command}' on this folder writes it anew"


def _why_not(found: Any, added: Added, files: Files, model: str, claims: str) -> str | None:
    if not isinstance(found, dict):
        return "it cannot be read"
    about: Any = found
    for key in added.model:
        about = about.get(key) if isinstance(about, dict) else None
    if about != model:
        return f"it is about {f'another model, {str(about)[:12]}' if about else 'no model by name'}"
    if "claims" not in found:
        return "it does not say what claims it is about, so an older version wrote it"
    if found["claims"] != claims:
        return "it is about other claims, of another run with this model"
    if found.get("schema") != added.schema:
        return f"it is not of the format {added.schema}"
    if added.measured is not None:
        measured = files.read(added.measured)
        if measured is None or bytes_digest(measured) != found.get("file"):
            return f"the file {added.measured} is another one than it is about"
    return None
