"""Measures a connection: ObjectServer.TestBandwidth.

::

    C: TestBandwidthRequest {Duration, ChunkSize, SendToServer}

    to the server:    C: chunks
                      S: TestBandwidthResponse {ServerDuration}
    from the server:  S: chunks, for the duration; TestBandwidthResponse

A chunk is ChunkSize bytes of anything, and a byte that is 0 in the last chunk, else 1.
"""

from __future__ import annotations

import os

import attrs

from imageserver.errors import LimitExceeded, RequestError
from imageserver.model.object_messages import (
    TestBandwidthRequest,
    TestBandwidthResponse,
)
from imageserver.srpc.call import Call
from imageserver.srpc.limit import Limit

CHUNK_BYTES = 65535
"""The longest chunk."""

_SHORTEST_S = 1.0
_LONGEST_S = 60.0
_LONGEST_TO_SERVER_S = 600.0
_BLOCK_BYTES = 256 << 10
_MORE, _LAST = b"\1", b"\0"
_NANOSECONDS = 1_000_000_000


@attrs.frozen
class Chunks:
    """As many chunks as are there, up to the last one; their number and if it was it.

    See :class:`~imageserver.srpc.protocol.Want`.
    """

    size: int

    def take(self, buffer: bytearray) -> tuple[int, bool] | None:
        """See :class:`~imageserver.srpc.protocol.Want`."""
        whole = self.size + 1
        count = len(buffer) // whole
        if not count:
            return None
        last = buffer[self.size : count * whole : whole].find(_LAST)
        if last >= 0:
            count = last + 1
        del buffer[: count * whole]
        return count, last >= 0


async def measure_bandwidth(call: Call) -> None:
    """Serve one call.

    Raises:
        RequestError: the chunks are too long.
        RemoteProtocolError: the connection is lost, or the peer takes too long.
        GobDecodeError: something else came in the place of the request.
    """
    request = await call.receive(TestBandwidthRequest)
    if request.chunk_size > CHUNK_BYTES:
        text = f"chunks of {request.chunk_size} bytes: the limit is {CHUNK_BYTES}"
        raise RequestError(text)
    clock = call.channel.clock
    started_s = clock.seconds()
    if request.send_to_server:
        await _receive(call, request.chunk_size)
    else:
        await _send(call, request.chunk_size, request.duration_ns / _NANOSECONDS)
    duration_ns = round((clock.seconds() - started_s) * _NANOSECONDS)
    call.send(TestBandwidthResponse(duration_ns))
    await call.drain()


async def _receive(call: Call, size: int) -> None:
    channel, is_last = call.channel, False
    latest_s = channel.clock.seconds() + _LONGEST_TO_SERVER_S
    while not is_last:
        if channel.clock.seconds() > latest_s:
            text = f"it goes on after {_LONGEST_TO_SERVER_S:g} s"
            raise LimitExceeded(Limit.BODY, text)
        _, is_last = await channel.take(Chunks(size), channel.deadlines.body_s)


async def _send(call: Call, size: int, duration_s: float) -> None:
    clock = call.channel.clock
    chunk = os.urandom(size)
    block = (chunk + _MORE) * max(1, _BLOCK_BYTES // (size + 1))
    end_s = clock.seconds() + min(max(duration_s, _SHORTEST_S), _LONGEST_S)
    while clock.seconds() < end_s:
        call.write(block)
        await call.drain()
    call.write(chunk + _LAST)
    await call.drain()
