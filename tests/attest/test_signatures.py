"""Signatures: Ed25519 over a DSSE envelope, in a second implementation's words too."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

import asi_verify as asi
from asi_verify.attest import ENVELOPE_FILE, PAYLOAD_TYPE, STATEMENT_FILE, Signature, new_key
from asi_verify.attest.envelope import Envelope, Signed, pae
from asi_verify.attest.keys import key_id, private_key, public_key
from asi_verify.errors import AttestationError


def envelope(folder):
    return json.loads((folder / ENVELOPE_FILE).read_bytes())


def write(folder, value):
    (folder / ENVELOPE_FILE).write_text(json.dumps(value))


def reasons(folder, key):
    found = asi.verify(folder, key)
    assert not found.holds
    assert found.signature is Signature.REFUSED
    return "\n".join(found.refused)


@pytest.fixture
def key(finished):
    return finished / "ours.public.pem"


def theirs(path):
    """A public key in the second implementation, named as we name it."""
    public = public_key(path)
    return SSlibKey.from_crypto(public, keyid=key_id(public))


# What holds


def test_a_signed_statement_is_verified_with_its_key_alone(signed, key):
    """Without a key it is said not to be verified."""
    found = asi.verify(signed, key)
    assert found.holds
    assert found.signature is Signature.VERIFIED
    assert any(key_id(public_key(key)) in line for line in found.verified)
    found = asi.verify(signed)
    assert found.holds
    assert found.signature is Signature.NOT_VERIFIED
    assert any("no key was given" in line for line in found.unverified)
    assert not any("signature" in line for line in found.verified)


def test_the_signed_bytes_are_those_of_the_statement(signed):
    """The payload is the file, and signing did not change the file."""
    assert base64.b64decode(envelope(signed)["payload"]) == (signed / STATEMENT_FILE).read_bytes()


def test_the_encoding_is_that_of_the_specification():
    """The test vector of DSSE's protocol; lengths are in bytes."""
    vector = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == vector
    assert pae("\u00e9", b"") == b"DSSEv1 2 \xc3\xa9 0 "


@given(st.text(max_size=30), st.binary(max_size=60))
def test_the_encoding_is_that_of_another_implementation(kind, payload):
    """For any type and payload."""
    assert pae(kind, payload) == OtherEnvelope(payload, kind, {}).pae()


def test_another_implementation_verifies_our_envelope(signed, finished):
    """With our key, and not with another one."""
    for name, holds in (("ours", True), ("other", False)):
        found = OtherEnvelope.from_dict(envelope(signed))
        wanted = theirs(finished / f"{name}.public.pem")
        if holds:
            assert found.verify([wanted], 1) == {wanted.keyid: wanted}
        else:
            wanted.keyid = theirs(finished / "ours.public.pem").keyid
            with pytest.raises(VerificationError):
                found.verify([wanted], 1)


def test_we_verify_another_implementations_envelope(run, finished, key):
    """Of the same statement: indented JSON, another key id, unknown fields, base64 for URLs."""
    made = OtherEnvelope((run / STATEMENT_FILE).read_bytes(), PAYLOAD_TYPE, {})
    secret = private_key(finished / "ours.pem")
    made.sign(CryptoSigner(secret, SSlibKey.from_crypto(secret.public_key())))
    value = made.to_dict() | {"more": [1.5, None]}
    value["signatures"][0]["sig"] = (
        value["signatures"][0]["sig"].replace("+", "-").replace("/", "_")
    )
    (run / ENVELOPE_FILE).write_text(json.dumps(value, indent=2))
    assert asi.verify(run, key).signature is Signature.VERIFIED
    del value["signatures"][0]["keyid"]
    write(run, value)
    assert asi.verify(run, key).signature is Signature.VERIFIED


def test_several_keys_can_sign_and_each_signs_once(signed, finished, key):
    """Each verifies by itself; signing again changes nothing."""
    asi.sign(signed, finished / "other.pem")
    assert len(envelope(signed)["signatures"]) == 2
    for name in ("ours", "other"):
        assert asi.verify(signed, finished / f"{name}.public.pem").holds
    before = envelope(signed)
    asi.sign(signed, finished / "other.pem")
    assert envelope(signed) == before
    found = OtherEnvelope.from_dict(envelope(signed))
    both = [theirs(finished / f"{name}.public.pem") for name in ("ours", "other")]
    assert len(found.verify(both, 2)) == 2


def test_keys_can_be_given_as_their_content(run, finished):
    """Such as from a store of secrets."""
    asi.sign(run, (finished / "ours.pem").read_bytes())
    assert asi.verify(run, (finished / "ours.public.pem").read_bytes()).holds


