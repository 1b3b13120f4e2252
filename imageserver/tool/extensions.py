"""The extensions of certificates: what they are for, and our methods and groups."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from imageserver.errors import CertificateError
from imageserver.srpc.certificate import GROUPS_OID, METHODS_OID
from imageserver.tool.private_key import PrivateKey

Extension = tuple[x509.ExtensionType, bool]
"""An extension, and whether it is critical."""

_SHORT_LENGTH = 0x80  # DER lengths below it are one byte
_SEQUENCE = 0x30
_UTF8_STRING = 0x0C
_HOST_LENGTH = 253
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


def _key_usage(**used: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        **(
            {
                "digital_signature": False,
                "content_commitment": False,
                "key_encipherment": False,
                "data_encipherment": False,
                "key_agreement": False,
                "key_cert_sign": False,
                "crl_sign": False,
                "encipher_only": False,
                "decipher_only": False,
            }
            | used
        )
    )


CA_EXTENSIONS: tuple[Extension, ...] = (
    (x509.BasicConstraints(ca=True, path_length=None), True),
    (_key_usage(key_cert_sign=True, crl_sign=True), True),
)


def leaf_extensions(key: PrivateKey, *, server: bool) -> list[Extension]:
    """What the certificate of a user or a server may be used for.

    Args:
        key: the certificate's.
        server: whether it is good for a server as well as for a client.
    """
    # TLS 1.2 knows key exchanges that encrypt with the key of the certificate.
    rsa_key = isinstance(key, rsa.RSAPrivateKey)
    usage = _key_usage(digital_signature=True, key_encipherment=rsa_key)
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if server:
        purposes.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage(purposes), False),
    ]


def method_extension(patterns: Sequence[str]) -> list[Extension]:
    """The methods that the holder of a certificate may call.

    Args:
        patterns: of methods; no extension if there are none.

    Raises:
        CertificateError: a pattern is not two words with a dot between them.
    """
    for pattern in patterns:
        service, _, method = pattern.partition(".")
        if pattern.count(".") != 1 or not service or not method:
            raise CertificateError(f"not of the form Service.Method: {pattern!r}")
        _check_word(pattern)
    return _list_extension(METHODS_OID, patterns)


def group_extension(groups: Sequence[str]) -> list[Extension]:
    """The groups that the holder of a certificate belongs to.

    Args:
        groups: their names; no extension if there are none.

    Raises:
        CertificateError: a name is empty, or has blanks or control characters.
    """
    for group in groups:
        _check_word(group)
    return _list_extension(GROUPS_OID, groups)


def host_extension(hosts: Sequence[str]) -> list[Extension]:
    """The DNS names and addresses of a server.

    Args:
        hosts: no extension if there are none.

    Raises:
        CertificateError: one is neither a name nor an address.
    """
    if not hosts:
        return []
    return [(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)]


def string_sequence(strings: Iterable[str]) -> bytes:
    """The DER encoding of a ``SEQUENCE OF UTF8String``."""
    elements = [_element(_UTF8_STRING, string.encode()) for string in strings]
    return _element(_SEQUENCE, b"".join(elements))


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < _SHORT_LENGTH:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, _SHORT_LENGTH | size]) + length.to_bytes(size) + content


def _list_extension(
    oid: x509.ObjectIdentifier, strings: Sequence[str]
) -> list[Extension]:
    if not strings:
        return []
    unique = dict.fromkeys(strings)
    return [(x509.UnrecognizedExtension(oid, string_sequence(unique)), False)]


def _check_word(word: str) -> None:
    if not word or " " in word or not word.isprintable():
        raise CertificateError(f"empty, or has blanks or control characters: {word!r}")


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > _HOST_LENGTH or not _HOST_NAME.fullmatch(host):
        raise CertificateError(f"neither a host name nor an address: {host!r}")
    return x509.DNSName(host)
