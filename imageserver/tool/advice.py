"""What to do about an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imageserver.client.credentials import load_key_pairs
from imageserver.errors import (
    CertificateError,
    ConnectionFailed,
    ImageServerError,
    MethodDenied,
    PeerClosed,
)
from imageserver.srpc.certificate import identity_of
from imageserver.tool.session import Session
from imageserver.tool.suggestion import suggest

_MASTER = "go to master: "


def advise(error: BaseException, certificates: Path) -> str:
    """A sentence for whoever got an error; empty if there is nothing to say.

    Args:
        error: what went wrong, or what was made of it.
        certificates: the directory where the user's certificates are.
    """
    cause = error.__cause__ or error
    if isinstance(error, MethodDenied) or isinstance(cause, MethodDenied):
        denied = error if isinstance(error, MethodDenied) else cause
        return _advise_denied(getattr(denied, "method", ""), certificates)
    for applies, advice in _cases(cause, str(error), certificates):
        if applies:
            return advice
    return ""


async def advise_name(error: BaseException, session: Session[Any]) -> str:
    """Which image may be meant, if there is none of the name; else empty."""
    cause = error if hasattr(error, "missing_name") else error.__cause__
    name = getattr(cause, "missing_name", "")
    if not name:
        return ""
    try:
        names = await (await session.images()).list_images()
    except ImageServerError:
        return ""
    return suggest(name, names).strip(" ()")


def _cases(
    cause: BaseException, text: str, certificates: Path
) -> Iterator[tuple[bool, str]]:
    """Whether each case is at hand, and what to say then."""
    yield (
        "missing certificate" in text,
        f"the server wants a certificate, and there is none in {certificates}: put"
        " NAME.cert and NAME.key there, or name another place with -certDirectory",
    )
    yield (
        isinstance(cause, CertificateError) and "expired" in text,
        f"get a new one, and remove the old one from {certificates}",
    )
    yield (
        isinstance(cause, PeerClosed) or "closed the connection" in text,
        "the server closed the connection; perhaps it refuses the certificate",
    )
    yield (
        "certificate verify failed" in text,
        "the server's certificate is of no CA in the file of -serverCAfile",
    )
    yield (
        "no access to image" in text,
        "who may: its creator, its owners, and the owner group of its directory",
    )
    master = text.partition(_MASTER)[2].partition(":")[0]
    yield bool(master), f"the server follows another one: -imageServerHostname {master}"
    yield (
        isinstance(cause, ConnectionFailed) and "refused" in text,
        "is the server running? -imageServerHostname and -imageServerPortNum say where",
    )
    yield isinstance(cause, PermissionError) and os.geteuid() != 0, "that takes root"


def _advise_denied(method: str, certificates: Path) -> str:
    what = method or "this"
    try:
        pairs = load_key_pairs(certificates)
        identity = identity_of(pairs[0].certificates[0]) if pairs else None
    except ImageServerError:
        identity = None
    if identity is None:
        return f"without a certificate nobody may call {what}"
    methods = ", ".join(identity.methods) or "no method"
    return (
        f"{identity.user} may not call {what}: the certificate permits {methods};"
        " whoever has the CA can issue another one"
    )