def test_openssl_makes_keys_and_verifies(signed, tmp_path, finished):
    """A third implementation, which everybody has: its keys sign, and it verifies our signature."""
    openssl = shutil.which("openssl")
    assert openssl, "openssl is on every machine that these tests are run on"
    secret, public = tmp_path / "o.pem", tmp_path / "o.public.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", secret], check=True)
    subprocess.run([openssl, "pkey", "-in", secret, "-pubout", "-out", public], check=True)
    asi.sign(signed, secret)
    assert asi.verify(signed, public).holds
    (tmp_path / "message").write_bytes(pae(PAYLOAD_TYPE, (signed / STATEMENT_FILE).read_bytes()))
    signature = envelope(signed)["signatures"][0]["sig"]
    (tmp_path / "signature").write_bytes(base64.b64decode(signature))
    done = subprocess.run(
        [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", finished / "ours.public.pem", "-rawin",
         "-in", tmp_path / "message", "-sigfile", tmp_path / "signature"],
        check=False, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# What does not


def test_the_signature_of_another_key_is_refused(signed, finished):
    """Whatever key id stands beside it."""
    other = finished / "other.public.pem"
    assert "none of its signatures is one of the given key" in reasons(signed, other)
    value = envelope(signed)
    value["signatures"][0]["keyid"] = key_id(public_key(other))
    write(signed, value)
    assert "none of its signatures" in reasons(signed, other)


def test_an_unsigned_statement_is_refused_where_a_key_is_given(run, key):
    """Nothing was signed, so the key did not sign it."""
    found = asi.verify(run, key)
    assert not found.holds
    assert found.signature is Signature.NONE
    assert "unsigned" in found.refused[-1]


def test_an_envelope_about_another_payload_is_refused(signed, finished, key):
    """Also one that the key did sign: with and without a key."""
    payload = (signed / STATEMENT_FILE).read_bytes().replace(b"float32", b"real")
    secret = private_key(finished / "ours.pem")
    made = Signed("", secret.sign(pae(PAYLOAD_TYPE, payload)))
    (signed / ENVELOPE_FILE).write_bytes(Envelope(payload, (made,)).to_bytes())
    assert "about another statement" in reasons(signed, key)
    assert "about another statement" in reasons(signed, None)


def test_a_statement_that_was_changed_after_it_was_signed_is_refused(signed, key):
    """By the files and by the signature."""
    path = signed / STATEMENT_FILE
    path.write_bytes(path.read_bytes().replace(b"float32", b"real"))
    said = reasons(signed, key)
    assert "claim is stated as" in said
    assert "about another statement" in said


@pytest.mark.parametrize(
    "kind", ["application/json", "application/vnd.in-toto+json ", "", None, "text/plain"]
)
def test_another_type_of_payload_is_refused(signed, key, kind):
    """Said in words; a signature over another type is none over this one either."""
    write(signed, envelope(signed) | {"payloadType": kind})
    assert "payloadType" in reasons(signed, key)


def test_a_signature_over_another_type_is_none_over_this_one(run, finished, key):
    """The type is among the signed bytes."""
    payload = (run / STATEMENT_FILE).read_bytes()
    secret = private_key(finished / "ours.pem")
    for message in (pae("application/json", payload), payload):
        made = Envelope(payload, (Signed("", secret.sign(message)),))
        (run / ENVELOPE_FILE).write_bytes(made.to_bytes())
        assert "none of its signatures" in reasons(run, key)


@pytest.mark.parametrize("place", [0, 31, 32, 63])
def test_a_changed_bit_of_a_signature_is_refused(signed, key, place):
    """Anywhere in its 64 bytes; another length too."""
    value = envelope(signed)
    whole = bytearray(base64.b64decode(value["signatures"][0]["sig"]))
    whole[place] ^= 1
    for signature in (whole, whole[:place], whole + b"\0", b""):
        value["signatures"][0]["sig"] = base64.b64encode(bytes(signature)).decode()
        write(signed, value)
        assert "none of its signatures" in reasons(signed, key)


ENVELOPES = {
    "empty": b"",
    "a list": b"[]",
    "deep": b"[" * 1_000_000,
    "no signatures": json.dumps({"payload": "", "payloadType": PAYLOAD_TYPE}).encode(),
    "none of them": json.dumps(
        {"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": []}
    ).encode(),
    "too many": json.dumps(
        {"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": ""}] * 65}
    ).encode(),
    "a signature that is none": json.dumps(
        {"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": ["x"]}
    ).encode(),
    "a key id that is none": json.dumps(
        {"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": "", "keyid": 1}]}
    ).encode(),
    "a key id of half a character": json.dumps(
        {"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": "", "keyid": "\ud800"}]}
    ).encode(),
    "no base64": json.dumps(
        {"payload": "\u00e9", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": ""}]}
    ).encode(),
    "a key twice": b'{"payload":"","payload":"","payloadType":"","signatures":[]}',
    "not text": b"\xff",
}


