"""Certificates that were taken back: ``docs/security.md``, "Revocation".

OpenSSL's own check is not used: it refuses everybody below an authority that has no
list, and everybody as soon as a list has expired.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from itertools import pairwise

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from imageserver.errors import CertificateError

_BEGIN = b"-----BEGIN X509 CRL-----"
_PEM = re.compile(_BEGIN + rb".*?-----END X509 CRL-----", re.DOTALL)
_SIGNING_KEY = (
    rsa.RSAPublicKey
    | ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
)
_PARTIAL = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint)


@attrs.frozen(eq=False)
class RevocationList:
    """What one authority has taken back.

    Attributes:
        issuer: the authority's name.
        serials: the serial numbers of the certificates.
        issued: when the list was made.
        expires: when there should be a newer one; ``None``: never.
    """

    issuer: x509.Name
    serials: frozenset[int] = attrs.field(repr=False)
    issued: datetime.datetime
    expires: datetime.datetime | None
    _signed: x509.CertificateRevocationList = attrs.field(repr=False)
    # Only authorities in verified chains are ever asked about.
    _signers: dict[x509.Certificate, bool] = attrs.field(factory=dict, repr=False)

    @classmethod
    def of(cls, signed: x509.CertificateRevocationList) -> RevocationList:
        """Read a list.

        Raises:
            CertificateError: it is malformed, or not the whole list.
        """
        try:
            for extension in signed.extensions:
                if isinstance(extension.value, _PARTIAL):
                    raise CertificateError("a delta or partial revocation list")
                if extension.critical:
                    raise CertificateError(
                        f"unknown extension {extension.oid.dotted_string}"
                    )
            serials = frozenset(entry.serial_number for entry in signed)
            issued = signed.last_update_utc
            return cls(signed.issuer, serials, issued, signed.next_update_utc, signed)
        except (ValueError, x509.DuplicateExtension) as error:
            raise CertificateError(f"malformed revocation list: {error}") from error

    @property
    def name(self) -> str:
        """The issuer's name as text."""
        return self.issuer.rfc4514_string()

    def is_of(self, authority: x509.Certificate) -> bool:
        """Whether this authority has signed the list."""
        if self.issuer != authority.subject:
            return False
        if authority not in self._signers:
            self._signers[authority] = self._is_signed_by(authority)
        return self._signers[authority]

    def _is_signed_by(self, authority: x509.Certificate) -> bool:
        try:
            key = authority.public_key()
            return isinstance(key, _SIGNING_KEY) and self._signed.is_signature_valid(
                key
            )
        except (ValueError, UnsupportedAlgorithm):
            return False

    def is_current(self, now: datetime.datetime) -> bool:
        """Whether the list is meant for this time."""
        return self.issued <= now and (self.expires is None or now <= self.expires)


@attrs.frozen(eq=False)
class Revocations:
    """All lists.

    Attributes:
        lists: of any authorities.
        strict: whether a certificate is refused whose issuer has no current list.
    """

    lists: tuple[RevocationList, ...] = ()
    strict: bool = False

    def check(
        self,
        chain: Sequence[x509.Certificate],
        authorities: Sequence[x509.Certificate],
        now: datetime.datetime,
    ) -> None:
        """Refuse a chain with a certificate that was revoked.

        A list that has expired still counts: revoked stays revoked. The last
        certificate is trusted for itself; it needs no list, not even if strict.

        Args:
            chain: verified, the leaf first.
            authorities: where the issuer of the last one may be found.
            now: the time.

        Raises:
            CertificateError: the text says which certificate, and why.
        """
        for certificate, issuer in pairwise(chain):
            lists = self._refuse_revoked(certificate, issuer)
            if self.strict and not any(found.is_current(now) for found in lists):
                raise CertificateError(
                    f"no current revocation list of {_name(issuer)} for"
                    f" {_name(certificate)}"
                )
        for authority in authorities:
            if authority.subject == chain[-1].issuer:
                self._refuse_revoked(chain[-1], authority)

    def _refuse_revoked(
        self, certificate: x509.Certificate, issuer: x509.Certificate
    ) -> list[RevocationList]:
        lists = [found for found in self.lists if found.is_of(issuer)]
        if any(certificate.serial_number in found.serials for found in lists):
            raise CertificateError(
                f"the certificate of {_name(certificate)} was revoked"
                f" (serial {certificate.serial_number:x})"
            )
        return lists


def parse_lists(pem: bytes) -> list[RevocationList]:
    """The lists in a PEM text, in order; none if it is empty.

    Raises:
        CertificateError: it holds something else, or part of a list.
    """
    blocks = _PEM.findall(pem)
    if len(blocks) != pem.count(_BEGIN) or (pem.strip() and not blocks):
        raise CertificateError("not PEM revocation lists")
    try:
        signed = [x509.load_pem_x509_crl(block) for block in blocks]
    except ValueError as error:
        raise CertificateError(f"not PEM revocation lists: {error}") from error
    return [RevocationList.of(found) for found in signed]


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
