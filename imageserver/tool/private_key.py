"""Private keys: made, read and written as PEM text, in memory."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from imageserver.errors import CertificateError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

KEY_TYPES = ("ecdsa", "rsa", "ed25519")

_RSA_BITS = 3072


def make_key(key_type: str) -> PrivateKey:
    """Make a new key.

    Args:
        key_type: one of :data:`KEY_TYPES`; ECDSA keys are on the curve P-256.

    Raises:
        CertificateError: there is no such type.
    """
    match key_type:
        case "ecdsa":
            return ec.generate_private_key(ec.SECP256R1())
        case "rsa":
            return rsa.generate_private_key(65537, _RSA_BITS)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    raise CertificateError(f"unknown type of key: {key_type!r}")


def load_key(pem: bytes) -> PrivateKey:
    """Read a key.

    Args:
        pem: in any of the usual forms, not encrypted.

    Raises:
        CertificateError: it is something else.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise CertificateError("the key is encrypted") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("not a PEM key") from error
    if not isinstance(key, PrivateKey):
        raise CertificateError("the key is neither ECDSA nor RSA nor Ed25519")
    return key


def key_pem(key: PrivateKey) -> bytes:
    """Write a key, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def key_type_of(key: object) -> str:
    """The word for a private or public key."""
    match key:
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
            return f"ECDSA {key.curve.name}"
        case rsa.RSAPrivateKey() | rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ed25519.Ed25519PrivateKey() | ed25519.Ed25519PublicKey():
            return "Ed25519"
    return "unknown"
