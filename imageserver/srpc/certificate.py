"""What a certificate says about its holder: ``docs/security.md``, "Certificates"."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

from imageserver.errors import CertificateError
from imageserver.srpc.access import Identity

METHODS_OID = x509.ObjectIdentifier("1.3.6.1.4.1.9586.100.7.1")
GROUPS_OID = x509.ObjectIdentifier("1.3.6.1.4.1.9586.100.7.2")

_UNREADABLE = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_MOST_STRINGS = 1_000  # of a list; nobody has so many methods or groups
_SEQUENCE = 0x30
_STRING_TAGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii"}  # UTF8, Printable, IA5


def identity_of(certificate: x509.Certificate) -> Identity:
    """Who the holder of a verified certificate is.

    Only this certificate counts, not those of the authorities above it.

    Raises:
        CertificateError: it names nobody, or its lists are malformed.
    """
    user = _common_name(certificate)
    if not user:
        raise CertificateError("the certificate has no common name")
    methods = _string_list(certificate, METHODS_OID)
    for method in methods:
        if method.count(".") != 1:
            raise CertificateError(
                f"malformed method in certificate of {user}: {method!r}"
            )
    groups = frozenset(_string_list(certificate, GROUPS_OID))
    return Identity(user, groups, tuple(methods))


def _common_name(certificate: x509.Certificate) -> str:
    """The last common name, as existing servers do; empty if there is none."""
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"unreadable subject: {error}") from error
    return str(names[-1].value) if names else ""


def _string_list(
    certificate: x509.Certificate, oid: x509.ObjectIdentifier
) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return []
    except _UNREADABLE as error:
        raise CertificateError(f"unreadable extensions: {error}") from error
    if not isinstance(extension, x509.UnrecognizedExtension):
        raise CertificateError(f"unexpected extension {oid.dotted_string}")
    return parse_string_sequence(extension.value)


def parse_string_sequence(der: bytes) -> list[str]:
    """The strings in a DER ``SEQUENCE OF`` strings.

    Raises:
        CertificateError: it is something else.
    """
    tag, content, rest = _element(der)
    if tag != _SEQUENCE or rest:
        raise CertificateError("malformed list in certificate")
    strings: list[str] = []
    while content:
        if len(strings) == _MOST_STRINGS:
            raise CertificateError("too long a list in certificate")
        tag, text, content = _element(content)
        if tag not in _STRING_TAGS:
            raise CertificateError("malformed list in certificate")
        try:
            strings.append(text.decode(_STRING_TAGS[tag]))
        except UnicodeDecodeError as error:
            raise CertificateError("malformed text in certificate") from error
    return strings


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what is behind it."""
    header = 2
    if len(der) < header:
        raise CertificateError("malformed list in certificate")
    length = der[1]
    if length & 0x80:
        size = length & 0x7F
        digits = der[header : header + size]
        length = int.from_bytes(digits)
        header += size
        if not digits or not digits[0] or length < 0x80:  # not the shortest form
            raise CertificateError("malformed list in certificate")
    end = header + length
    if end > len(der):
        raise CertificateError("malformed list in certificate")
    return der[0], der[header:end], der[end:]
