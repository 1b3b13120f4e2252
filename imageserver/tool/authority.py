"""A certificate authority: keys and certificates made in memory.

Methods and groups go into two extensions of our own, see ``docs/security.md``,
"Certificates". Nothing here reads or writes files.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from imageserver.errors import CertificateError
from imageserver.tool.chain import chain_of, is_authority
from imageserver.tool.extensions import (
    CA_EXTENSIONS,
    Extension,
    group_extension,
    host_extension,
    leaf_extensions,
    method_extension,
)
from imageserver.tool.private_key import (
    PrivateKey,
    PublicKey,
    key_pem,
    load_key,
    make_key,
)

REPLICA_METHODS = (
    "ImageServer.AddImageTrusted",
    "ImageServer.GetImageUpdates",
    "ImageServer.GetFilteredImageUpdates",
    "ImageServer.GetImage",
    "ObjectServer.AddObjects",
    "ObjectServer.CheckObjects",
    "ObjectServer.GetObjects",
)

_CLOCK_SKEW = datetime.timedelta(minutes=5)
_NAME_LENGTH = 64  # of a common name, by RFC 5280


class Pair(NamedTuple):
    """A certificate with the intermediates above it, and its key; both PEM."""

    certificate: bytes
    key: bytes


@attrs.frozen
class Validity:
    """From when until when a certificate is valid, in UTC."""

    not_before: datetime.datetime
    not_after: datetime.datetime

    @classmethod
    def of_days(cls, days: float, now: datetime.datetime | None = None) -> Validity:
        """That many days from now; it starts earlier, for clocks that are late.

        Args:
            days: may be negative: a certificate that has expired.
            now: None means the time of the call.
        """
        now = (now or datetime.datetime.now(datetime.UTC)).replace(microsecond=0)
        not_after = now + datetime.timedelta(days=days)
        return cls(min(now, not_after) - _CLOCK_SKEW, not_after)

    def until(self, end: datetime.datetime) -> Validity:
        """The part of it that is not after ``end``.

        Raises:
            CertificateError: there is none.
        """
        if end <= self.not_before:
            raise CertificateError("the CA expires before the certificate begins")
        return Validity(self.not_before, min(self.not_after, end))


@attrs.frozen
class Authority:
    """A CA, root or intermediate.

    Attributes:
        certificate: its own.
        key: that certificate's.
        chain: what its certificates need besides themselves to be verified: this
            authority and the intermediates above it; empty for a root.
    """

    certificate: x509.Certificate
    key: PrivateKey = attrs.field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @classmethod
    def create(
        cls, name: str, validity: Validity, key_type: str = "ecdsa"
    ) -> Authority:
        """Make a root.

        Args:
            name: the common name.
            validity: of the certificate.
            key_type: one of ``private_key.KEY_TYPES``.

        Raises:
            CertificateError: the name or the type of key is impossible.
        """
        subject = _subject(name)
        key = make_key(key_type)
        certificate = _sign(
            key, None, subject, key.public_key(), validity, CA_EXTENSIONS
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificates: bytes, key: bytes) -> Authority:
        """Read an authority from PEM text.

        Args:
            certificates: the authority's among others, in any order.
            key: not encrypted.

        Raises:
            CertificateError: they are something else or do not belong together.
        """
        private_key = load_key(key)
        try:
            candidates = x509.load_pem_x509_certificates(certificates)
        except ValueError as error:
            raise CertificateError("not PEM certificates") from error
        for candidate in candidates:
            if candidate.public_key() == private_key.public_key():
                break
        else:
            raise CertificateError("the key belongs to none of the certificates")
        if not is_authority(candidate):
            raise CertificateError("the certificate is not that of a CA")
        return cls(candidate, private_key, chain_of(candidate, candidates))

    @property
    def pair(self) -> Pair:
        """The authority's own certificate, with those above it, and key."""
        above = [c for c in self.chain if c != self.certificate]
        return Pair(_certificate_pem([self.certificate, *above]), key_pem(self.key))

    def intermediate(
        self, name: str, validity: Validity, key_type: str = "ecdsa"
    ) -> Authority:
        """Make an authority below this one; arguments as for :meth:`create`."""
        key = make_key(key_type)
        subject = _subject(name)
        certificate = self.sign(subject, key.public_key(), validity, CA_EXTENSIONS)
        return Authority(certificate, key, (certificate, *self.chain))

    def issue(
        self,
        name: str,
        validity: Validity,
        *,
        methods: Sequence[str] = (),
        groups: Sequence[str] = (),
        hosts: Sequence[str] | None = None,
        key_type: str = "ecdsa",
    ) -> Pair:
        """Make a certificate for a user or a server, and a key for it.

        Args:
            name: the user name.
            validity: its end is brought forward to the authority's if need be.
            methods: patterns of the methods that the holder may call.
            groups: the groups that the holder belongs to.
            hosts: DNS names and IP addresses of a server; None if it is none.
            key_type: one of ``private_key.KEY_TYPES``.

        Raises:
            CertificateError: one of them is impossible.
        """
        subject = _subject(name)
        key = make_key(key_type)
        extensions = [
            *leaf_extensions(key, server=hosts is not None),
            *method_extension(methods),
            *group_extension(groups),
            *host_extension(hosts or ()),
        ]
        validity = validity.until(self.certificate.not_valid_after_utc)
        certificate = self.sign(subject, key.public_key(), validity, extensions)
        return Pair(_certificate_pem([certificate, *self.chain]), key_pem(key))

    def sign(
        self,
        subject: x509.Name,
        public_key: PublicKey,
        validity: Validity,
        extensions: Iterable[Extension],
    ) -> x509.Certificate:
        """Make any certificate, sensible or not: nothing is checked.

        Args:
            subject: whose it is.
            public_key: the subject's.
            validity: of the certificate.
            extensions: each with whether it is critical; the key identifiers are
                added.
        """
        return _sign(
            self.key,
            self.certificate,
            subject,
            public_key,
            validity,
            extensions,
        )


def _subject(name: str) -> x509.Name:
    if not name.strip() or not name.isprintable() or len(name) > _NAME_LENGTH:
        raise CertificateError(f"not a name of 1 to {_NAME_LENGTH} letters: {name!r}")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _sign(
    issuer_key: PrivateKey,
    issuer: x509.Certificate | None,
    subject: x509.Name,
    public_key: PublicKey,
    validity: Validity,
    extensions: Iterable[Extension],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer.subject if issuer else subject)
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )
    identifiers = (
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (authority_identifier(issuer, issuer_key), False),
    )
    for extension, critical in (*extensions, *identifiers):
        builder = builder.add_extension(extension, critical)
    # Ed25519 has its hash built in.
    own_hash = isinstance(issuer_key, ed25519.Ed25519PrivateKey)
    return builder.sign(issuer_key, None if own_hash else hashes.SHA256())


def authority_identifier(
    issuer: x509.Certificate | None, issuer_key: PrivateKey
) -> x509.AuthorityKeyIdentifier:
    """The issuer's key, called what the issuer's certificate calls it.

    Args:
        issuer: its certificate; ``None``: that of a root, which is being made.
        issuer_key: its key.
    """
    if issuer is not None:
        try:
            identifier = issuer.extensions.get_extension_for_class(
                x509.SubjectKeyIdentifier
            )
        except x509.ExtensionNotFound:
            pass
        else:
            return x509.AuthorityKeyIdentifier(identifier.value.digest, None, None)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())


def _certificate_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(
        certificate.public_bytes(serialization.Encoding.PEM)
        for certificate in certificates
    )
