"""Ed25519 keys in PEM files: made, read, used. The only file that imports ``cryptography``."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from asi_verify.attest.reading import read_bounded
from asi_verify.core.canonical import bytes_digest
from asi_verify.errors import AttestationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

__all__ = ["KeyLike", "key_id", "new_key", "private_key", "public_key", "verifies"]

KeyLike = str | Path | bytes
"""A key: the path of a PEM file, or its content."""

_LARGEST_KEY = 1 << 16


def new_key(path: str | Path) -> Path:
    """Make a key pair: the private key at a path, for its owner alone, the public one beside it.

    Args:
        path: of the private key, ``KEY.pem``; PKCS #8, without a passphrase, mode 0600.

    Returns:
        The path of the public key, ``KEY.public.pem``.

    Raises:
        AttestationError: one of the two files is there already, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Path(path)
    public = private.with_name(f"{private.stem}.public.pem")
    for place in (private, public):
        if os.path.lexists(place):
            raise AttestationError(f"{place}: there is such a file already; keys are not replaced")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        _write_new(private, secret, 0o600)
        _write_new(public, shown, 0o644)
    except OSError as error:
        raise AttestationError(f"{path}: cannot be written: {error.strerror}") from None
    return public


def _write_new(path: Path, data: bytes, mode: int) -> None:
    # Made with its mode, so that at no moment anybody else could have opened it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def private_key(key: KeyLike) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        AttestationError: it is none, of another kind, encrypted, or others may read its file.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data, name = _content(key)
    _refuse_if_others_read(key)
    try:
        found = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise AttestationError(
            f"{name}: the key is encrypted; decrypt it with 'openssl pkey' first"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise AttestationError(
            f"{name}: not a private key in PEM; {_kind_of(data)}give one from 'openssl genpkey "
            "-algorithm ed25519'"
        ) from None
    if not isinstance(found, Ed25519PrivateKey):
        raise AttestationError(f"{name}: a private key of another kind; Ed25519 is expected")
    return found


def public_key(key: KeyLike) -> Ed25519PublicKey:
    """Read a public key.

    Raises:
        AttestationError: it is none, or of another kind.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data, name = _content(key)
    try:
        found = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise AttestationError(
            f"{name}: not a public key in PEM; {_kind_of(data)}give what 'openssl pkey -pubout' "
            "writes"
        ) from None
    if not isinstance(found, Ed25519PublicKey):
        raise AttestationError(f"{name}: a public key of another kind; Ed25519 is expected")
    return found


def _content(key: KeyLike) -> tuple[bytes, str]:
    if isinstance(key, bytes):
        return key, "the key"
    return read_bounded(Path(key), _LARGEST_KEY), str(key)


def _refuse_if_others_read(key: KeyLike) -> None:
    if isinstance(key, bytes) or os.name != "posix":
        return
    mode = stat.S_IMODE(Path(key).stat().st_mode)
    if mode & 0o077:
        raise AttestationError(
            f"{key}: others may use this private key (mode {mode:04o}); chmod 600 it"
        )


def _kind_of(data: bytes) -> str:
    """What a PEM file says that it holds, if it is a kind that is easily mistaken."""
    for kind in (b"PUBLIC KEY", b"PRIVATE KEY", b"CERTIFICATE"):
        if b"-----BEGIN " in data and kind + b"-----" in data:
            return f"this says {kind.decode()}; "
    return ""


def key_id(key: Ed25519PublicKey) -> str:
    """The SHA-256 of a public key in DER (SubjectPublicKeyInfo)."""
    from cryptography.hazmat.primitives import serialization

    return bytes_digest(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether a signature is this key's over the message."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
