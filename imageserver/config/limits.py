"""How much peers may take."""

from __future__ import annotations

import attrs

from imageserver.flags import DURATION, MINUTE, SECOND, SIZE, UINT, Flag
from imageserver.rpc.object_server import OBJECT_BYTES
from imageserver.srpc.connection_limits import ConnectionLimits
from imageserver.srpc.deadlines import Lengths
from imageserver.srpc.message_memory import MEMORY_BYTES

_GROUP = "Limits for peers"

FLAGS = (
    Flag(
        "maxConnections",
        UINT,
        0,
        "open connections; 0: 20000, or what the limit of open files allows",
        _GROUP,
    ),
    Flag(
        "maxConnectionsPerAddress",
        UINT,
        0,
        "... from one address, but this machine; 0: half of all",
        _GROUP,
    ),
    Flag(
        "maxConnectionsPerUser",
        UINT,
        0,
        "... by one user; 0: half of all",
        _GROUP,
    ),
    Flag(
        "maxHalfOpenConnections",
        UINT,
        0,
        "... of peers not known yet, and for pages; 0: 4096, or half of all",
        _GROUP,
    ),
    Flag(
        "firstByteTimeout",
        DURATION,
        15 * SECOND,
        "limit for the first byte on a connection",
        _GROUP,
        least=1,
    ),
    Flag(
        "requestHeadTimeout",
        DURATION,
        30 * SECOND,
        "limit for the head of the first request",
        _GROUP,
        least=1,
    ),
    Flag(
        "callBodyTimeout",
        DURATION,
        15 * MINUTE,
        "limit for each next piece of a call's body",
        _GROUP,
        least=1,
    ),
    Flag(
        "stalledReaderTimeout",
        DURATION,
        5 * MINUTE,
        "how long a peer may not read what it is sent",
        _GROUP,
        least=1,
    ),
    Flag(
        "maxRequestHead",
        SIZE,
        32 << 10,
        "length of the head of the first request",
        _GROUP,
        least=1,
    ),
    Flag("maxMethodLine", SIZE, 512, "length of a method line", _GROUP, least=1),
    Flag(
        "maxHashListMessage",
        SIZE,
        32 << 20,
        "length of a request of CheckObjects and GetObjects",
        _GROUP,
        least=1,
    ),
    Flag("maxObjectSize", SIZE, OBJECT_BYTES, "size of an object", _GROUP, least=1),
    Flag(
        "maxImageMessage",
        SIZE,
        512 << 20,
        "length of a request of AddImage",
        _GROUP,
        least=1,
    ),
    Flag(
        "maxMessageMemory",
        SIZE,
        MEMORY_BYTES,
        "memory for requests of more than 16 KiB while they come in, of all peers",
        _GROUP,
        least=1,
    ),
)


@attrs.frozen(slots=False)
class LimitSettings:
    """How much peers may take."""

    max_connections: int
    max_connections_per_address: int
    max_connections_per_user: int
    max_half_open_connections: int
    first_byte_timeout: int
    request_head_timeout: int
    call_body_timeout: int
    stalled_reader_timeout: int
    max_request_head: int
    max_method_line: int
    max_hash_list_message: int
    max_object_size: int
    max_image_message: int
    max_message_memory: int

    @property
    def lengths(self) -> Lengths:
        """How much peers may say."""
        return Lengths(
            self.max_request_head,
            self.max_method_line,
            max(self.max_message_memory, self.max_image_message),
        )

    def connection_limits(self, descriptors: int) -> ConnectionLimits:
        """How many connections there may be.

        Args:
            descriptors: how many files and connections the process may have open.
        """
        return ConnectionLimits.choose(
            descriptors,
            self.max_connections,
            self.max_connections_per_address,
            self.max_connections_per_user,
            self.max_half_open_connections,
        )
