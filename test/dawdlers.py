"""Peers that begin something and do not go on."""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from processes import trusting_context

_CONNECT = b"CONNECT /_go_TLS_SRPC_/ HTTP/1.0\n\n"
_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
_SPARE = 512

STAGES = ("before CONNECT", "inside the head", "inside the handshake", "after it")


def room_for(count: int) -> int:
    """So many connections, or as many as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, max(soft, count + _SPARE))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return min(count, (wanted - _SPARE) // 2)


def client_context(certificate: Path) -> ssl.SSLContext:
    """TLS with a client certificate, as clients that verify nothing use it."""
    context = trusting_context()
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


@contextmanager
def dawdling(port: int, count: int, context: ssl.SSLContext) -> Iterator[None]:
    """As many connections at each stage, of ``count`` in all; gone at the end."""
    with ExitStack() as stack:
        for number in range(count):
            stage = STAGES[number % len(STAGES)]
            stack.enter_context(_stop_at(stage, port, context))
        yield


def _stop_at(stage: str, port: int, context: ssl.SSLContext) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 30)
    if stage == "inside the head":
        connection.sendall(_CONNECT[:20])
    elif stage != "before CONNECT":
        connection.sendall(_CONNECT)
        assert b" 200 " in connection.recv(100)
        if stage == "after it":
            return context.wrap_socket(connection)
        connection.sendall(_HELLO)
    return connection
