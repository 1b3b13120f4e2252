"""nginx serving the same object files, if it is installed: a yardstick."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from processes import Certificates

_CONFIGURATION = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr crit;
events {{ worker_connections 64; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000; tcp_nopush on;
    client_body_temp_path {directory}/a; proxy_temp_path {directory}/b;
    fastcgi_temp_path {directory}/c; uwsgi_temp_path {directory}/d;
    scgi_temp_path {directory}/e; ssl_buffer_size 16k;
    ssl_certificate {certificate}/cert.pem; ssl_certificate_key {certificate}/key.pem;
    server {{
        listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl;
        root {objects};
    }}
}}
"""
_BATCH = 64
_PIECE_BYTES = 1 << 20


def find_nginx() -> str | None:
    """The program: what NGINX_PROGRAM says, or the one that is installed."""
    return os.environ.get("NGINX_PROGRAM") or shutil.which("nginx")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Nginx:
    """A running nginx.

    Attributes:
        pid: its process.
    """

    def __init__(self, pid: int, ports: dict[bool, int]) -> None:
        self.pid = pid
        self._ports = ports

    def connect(self, *, tls: bool) -> socket.socket:
        """A connection to it."""
        connection = socket.create_connection(("127.0.0.1", self._ports[tls]))
        if not tls:
            return connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(connection)

    def get(self, hashes: Sequence[bytes], *, tls: bool) -> int:
        """Fetch objects over one connection, many asked for at a time; their size."""
        buffer = memoryview(bytearray(_PIECE_BYTES))
        total = 0
        with self.connect(tls=tls) as connection:
            for start in range(0, len(hashes), _BATCH):
                batch = hashes[start : start + _BATCH]
                connection.sendall(b"".join(map(_request, batch)))
                for _ in batch:
                    total += _read_answer(connection, buffer)
        return total


def _request(hash_: bytes) -> bytes:
    name = hash_.hex()
    path = f"/{name[:2]}/{name[2:4]}/{name[4:]}"
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


_rest: dict[socket.socket, bytes] = {}


def _read_answer(connection: socket.socket, buffer: memoryview) -> int:
    head = _rest.pop(connection, b"")
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    head, _, begun = head.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    (line,) = [
        line for line in head.split(b"\r\n") if line.lower().startswith(b"content-le")
    ]
    length = missing = int(line.partition(b":")[2])
    if len(begun) > missing:
        _rest[connection] = begun[missing:]
        return length
    missing -= len(begun)
    while missing:
        missing -= connection.recv_into(buffer, min(missing, len(buffer)))
    return length


@contextmanager
def running(
    program: str, directory: Path, objects: Path, certificates: Certificates
) -> Iterator[Nginx]:
    """nginx, on the files of objects."""
    directory.mkdir()
    ports = {tls: _free_port() for tls in (False, True)}
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=directory,
            certificate=certificates.of("server"),
            plain=ports[False],
            tls=ports[True],
            objects=objects,
        )
    )
    command = [program, "-p", str(directory), "-c", str(configuration), "-e", "stderr"]
    process = subprocess.Popen(command)  # noqa: S603 - the operator's own
    try:
        nginx = Nginx(process.pid, ports)
        _wait_for(nginx, process)
        yield nginx
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(nginx: Nginx, process: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        assert process.poll() is None, "nginx has ended"
        try:
            nginx.connect(tls=False).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("nginx does not listen")
