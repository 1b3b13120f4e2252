"""TLS contexts: ``docs/security.md``, "TLS".

Connections use them through creator objects, which are asked anew for each
connection: replacing a context takes effect without touching what is open.
"""

from __future__ import annotations

import datetime
import ipaddress
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from OpenSSL import SSL, crypto
from service_identity import CertificateError as ServiceIdentityCertificateError
from service_identity import VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from imageserver.errors import CertificateError, KeyMismatch
from imageserver.srpc.access import Identity
from imageserver.srpc.certificate_choice import ask_for_context
from imageserver.srpc.gathering_tls import GatheringTLS
from imageserver.srpc.sparing_log import SparingLog
from imageserver.srpc.trust import Trust, make_store

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

_MODE_RELEASE_BUFFERS = 0x10
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_SESSION_CONTEXT = b"imageserver"
_log = Logger()
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"


@attrs.frozen(eq=False)
class KeyPair:
    """A certificate with what follows it up the chain, and its key.

    Attributes:
        certificates: the leaf first.
        key: the private key of the leaf.
    """

    certificates: tuple[x509.Certificate, ...]
    key: PrivateKey = attrs.field(repr=False)

    @classmethod
    def load(cls, certificate_path: Path, key_path: Path) -> KeyPair:
        """Read PEM files.

        Raises:
            CertificateError: a file is missing or not what it should be.
            KeyMismatch: the two do not belong together.
        """
        certificates = load_certificates(certificate_path)
        if not certificates:
            raise CertificateError(f"missing certificate: {certificate_path}")
        try:
            key = serialization.load_pem_private_key(read_file(key_path), None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError(f"unable to load key: {key_path}") from error
        if not isinstance(key, PrivateKey):
            raise CertificateError(f"not a key for certificates: {key_path}")
        pair = cls(tuple(certificates), key)
        try:
            if key.public_key() != certificates[0].public_key():
                raise KeyMismatch(f"{key_path} is not the key of {certificate_path}")
            _context(pair)
        except (ValueError, UnsupportedAlgorithm, SSL.Error) as error:
            raise CertificateError(f"cannot use {certificate_path}: {error}") from error
        return pair

    @property
    def issuers(self) -> frozenset[bytes]:
        """Names of the authorities above the leaf, as far as known, in DER."""
        return frozenset(found.issuer.public_bytes() for found in self.certificates)

    @property
    def expires(self) -> datetime.datetime:
        """When the leaf ends to be valid, in UTC."""
        return self.certificates[0].not_valid_after_utc


def read_file(path: Path) -> bytes:
    """The contents of a file.

    Raises:
        CertificateError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror}") from error


def load_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in a PEM file, in order; none if it is empty.

    Raises:
        CertificateError: the file is missing, incomplete, or holds something else.
    """
    data = read_file(path)
    if not data.strip():
        return []
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificateError(f"not PEM certificates: {path}: {error}") from error
    if len(certificates) < data.count(_BEGIN):  # perhaps it is being written
        raise CertificateError(f"incomplete: {path}")
    return certificates


def _context(key_pair: KeyPair | None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(_MODE_RELEASE_BUFFERS)
    if key_pair is not None:
        context.use_certificate(key_pair.certificates[0])
        for certificate in key_pair.certificates[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key_pair.key)
        context.check_privatekey()
    return context


class _LenientConnection(SSL.Connection):
    """Remembers that a certificate was refused, instead of failing the handshake."""

    refused = False


class _Verification:
    """What OpenSSL is to do about each certificate that it has verified.

    Refusals are logged: the peer sees an alert only, and so would we.
    """

    def __init__(self) -> None:
        self._refusals = SparingLog(_log, time.monotonic)

    def require(
        self,
        _connection: SSL.Connection,
        certificate: crypto.X509,
        error: int,
        depth: int,
        ok: int,
    ) -> bool:
        """Fail the handshake if the certificate is not good."""
        if not ok:
            self._refusals.info(
                "certificate refused",
                "certificate of {subject!r} refused: error {error} at depth {depth}",
                subject=_subject_of(certificate),
                error=error,
                depth=depth,
            )
        return bool(ok)

    def remember(self, connection: SSL.Connection, *found: Any) -> bool:
        """Let the handshake go on; :func:`peer_identity` refuses."""
        if not self.require(connection, *found):
            assert isinstance(connection, _LenientConnection)  # noqa: S101 - OptionalTLS
            connection.refused = True
        return True


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The server's side: a client certificate is required and verified.

    Attributes:
        trust: whom it believes.
        optional: the same where the whole connection is TLS: whoever has no certificate
            or a bad one gets in, but has no identity.
    """

    def __init__(self, key_pair: KeyPair, trust: Trust) -> None:
        """Use ``key_pair``, and believe whom ``trust`` says.

        With no authority, nobody has an identity.
        """
        self.trust = trust
        verification = _Verification()
        self._context = self._make_context(key_pair)
        self._context.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verification.require
        )
        optional = self._make_context(key_pair)
        optional.set_verify(SSL.VERIFY_PEER, verification.remember)
        self.optional = OptionalTLS(optional)
        self.sessions = _make_sessions(self, is_client=False)

    def _make_context(self, key_pair: KeyPair) -> SSL.Context:
        trust, context = self.trust, _context(key_pair)
        make_store(trust.authorities, context.get_cert_store())
        # Clients with several certificates choose by this list.
        for authority in trust.authorities:
            context.add_client_ca(authority)
        # Every handshake is a full one: a resumed session could outlive a revocation,
        # and without a context id OpenSSL fails resuming clients.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_id(_SESSION_CONTEXT)
        context.set_app_data(trust)  # for peer_identity
        return context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLServerConnectionCreator``."""
        return SSL.Connection(self._context, None)


@implementer(IOpenSSLServerConnectionCreator)
class OptionalTLS:
    """The server's side: a client certificate is optional; a bad one is as none."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context
        self.sessions = _make_sessions(self, is_client=False)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLServerConnectionCreator``."""
        return _LenientConnection(self._context, None)


def _subject_of(certificate: crypto.X509) -> str:
    try:
        return certificate.to_cryptography().subject.rfc4514_string()
    except (ValueError, TypeError, x509.InvalidVersion):
        return "an unreadable certificate"


@implementer(IOpenSSLClientConnectionCreator)
class ClientTLS:
    """The client's side: presents a certificate.

    Servers are not verified unless ``authorities`` are given, as existing clients do;
    then the server's certificate must come from one of them.
    """

    def __init__(
        self,
        key_pair: KeyPair | Sequence[KeyPair] | None,
        authorities: Sequence[x509.Certificate] | None = None,
    ) -> None:
        """Use ``key_pair``; of several the first one that the server may accept."""
        pairs = (key_pair,) if isinstance(key_pair, KeyPair) else key_pair or ()
        self._leaves = [pair.certificates[0] for pair in pairs]
        self._authorities = authorities
        self.sessions = _make_sessions(self, is_client=True)
        self._context = self._make_context(pairs[0] if len(pairs) == 1 else None)
        self._choices = (
            {pair: self._make_context(pair) for pair in pairs} if pairs[1:] else {}
        )

    def _make_context(self, key_pair: KeyPair | None) -> SSL.Context:
        context = _context(key_pair)
        if self._authorities is not None:
            make_store(self._authorities, context.get_cert_store())
            context.set_verify(SSL.VERIFY_PEER, _Verification().require)
        return context

    def check_validity(self, now: datetime.datetime) -> None:
        """Make sure that one of our certificates is valid, if we have any.

        Raises:
            CertificateError: none of them is.
        """
        validities = [
            (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
            for leaf in self._leaves
        ]
        if validities and not any(begin <= now <= end for begin, end in validities):
            begin, end = validities[0]
            reason = f"not before {begin}" if now < begin else f"expired at {end}"
            raise CertificateError(f"no valid certificates: {reason}")

    def check_host(self, protocol: TLSMemoryBIOProtocol, host: str) -> None:
        """Make sure that the server is the one we wanted, if servers are verified.

        Args:
            protocol: the connection, its handshake over.
            host: name or address that was dialled.

        Raises:
            CertificateError: the server's certificate is for another host.
        """
        if self._authorities is None:
            return
        connection = protocol.getHandle()
        if connection is None:
            raise CertificateError("the connection is gone")
        verify = verify_ip_address if _is_address(host) else verify_hostname
        try:
            verify(connection, host)
        except (
            VerificationError,
            ServiceIdentityCertificateError,
            ValueError,
        ) as error:
            text = f"the server's certificate is not for {host}"
            raise CertificateError(text) from error

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        connection = SSL.Connection(self._context, None)
        if self._choices:
            ask_for_context(connection, self._choose)
        return connection

    def _choose(self, accepted: Sequence[bytes]) -> SSL.Context | None:
        """The context with the pair to present, as Go's clients choose.

        Args:
            accepted: DER names of the authorities that the server accepts.
        """
        for pair, context in self._choices.items():
            if not accepted or not pair.issuers.isdisjoint(accepted):
                return context
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _make_sessions(creator: Any, *, is_client: bool) -> TLSMemoryBIOFactory:
    """What all sessions of a creator have in common."""
    return TLSMemoryBIOFactory(creator, is_client, Factory.forProtocol(Protocol))


def wrap(
    inner: Protocol,
    creator: ServerTLS | OptionalTLS | ClientTLS,
    outer_transport: Any,
) -> TLSMemoryBIOProtocol:
    """Put TLS between ``inner`` and ``outer_transport`` in the middle of a connection.

    Args:
        inner: gets the decrypted bytes; its transport is the returned protocol.
        creator: the side we are on.
        outer_transport: carries the encrypted bytes; what arrives on it has to be
            passed to the returned protocol's ``dataReceived``.
    """
    protocol = GatheringTLS(creator.sessions, inner)
    protocol.makeConnection(outer_transport)
    return protocol


def peer_identity(protocol: TLSMemoryBIOProtocol) -> Identity:
    """Who is at the other end of a connection whose handshake is over.

    Raises:
        CertificateError: there is no certificate, it is not to be trusted, or it names
            nobody.
    """
    connection = protocol.getHandle()
    leaf = connection.get_peer_certificate() if connection else None
    if leaf is None:
        raise CertificateError("no certificate")
    if isinstance(connection, _LenientConnection) and connection.refused:
        raise CertificateError("the certificate was refused")
    sent = [leaf, *(connection.get_peer_cert_chain() or ())]
    trust: Trust = connection.get_context().get_app_data()
    try:
        chain = [certificate.to_cryptography() for certificate in sent]
        return trust.identify(chain, datetime.datetime.now(datetime.UTC))
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise CertificateError(f"unreadable certificate: {error}") from error
