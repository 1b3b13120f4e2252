"""How long a peer may take."""

from __future__ import annotations

import attrs


@attrs.frozen
class Deadlines:
    """How long a peer may take, in seconds.

    Attributes:
        head_s: from the first byte to the end of the request's head.
        handshake_s: for a TLS handshake.
        body_s: until the next piece of a call's body.
        stall_s: without taking a mebibyte of what is sent to it, and for its part in
            closing the connection.
        keep_alive_s: without any traffic before the system asks whether it is alive.
    """

    head_s: float = 30.0
    handshake_s: float = 60.0
    body_s: float = 900.0
    stall_s: float = 300.0
    keep_alive_s: float = 300.0
