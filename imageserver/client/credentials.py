"""The client certificates in a directory: ``docs/security.md``, "Clients"."""

from __future__ import annotations

import datetime
from pathlib import Path

from imageserver.errors import CertificateError
from imageserver.srpc.certificate import identity_of
from imageserver.srpc.tls import KeyPair

_ALL_METHODS = "*.*"


def load_key_pairs(directory: Path) -> list[KeyPair]:
    """The certificates in a directory, the best first.

    All pairs ``NAME.key`` and ``NAME.cert`` count, and ``key.pem`` with ``cert.pem``.
    One that permits all methods is best, then more methods, then a longer life. The
    server's list of authorities decides which of them is used.

    Raises:
        CertificateError: one of them cannot be used.
    """
    if not directory.is_dir():
        return []
    names = [(key.with_suffix(".cert"), key) for key in sorted(directory.glob("*.key"))]
    names.append((directory / "cert.pem", directory / "key.pem"))
    pairs = [
        KeyPair.load(certificate, key)
        for certificate, key in names
        if certificate.exists() and key.exists()
    ]
    now = datetime.datetime.now(datetime.UTC)
    for pair in pairs:
        if pair.expires < now:
            raise CertificateError(f"certificate expired at {pair.expires}")
    return sorted(pairs, key=_rank, reverse=True)


def _rank(pair: KeyPair) -> tuple[bool, int, datetime.datetime]:
    methods = identity_of(pair.certificates[0]).methods
    return _ALL_METHODS in methods, len(methods), pair.expires
