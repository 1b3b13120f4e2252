"""The files that a server's TLS is made of: ``docs/security.md``, "Files".

Plain blocking code. What is read together is used together, or not at all.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from imageserver.errors import CertificateError
from imageserver.srpc.expiry import (
    AUTHORITY,
    CERTIFICATE,
    IDENTITY_AUTHORITY,
    REVOCATIONS,
    Expiry,
)
from imageserver.srpc.revocation import RevocationList, Revocations, parse_lists
from imageserver.srpc.tls import (
    ClientTLS,
    KeyPair,
    ServerTLS,
    load_certificates,
    read_file,
)
from imageserver.srpc.trust import Trust

_log = Logger()
_GENERATED_FOR = datetime.timedelta(days=30 * 365)

Signature = tuple[tuple[int, ...] | None, ...]


@attrs.frozen(eq=False)
class Credentials:
    """What the files hold.

    Attributes:
        key_pair: our own; ``None`` if there is none, in insecure mode only.
        server_tls: how to secure connections to us; ``None`` in insecure mode.
        expiries: what is going to expire.
        generated: whether the key pair was made up.
    """

    key_pair: KeyPair | None
    server_tls: ServerTLS | None
    expiries: tuple[Expiry, ...]
    generated: bool = False

    def client_tls(
        self, authorities: Sequence[x509.Certificate] | None = None
    ) -> ClientTLS:
        """How to connect to other servers, with our certificate unless made up.

        Args:
            authorities: see :class:`ClientTLS`.
        """
        return ClientTLS(None if self.generated else self.key_pair, authorities)


@attrs.frozen
class CredentialFiles:
    """Where the files are.

    Attributes:
        certificate: our certificate, with the intermediates above it.
        key: its key.
        authorities: the CA file; ``None`` in insecure mode.
        identity_authorities: the identity CA file; it may be missing.
        revocations: the revocation lists.
        strict: see :class:`Revocations`.
        generate: whether to make up a key pair if there is none.
    """

    certificate: Path
    key: Path
    authorities: Path | None
    identity_authorities: Path | None = None
    revocations: Path | None = None
    strict: bool = False
    generate: bool = False

    def signature(self) -> Signature:
        """Differs from the last one if a file was changed or replaced."""
        paths = (
            self.certificate,
            self.key,
            self.authorities,
            self.identity_authorities,
            self.revocations,
        )
        return tuple(_signature(path) for path in paths if path is not None)

    def load(self, previous: Credentials | None = None) -> Credentials:
        """Read all files.

        Args:
            previous: what was there before; its made-up key pair is kept.

        Raises:
            CertificateError: one of them cannot be used, or is missing.
            KeyMismatch: certificate and key do not belong together (yet).
        """
        try:
            return self._load(previous)
        except (ValueError, SSL.Error, crypto.Error) as error:
            raise CertificateError(f"unusable certificates: {error}") from error

    def _load(self, previous: Credentials | None) -> Credentials:
        key_pair, generated = self._key_pair(previous)
        expiries = []
        if key_pair is not None:
            file = "" if generated else str(self.certificate)
            expiries += _expiries(CERTIFICATE, file, key_pair.certificates[:1])
        if self.authorities is None or key_pair is None:
            return Credentials(key_pair, None, tuple(expiries), generated)
        full = load_certificates(self.authorities)
        expiries += _expiries(AUTHORITY, self.authorities, full)
        identity = []
        if self.identity_authorities is not None and exists(self.identity_authorities):
            identity = load_certificates(self.identity_authorities)
            expiries += _expiries(
                IDENTITY_AUTHORITY, self.identity_authorities, identity
            )
        lists = []
        if self.revocations is not None:
            lists = _load_lists(self.revocations, [*full, *identity])
            expiries += _list_expiries(self.revocations, lists)
        trust = Trust(full, identity, Revocations(tuple(lists), self.strict))
        server_tls = ServerTLS(key_pair, trust)
        return Credentials(key_pair, server_tls, tuple(expiries), generated)

    def _key_pair(self, previous: Credentials | None) -> tuple[KeyPair | None, bool]:
        """Our key pair, and whether it was made up."""
        if _size(self.certificate) and _size(self.key):
            return KeyPair.load(self.certificate, self.key), False
        if self.generate:
            if previous is not None and previous.generated:
                return previous.key_pair, True
            return generate_key_pair(datetime.datetime.now(datetime.UTC)), True
        if self.authorities is None:
            return None, False
        missing = self.key if _size(self.certificate) else self.certificate
        raise CertificateError(
            f"missing certificate: {missing} (see -generateMissingWebcert)"
        )


def generate_key_pair(now: datetime.datetime) -> KeyPair:
    """A certificate for a server that has none; it says nothing about the server.

    Args:
        now: when it begins to be valid, in UTC.
    """
    key = ed25519.Ed25519PrivateKey.generate()
    nobody = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .issuer_name(nobody)
        .subject_name(nobody)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + _GENERATED_FOR)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("any-server")]), critical=True
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(key, None)
    )
    return KeyPair((certificate,), key)


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_size,
        found.st_ino,
        found.st_dev,
    )


def exists(path: Path) -> bool:
    """Whether there is such a file.

    Raises:
        CertificateError: it cannot be told; it must not be taken for missing.
    """
    return _size(path) is not None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror}") from error


def _load_lists(
    path: Path, authorities: Iterable[x509.Certificate]
) -> list[RevocationList]:
    try:
        lists = parse_lists(read_file(path))
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}") from error
    for found in lists:
        issuers = [a for a in authorities if a.subject == found.issuer]
        if not issuers:  # perhaps an intermediate that clients send
            _log.warn(
                "{path} has a list by {issuer}, which is not among the CAs",
                path=path,
                issuer=found.name,
            )
        elif not any(found.is_of(issuer) for issuer in issuers):
            raise CertificateError(f"{path}: {found.name} has not signed its list")
    return lists


def _expiries(
    kind: str, file: Path | str, certificates: Iterable[x509.Certificate]
) -> list[Expiry]:
    return [
        Expiry(
            kind,
            str(file),
            certificate.subject.rfc4514_string(),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )
        for certificate in certificates
    ]


def _list_expiries(file: Path, lists: Iterable[RevocationList]) -> list[Expiry]:
    """For each issuer that of the list that lasts longest."""
    found: dict[str, Expiry] = {}
    for item in lists:
        if item.expires is None:
            continue
        expiry = Expiry(REVOCATIONS, str(file), item.name, item.issued, item.expires)
        known = found.get(item.name)
        if known is None or known.ends < expiry.ends:
            found[item.name] = expiry
    return list(found.values())
