"""The error tree: every error says what is wrong, which value was met, and what to do next.

``AsiVerifyError`` is the base of all of them. ``UsageError`` and its children are the caller's to
mend (the command line exits with code 2 and prints their one line); ``SoundnessAlarm`` is ours.
"""

from __future__ import annotations

__all__ = [
    "AsiVerifyError",
    "AttestationError",
    "CertificateError",
    "ChecksumError",
    "DataError",
    "DataNotFoundError",
    "EngineFailedError",
    "EngineUnavailableError",
    "ModelError",
    "ParityError",
    "PropertyError",
    "RadiusError",
    "RunFolderError",
    "SoundnessAlarm",
    "UnsupportedOperatorError",
    "UsageError",
]


class AsiVerifyError(Exception):
    """Base of every error that this library raises on purpose."""


class UsageError(AsiVerifyError, ValueError):
    """Something that was passed in cannot be used; the message names it and the remedy."""


class RadiusError(UsageError):
    """A radius is not a number, is negative, or is so large that nothing could be certified."""


class DataError(UsageError):
    """A data set has wrong shapes, wrong labels, values out of range, or cannot be read."""


class DataNotFoundError(DataError):
    """A data set's file is in none of the places looked at, and could not be downloaded."""


class ChecksumError(DataError):
    """A file's bytes are not those of the published file: delete it and fetch it again."""


class ModelError(UsageError):
    """A model cannot be read, or its input or output does not fit the data set."""


class UnsupportedOperatorError(ModelError):
    """A model uses an operator, or a setting of one, that has no trusted rule."""


class ParityError(ModelError):
    """Two forms of one model (torch, ONNX Runtime, Network, bounded module) disagree."""


class PropertyError(UsageError):
    """A VNN-LIB file cannot be read, asks what is not supported, or does not fit the model."""


class CertificateError(UsageError):
    """A certificate, or a folder of them, is not in the published format."""


class RunFolderError(UsageError):
    """A run folder belongs to another run, is incomplete, or is in use."""


class AttestationError(UsageError):
    """A statement, an envelope or a key cannot be used, or does not fit the folder."""


class EngineUnavailableError(UsageError):
    """An optional engine was asked for by name and is not installed."""


class EngineFailedError(AsiVerifyError):
    """An engine failed on a query. Nothing was proposed; the trusted pass is asked directly."""


class SoundnessAlarm(AsiVerifyError):  # noqa: N818  an alarm, not a mistake of the caller's
    """Two components that must agree on a proof do not. Never caught, never a verdict."""
