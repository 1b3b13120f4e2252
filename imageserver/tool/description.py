"""What is inside a certificate, in words."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from imageserver.errors import CertificateError
from imageserver.srpc.certificate import identity_of
from imageserver.tool.private_key import key_type_of

_PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "server",
    ExtendedKeyUsageOID.CLIENT_AUTH: "client",
}
_TIME = "%Y-%m-%d %H:%M:%S UTC"


def describe_certificates(pem: bytes) -> str:
    """Describe the certificates of a PEM file.

    Args:
        pem: its contents; what is not a certificate is passed over.

    Raises:
        CertificateError: there is no certificate in it, or one is malformed.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError("not PEM certificates") from error
    try:
        return "\n\n".join(map(_describe, certificates))
    except (ValueError, x509.DuplicateExtension) as error:
        raise CertificateError(f"malformed certificate: {error}") from error


def _describe(certificate: x509.Certificate) -> str:
    facts = [
        *_identity(certificate),
        ("hosts", _join(_hosts(certificate))),
        ("used by", _join(_purposes(certificate))),
        ("key", key_type_of(certificate.public_key())),
        ("issuer", certificate.issuer.rfc4514_string()),
        ("serial", f"{certificate.serial_number:x}"),
        ("valid from", certificate.not_valid_before_utc.strftime(_TIME)),
        ("valid until", certificate.not_valid_after_utc.strftime(_TIME)),
        ("SHA-256", certificate.fingerprint(hashes.SHA256()).hex(":")),
    ]
    return "\n".join(f"{name + ':':<13}{_printable(text)}" for name, text in facts)


def _identity(certificate: x509.Certificate) -> list[tuple[str, str]]:
    try:
        identity = identity_of(certificate)
    except CertificateError as error:
        subject = certificate.subject.rfc4514_string()
        return [("subject", subject), ("unusable", str(error))]
    return [
        ("name", identity.user),
        ("methods", _join(identity.methods)),
        ("groups", _join(sorted(identity.groups))),
    ]


def _hosts(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        return []
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _purposes(certificate: x509.Certificate) -> list[str]:
    extensions = certificate.extensions
    purposes = []
    for extension in extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            purposes.append("CA")
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            purposes += [
                _PURPOSES.get(oid, oid.dotted_string) for oid in extension.value
            ]
    return purposes


def _join(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"


def _printable(text: str) -> str:
    # A name must not move the cursor of the terminal.
    return text if text.isprintable() else ascii(text)