@pytest.mark.parametrize("name", ENVELOPES)
@pytest.mark.parametrize("with_key", [True, False])
def test_what_is_no_envelope_is_refused(run, key, name, with_key):
    """With a key and without, and nothing is signed beside it."""
    (run / ENVELOPE_FILE).write_bytes(ENVELOPES[name])
    assert ENVELOPE_FILE in reasons(run, key if with_key else None)


def test_an_envelope_that_is_huge_or_leads_nowhere_is_refused(run, key):
    """A file of a terabyte without content; a link to a file that is not there."""
    with (run / ENVELOPE_FILE).open("wb") as file:
        file.truncate(1 << 40)
    assert "larger" in reasons(run, key)
    (run / ENVELOPE_FILE).unlink()
    (run / ENVELOPE_FILE).symlink_to("nowhere")
    assert "no such file" in reasons(run, None)


def test_nothing_is_signed_that_does_not_hold(run, finished):
    """A changed file, a changed log, a broken envelope."""
    (run / "result.json").write_text("{}")
    with pytest.raises(AttestationError, match="nothing was signed"):
        asi.sign(run, finished / "ours.pem")
    assert not (run / ENVELOPE_FILE).exists()


# Keys


def test_a_new_key_is_its_owners_alone_and_replaces_none(tmp_path):
    """Mode 0600 from the first moment; an existing file stays as it is."""
    public = new_key(tmp_path / "key.pem")
    assert public == tmp_path / "key.public.pem"
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    before = (tmp_path / "key.pem").read_bytes()
    with pytest.raises(AttestationError, match="not replaced"):
        new_key(tmp_path / "key.pem")
    assert (tmp_path / "key.pem").read_bytes() == before
    (tmp_path / "key.pem").rename(tmp_path / "kept.pem")
    with pytest.raises(AttestationError, match=r"key\.public\.pem"):
        new_key(tmp_path / "key.pem")
    with pytest.raises(AttestationError, match="cannot be written"):
        new_key(tmp_path / "nowhere" / "key.pem")


def pem(key, encryption=None):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def public_pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


OURS = Ed25519PrivateKey.generate()
OTHERS = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "Ed448": ed448.Ed448PrivateKey.generate(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_keys_of_other_kinds_are_refused(signed, name):
    """Ed25519 and nothing else, private or public."""
    with pytest.raises(AttestationError, match="another kind; Ed25519"):
        asi.sign(signed, pem(OTHERS[name]))
    with pytest.raises(AttestationError, match="another kind; Ed25519"):
        asi.verify(signed, public_pem(OTHERS[name]))


def test_what_is_no_key_is_refused_in_words(signed, tmp_path):
    """The private one for the public one and the other way round, rubbish, a missing file."""
    with pytest.raises(AttestationError, match="this says PRIVATE KEY"):
        asi.verify(signed, pem(OURS))
    with pytest.raises(AttestationError, match="this says PUBLIC KEY"):
        asi.sign(signed, public_pem(OURS))
    secret = serialization.BestAvailableEncryption(b"word")
    with pytest.raises(AttestationError, match="encrypted"):
        asi.sign(signed, pem(OURS, secret))
    for rubbish in (b"", b"rubbish", b"\xff" * 100, pem(OURS)[:-40], public_pem(OURS)[:60]):
        with pytest.raises(AttestationError, match="not a private key in PEM"):
            asi.sign(signed, rubbish)
        with pytest.raises(AttestationError, match="not a public key in PEM"):
            asi.verify(signed, rubbish)
    with pytest.raises(AttestationError, match="no such file"):
        asi.verify(signed, tmp_path / "nowhere.pem")
    large = tmp_path / "large.pem"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(AttestationError, match="larger"):
        asi.verify(signed, large)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_private_key_that_others_may_use_is_refused(run, finished, tmp_path, mode):
    """With the remedy."""
    shutil.copy(finished / "ours.pem", tmp_path / "key.pem")
    Path(tmp_path / "key.pem").chmod(mode)
    with pytest.raises(AttestationError, match="chmod 600"):
        asi.sign(run, tmp_path / "key.pem")
    assert not (run / ENVELOPE_FILE).exists()
