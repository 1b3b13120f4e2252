"""How long a peer may take, and how much it may say before it is known."""

from __future__ import annotations

import attrs

from imageserver.srpc.message_memory import MEMORY_BYTES

HEAD_BYTES = 32 << 10
METHOD_LINE_BYTES = 512


@attrs.frozen
class Deadlines:
    """How long a peer may take, in seconds.

    Attributes:
        first_byte_s: until it says anything at all.
        head_s: from there to the end of the request's head.
        handshake_s: for a TLS handshake.
        body_s: until the next piece of a call's body.
        stall_s: without taking a mebibyte of what is sent to it, and for its part in
            closing the connection.
        keep_alive_s: without any traffic before the system asks whether it is alive.
    """

    first_byte_s: float = 15.0
    head_s: float = 30.0
    handshake_s: float = 60.0
    body_s: float = 900.0
    stall_s: float = 300.0
    keep_alive_s: float = 300.0


@attrs.frozen
class Lengths:
    """How much a peer may say, in bytes.

    Attributes:
        head: the head of its first request.
        method_line: which method it wants to call.
        all_messages: long messages that come in, on all connections together.
    """

    head: int = HEAD_BYTES
    method_line: int = METHOD_LINE_BYTES
    all_messages: int = MEMORY_BYTES
