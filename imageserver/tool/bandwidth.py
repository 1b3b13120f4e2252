"""Commands of objecttool that measure how fast data travels."""

from __future__ import annotations

import os
import time

from imageserver.model.object_messages import (
    TestBandwidthRequest,
    TestBandwidthResponse,
)
from imageserver.tool.objecttool_session import ObjectSession
from imageserver.tool.units import show_bytes, show_rate, show_seconds

_METHOD = "ObjectServer.TestBandwidth"
_SECOND_NS = 1_000_000_000
_MORE, _LAST = b"\1", b"\0"
_PIECE_BYTES = 1 << 20


async def test_from_server(session: ObjectSession) -> int:
    """Measure how fast data comes."""
    settings = session.settings
    chunk_bytes = settings.chunk_size + 1
    received = 0
    server = await session.server()
    async with server.begin(_METHOD) as call:
        request = TestBandwidthRequest(settings.test_duration, settings.chunk_size)
        call.send(request)
        await call.drain()
        began_s = time.monotonic()
        is_last = False
        while not is_last:
            left = chunk_bytes - received % chunk_bytes
            data = await call.receive_bytes(left)
            received += len(data)
            is_last = received % chunk_bytes == 0 and data.endswith(_LAST)
        took_s = time.monotonic() - began_s
        response = await call.receive(TestBandwidthResponse)
    _tell(session, "Received {} from server", received, took_s, response)
    return 0


async def test_to_server(session: ObjectSession) -> int:
    """Measure how fast data goes."""
    settings = session.settings
    chunk = os.urandom(settings.chunk_size)
    more = (chunk + _MORE) * max(1, _PIECE_BYTES // (len(chunk) + 1))
    sent = 0
    server = await session.server()
    async with server.begin(_METHOD) as call:
        request = TestBandwidthRequest(
            settings.test_duration, settings.chunk_size, send_to_server=True
        )
        call.send(request)
        began_s = time.monotonic()
        while time.monotonic() - began_s < settings.test_duration / _SECOND_NS:
            call.write(more)
            sent += len(more)
            await call.drain()
        call.write(chunk + _LAST)
        sent += len(chunk) + 1
        await call.drain()
        response = await call.receive(TestBandwidthResponse)
        took_s = time.monotonic() - began_s
    _tell(session, "Sent {} to server", sent, took_s, response)
    return 0


def _tell(
    session: ObjectSession,
    what: str,
    size: int,
    took_s: float,
    response: TestBandwidthResponse,
) -> None:
    server_s = response.server_duration_ns / _SECOND_NS
    if session.talk.as_json:
        session.talk.json(
            {"bytes": size, "seconds": took_s, "server_seconds": server_s}
        )
        return
    session.talk.log(
        f"{what.format(show_bytes(size))} in {show_seconds(took_s)}"
        f" ({show_rate(size, took_s)}), at server: {show_seconds(server_s)}"
        f" ({show_rate(size, server_s)})"
    )
