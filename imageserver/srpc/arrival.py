"""What the server knows of a connection, and of a call on it."""

from __future__ import annotations

import attrs

from imageserver.srpc.access import Identity
from imageserver.srpc.accounting import Way
from imageserver.srpc.connection_limits import Place


@attrs.frozen
class Arrival:
    """What is known about a connection; see ``CallServer.serve``."""

    powers: bool
    address: str
    way: Way
    identity: Identity | None
    place: Place | None


@attrs.frozen(eq=False)
class RunningCall:
    """A call that goes on.

    Attributes:
        method: ``Service.Method``.
        user: who calls; may be empty.
        address: from where.
        began_s: since when, by the server's clock.
    """

    method: str
    user: str
    address: str
    began_s: float
