"""What both sides of the move to a Unix socket have in common.

``docs/protocol.md``, "Local upgrade". A name is a path, or ``@`` and a name in the
abstract space, which no file stands for.
"""

from __future__ import annotations

from typing import Any

METHOD = ".LocalUpgradeToUnix"
COOKIE_BYTES = 8
ACKNOWLEDGED = b"\0"

_LONGEST = 107  # bytes; the system takes no more
_ABSTRACT = "@"


def address_of(name: str) -> str:
    """What to give to the system for the name of a socket.

    Raises:
        ValueError: no socket can have that name.
    """
    is_abstract = name.startswith(_ABSTRACT)
    if not (is_abstract or name.startswith("/")):
        raise ValueError(f"neither a full path nor a name with @: {name!r}")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"not UTF-8: {name!r}") from None
    if "\0" in name or not 2 <= length <= _LONGEST:
        raise ValueError(f"not a name for a Unix socket: {name!r}")
    return "\0" + name[1:] if is_abstract else name


def is_local(transport: Any) -> bool:
    """Whether both ends of a TCP connection have the same address."""
    here, there = transport.getHost(), transport.getPeer()
    host = getattr(here, "host", None)
    return host is not None and host == getattr(there, "host", None)
