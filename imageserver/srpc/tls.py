"""TLS contexts: ``docs/security.md``, "TLS".

Connections use them through creator objects, which are asked anew for each
connection: replacing a context takes effect without touching what is open.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from imageserver.errors import CertificateError
from imageserver.srpc.access import Identity
from imageserver.srpc.certificate import identity_of

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

_MODE_RELEASE_BUFFERS = 0x10
_SESSION_CONTEXT = b"imageserver"
_log = Logger()
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"


@attrs.frozen
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
            CertificateError: a file is missing or not what it should be, or the two
                do not belong together.
        """
        certificates = load_certificates(certificate_path)
        if not certificates:
            raise CertificateError(f"missing certificate: {certificate_path}")
        try:
            key = serialization.load_pem_private_key(_read(key_path), None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError(f"unable to load key: {key_path}") from error
        if not isinstance(key, PrivateKey):
            raise CertificateError(f"not a key for certificates: {key_path}")
        pair = cls(tuple(certificates), key)
        try:
            _context(pair)
        except SSL.Error as error:
            text = f"{key_path} is not the key of {certificate_path}"
            raise CertificateError(text) from error
        return pair

    @property
    def expires(self) -> datetime.datetime:
        """When the leaf ends to be valid, in UTC."""
        return self.certificates[0].not_valid_after_utc


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror}") from error


def load_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in a PEM file, in order; none if it is empty.

    Raises:
        CertificateError: the file is missing or holds something else.
    """
    data = _read(path)
    if not data.strip():
        return []
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificateError(f"not PEM certificates: {path}: {error}") from error


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


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The server's side: a client certificate is required and verified."""

    def __init__(self, key_pair: KeyPair, authorities: list[x509.Certificate]) -> None:
        """Use ``key_pair``, and trust whoever ``authorities`` vouch for.

        With no authority, everybody is refused.
        """
        context = _context(key_pair)
        store = context.get_cert_store()
        assert store is not None  # noqa: S101 - a fresh context has one
        for authority in authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
        # An intermediate alone in the CA file is trusted, as Go does.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        context.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify_result
        )
        # Clients with several certificates choose by this list.
        for authority in authorities:
            context.add_client_ca(authority)
        # Every handshake is a full one: a resumed session could outlive a revocation,
        # and without a context id OpenSSL fails resuming clients.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_id(_SESSION_CONTEXT)
        self._context = context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLServerConnectionCreator``."""
        return SSL.Connection(self._context, None)


def _verify_result(
    _connection: SSL.Connection,
    certificate: crypto.X509,
    error: int,
    depth: int,
    ok: int,
) -> bool:
    if not ok:  # the peer sees an alert only, and so would we
        _log.info(
            "certificate of {subject!r} refused: error {error} at depth {depth}",
            subject=_subject_of(certificate),
            error=error,
            depth=depth,
        )
    return bool(ok)


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
        key_pair: KeyPair | None,
        authorities: list[x509.Certificate] | None = None,
    ) -> None:
        context = _context(key_pair)
        if authorities is not None:
            store = context.get_cert_store()
            assert store is not None  # noqa: S101 - a fresh context has one
            for authority in authorities:
                store.add_cert(crypto.X509.from_cryptography(authority))
            store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
            context.set_verify(SSL.VERIFY_PEER, _verify_result)
        self._context = context

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        return SSL.Connection(self._context, None)


def wrap(
    inner: Protocol, creator: ServerTLS | ClientTLS, outer_transport: Any
) -> TLSMemoryBIOProtocol:
    """Put TLS between ``inner`` and ``outer_transport`` in the middle of a connection.

    Args:
        inner: gets the decrypted bytes; its transport is the returned protocol.
        creator: the side we are on.
        outer_transport: carries the encrypted bytes; what arrives on it has to be
            passed to the returned protocol's ``dataReceived``.
    """
    factory = TLSMemoryBIOFactory(
        creator, isinstance(creator, ClientTLS), Factory.forProtocol(Protocol)
    )
    protocol = TLSMemoryBIOProtocol(factory, inner)
    protocol.makeConnection(outer_transport)
    return protocol


def peer_identity(protocol: TLSMemoryBIOProtocol) -> Identity:
    """Who is at the other end of a connection whose handshake is over.

    Raises:
        CertificateError: there is no certificate, or it names nobody.
    """
    try:
        certificate = protocol.getPeerCertificate()
    except AttributeError:  # the connection is gone, and all that it knew
        certificate = None
    if certificate is None:
        raise CertificateError("no certificate")
    try:
        readable = certificate.to_cryptography()
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise CertificateError(f"unreadable certificate: {error}") from error
    return identity_of(readable)
