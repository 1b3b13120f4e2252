"""Which certificates lie above one another."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may sign others."""
    try:
        constraints = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        )
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    return constraints.value.ca


def chain_of(
    certificate: x509.Certificate, candidates: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """A certificate and those above it, without the root.

    Args:
        certificate: the lowest; for a root there is nothing in the chain.
        candidates: those that may be above it, in any order.
    """
    chain: list[x509.Certificate] = []
    found: x509.Certificate | None = certificate
    while found and found not in chain and not _is_issued(found, by=found):
        chain.append(found)
        below = found
        found = next((c for c in candidates if _is_issued(below, by=c)), None)
    return tuple(chain)


def _is_issued(certificate: x509.Certificate, *, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
