"""Pages over HTTPS, with certificates."""

from __future__ import annotations

import os
import socket
import ssl

import pytest
from gallery import upload
from processes import Daemon, trusting_context

from imageserver.model.hash import hash_of

pytestmark = pytest.mark.system


def get(daemon: Daemon, path: str, user: str | None) -> bytes:
    """The answer to whoever has somebody's certificate."""
    context: ssl.SSLContext = trusting_context()
    if user is not None:
        certificate = daemon.certificates.of(user)
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    plain = socket.create_connection(("127.0.0.1", daemon.port), 30)
    with context.wrap_socket(plain) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_certificates(daemon: Daemon) -> None:
    """Who may call the method sees the page, over HTTPS; nobody else does."""
    for path in ("/logs", "/logs/showStackTrace", "/metricsapi/proc/args?singleton=1"):
        for user in (None, "nobody", "stranger"):
            status = get(daemon, path, user).split(b"\r\n")[0]
            refused = b"404" if "singleton" in path else b"403"
            assert refused in status, (path, user)
        assert b" 200 " in get(daemon, path, "admin").split(b"\r\n")[0], path
        assert b" 200 " not in daemon.get(path).split(b"\r\n")[0], path
    unknown = f"/getObject?{'0' * 128}"
    assert b" 404 " in get(daemon, unknown, "admin").split(b"\r\n")[0]
    assert b" 403 " in get(daemon, unknown, "nobody").split(b"\r\n")[0]
    for user in (None, "nobody", "stranger", "admin"):
        assert b" 200 " in get(daemon, "/", user).split(b"\r\n")[0]


def test_contents(daemon: Daemon) -> None:
    """Objects come whole over HTTPS."""
    content = os.urandom(3 << 20)
    with daemon.client() as client:
        upload(client, [content])
    answer = get(daemon, f"/getObject?{hash_of(content).hex()}", "admin")
    assert answer.partition(b"\r\n\r\n")[2] == content


def test_live_numbers(daemon: Daemon) -> None:
    """Numbers that change come over HTTPS as well."""
    plain = socket.create_connection(("127.0.0.1", daemon.port), 30)
    with trusting_context().wrap_socket(plain) as connection:
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while b"data: {" not in answer:
            answer += connection.recv(4096)
    assert b"text/event-stream" in answer


def test_unknown_section(stopped_daemon: Daemon) -> None:
    """A word that opens nothing is an error, not forgotten."""
    with pytest.raises(AssertionError, match="there is no 'everything'"):
        stopped_daemon.start("-openPages=files,everything")
