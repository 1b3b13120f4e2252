"""Whom a chain of certificates makes of its holder: ``docs/security.md``, "Trust".

Nothing here relies on what the handshake has found: the chain is verified against
each set of authorities by itself. Names of issuers prove nothing, since whoever has an
authority's key can make an intermediate of any name.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from functools import lru_cache

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from imageserver.errors import CertificateError
from imageserver.srpc.access import Identity
from imageserver.srpc.certificate import identity_of
from imageserver.srpc.revocation import Revocations


def make_store(
    authorities: Iterable[x509.Certificate], store: crypto.X509Store | None = None
) -> crypto.X509Store:
    """What OpenSSL verifies with.

    Args:
        authorities: are trusted, each for itself.
        store: where to put them; ``None``: a new one.
    """
    store = store or crypto.X509Store()
    for authority in authorities:
        store.add_cert(_as_openssl(authority))
    # An intermediate alone in the CA file is trusted, as Go does.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    return store


@lru_cache(maxsize=1024)
def _as_openssl(authority: x509.Certificate) -> crypto.X509:
    """The same for OpenSSL; remembered, since it takes long."""
    return crypto.X509.from_cryptography(authority)


def _key_of(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _as_tuple(
    certificates: Iterable[x509.Certificate],
) -> tuple[x509.Certificate, ...]:
    return tuple(certificates)


@attrs.frozen(eq=False)
class Trust:
    """Whom a server believes.

    Attributes:
        full: authorities whose certificates give a user, groups and methods.
        identity: authorities whose certificates give a user and groups only, also if
            they are below one of the others.
        revocations: what was taken back.
    """

    full: tuple[x509.Certificate, ...] = attrs.field(converter=_as_tuple)
    identity: tuple[x509.Certificate, ...] = attrs.field(
        default=(), converter=_as_tuple
    )
    revocations: Revocations = attrs.field(factory=Revocations)
    _powerless: frozenset[bytes] = attrs.field(init=False, repr=False)

    @_powerless.default
    def _find_powerless(self) -> frozenset[bytes]:
        return frozenset(map(_key_of, self.identity)) - set(map(_key_of, self.full))

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """All of them, those of both kinds once."""
        return tuple(dict.fromkeys((*self.full, *self.identity)))

    def identify(
        self, sent: Sequence[x509.Certificate], now: datetime.datetime
    ) -> Identity:
        """Who the peer is.

        Args:
            sent: what the peer has sent: its certificate, then what may be needed to
                verify it, in any order.
            now: the time.

        Raises:
            CertificateError: it is nobody.
        """
        chain = _chain(self.full, sent, now)
        has_methods = chain is not None and not (
            self._powerless and any(_key_of(c) in self._powerless for c in chain)
        )
        if chain is None:
            chain = _chain(self.identity, sent, now)
        if chain is None:
            raise CertificateError(
                "no chain to a trusted authority from the certificate of "
                + sent[0].subject.rfc4514_string()
            )
        self.revocations.check(chain, self.authorities, now)
        identity = identity_of(chain[0])
        return identity if has_methods else attrs.evolve(identity, methods=())


def _chain(
    authorities: Iterable[x509.Certificate],
    sent: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> list[x509.Certificate] | None:
    """The verified chain up to one of the authorities, if there is one."""
    store = make_store(authorities)
    store.set_time(now)  # of any number of times a store takes the first one only
    leaf, *others = map(crypto.X509.from_cryptography, sent)
    context = crypto.X509StoreContext(store, leaf, others)
    try:
        found = context.get_verified_chain()
    except crypto.X509StoreContextError:
        return None
    chain = [certificate.to_cryptography() for certificate in found]
    return chain if all(map(_is_for_clients, chain)) else None


def _is_for_clients(certificate: x509.Certificate) -> bool:
    """Whether a certificate is good for clients, or for those below it who are."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return True
    except (ValueError, x509.DuplicateExtension) as error:
        raise CertificateError(f"unreadable extensions: {error}") from error
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage.value
