"""Makes a CA's list of the certificates that it takes back."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from imageserver.errors import CertificateError
from imageserver.tool.authority import Authority, Validity, authority_identifier


def extend_list(
    authority: Authority,
    known: bytes,
    serials: Iterable[int],
    validity: Validity,
) -> bytes:
    """A list with what is on the last one, and more.

    Args:
        authority: whose list it is.
        known: the last one in PEM; empty if there is none.
        serials: of the certificates to take back; none: the list only lasts longer.
        validity: of the list; certificates are revoked from its beginning on.

    Returns:
        The list, signed, in PEM.

    Raises:
        CertificateError: ``known`` is not this CA's list.
    """
    entries: dict[int, x509.RevokedCertificate] = {}
    number = 0
    if known.strip():
        last = _load(known, authority)
        entries = {entry.serial_number: entry for entry in last}
        number = _number_of(last)
    for serial in serials:
        entries.setdefault(serial, _entry(serial, validity.not_before))
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(validity.not_before)
        .next_update(validity.not_after)
        .add_extension(x509.CRLNumber(number + 1), critical=False)
    )
    issuer_key = authority_identifier(authority.certificate, authority.key)
    builder = builder.add_extension(issuer_key, critical=False)
    for entry in entries.values():
        builder = builder.add_revoked_certificate(entry)
    own_hash = isinstance(authority.key, ed25519.Ed25519PrivateKey)
    signed = builder.sign(authority.key, None if own_hash else hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def _load(pem: bytes, authority: Authority) -> x509.CertificateRevocationList:
    try:
        last = x509.load_pem_x509_crl(pem)
    except ValueError as error:
        raise CertificateError("not a PEM revocation list") from error
    if not last.is_signature_valid(authority.key.public_key()):
        raise CertificateError("the revocation list is not by this CA")
    return last


def _number_of(signed: x509.CertificateRevocationList) -> int:
    try:
        found = signed.extensions.get_extension_for_class(x509.CRLNumber)
    except x509.ExtensionNotFound:
        return 0
    return found.value.crl_number


def _entry(serial: int, since: datetime.datetime) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder()
    return builder.serial_number(serial).revocation_date(since).build()
