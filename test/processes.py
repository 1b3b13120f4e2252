"""The real programs as processes, and a client that shares no code with theirs.

The client uses blocking sockets and :mod:`ssl`; only gob is ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imageserver import gob
from imageserver.tool.authority import Authority, Pair, Validity
from imageserver.tool.pair_files import write_pair

WAIT_S = 30
_LISTENING = re.compile(rb"listening on .* port (\d+)")


def wait_until(condition, timeout_s: float = WAIT_S) -> Any:
    """Poll ``condition`` until it is true, and return what it gave."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.02)


def trusting_context() -> ssl.SSLContext:
    """TLS as clients use it that verify nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Certificates:
    """A CA, the server's certificate and some users', in files below a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority.create("test CA", Validity.of_days(1))
        self.ca_file = self._ca("CA.pem", self.authority)
        self.issue("server", hosts=("localhost", "127.0.0.1"))
        self.issue("admin", methods=("*.*",))
        self.issue("nobody")
        stranger = Authority.create("foreign CA", Validity.of_days(1))
        self.issue("stranger", authority=stranger, methods=("*.*",))

    def _ca(self, name: str, authority: Authority) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(authority.pair.certificate)
        return path

    def issue(
        self, name: str, authority: Authority | None = None, **options: Any
    ) -> None:
        """Make ``name/cert.pem`` and ``name/key.pem``."""
        pair: Pair = (authority or self.authority).issue(
            name, Validity.of_days(1), **options
        )
        folder = self.directory / name
        write_pair(pair, folder / "cert.pem", folder / "key.pem")

    def of(self, name: str) -> Path:
        """The directory of somebody's certificate."""
        return self.directory / name


class Daemon:
    """The daemon as a process, with data below a directory."""

    def __init__(self, root: Path, certificates: Certificates) -> None:
        self.root = root
        self.images, self.objects = root / "images", root / "objects"
        self.log = root / "log"
        self.certificates = certificates
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.requires_tls = False
        for directory in (self.images, self.objects):
            directory.mkdir(parents=True, exist_ok=True)

    def command(self, *flags: str) -> list[str]:
        """The command line."""
        return [
            sys.executable,
            "-m",
            "imageserver.daemon",
            "-portNum=0",
            "-listenAddress=127.0.0.1",
            "-logDir=",
            f"-imageDir={self.images}",
            f"-objectDir={self.objects}",
            f"-CAfile={self.certificates.ca_file}",
            f"-certFile={self.certificates.of('server') / 'cert.pem'}",
            f"-keyFile={self.certificates.of('server') / 'key.pem'}",
            *(["-permitRoot"] if os.geteuid() == 0 else []),
            *flags,
        ]

    def start(self, *flags: str, command: list[str] | None = None) -> None:
        """Start it, and wait until it is ready."""
        self.requires_tls = "-requireTLS" in flags
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command or self.command(*flags), stdout=log, stderr=log
            )
        found = wait_until(lambda: self._ended() or _LISTENING.search(self.log_bytes()))
        assert found is not True, self.log_bytes().decode()
        self.port = int(found[1])
        wait_until(lambda: self.get("/readiness").startswith(b"HTTP/1.1 200"))

    def _ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def log_bytes(self) -> bytes:
        """What it has logged so far."""
        return self.log.read_bytes()

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(WAIT_S)

    def kill(self) -> None:
        """End it without warning."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(WAIT_S)

    def get(self, path: str) -> bytes:
        """The whole answer to an HTTP request."""
        return self.exchange(
            f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode()
        )

    def exchange(self, data: bytes) -> bytes:
        """Send ``data``, end our side, and return all that comes back."""
        with self._connect() as connection:
            connection.sendall(data)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    answer += piece
            return answer

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), WAIT_S)
        return trusting_context().wrap_socket(plain) if self.requires_tls else plain

    @contextlib.contextmanager
    def client(self, user: str | None = "admin") -> Iterator[Client]:
        """A client with somebody's certificate; ``None``: unsecured."""
        certificate = self.certificates.of(user) if user else None
        client = Client(self.port, certificate)
        try:
            yield client
        finally:
            client.close()

    def imagetool(
        self, *arguments: str, user: str = "admin"
    ) -> subprocess.CompletedProcess:
        """Run imagetool."""
        command = [
            sys.executable,
            "-m",
            "imageserver.tool.imagetool",
            "-imageServerHostname=127.0.0.1",
            f"-imageServerPortNum={self.port}",
            f"-certDirectory={self.certificates.of(user)}",
            *arguments,
        ]
        return subprocess.run(command, check=False, capture_output=True, timeout=120)


class Tool:
    """Our imagetool, in a folder with a tree."""

    def __init__(
        self, folder: Path, port: int, certificate: Path | None = None, *flags: str
    ) -> None:
        self.folder = folder
        self._command = [
            sys.executable,
            "-m",
            "imageserver.tool.imagetool",
            f"-imageServerPortNum={port}",
            "-imageServerHostname=127.0.0.1",
            f"-certDirectory={certificate or folder / 'none'}",
            *flags,
        ]

    def __call__(self, command: str) -> tuple[int, str, str]:
        """Exit code and what it says."""
        done = subprocess.run(
            [*self._command, *command.split(" ")],
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


class Client:
    """Speaks SRPC over a blocking socket."""

    def __init__(self, port: int, certificate: Path | None) -> None:
        self.socket: socket.socket = socket.create_connection(
            ("127.0.0.1", port), WAIT_S
        )
        path = b"/_go_TLS_SRPC_/" if certificate else b"/_goSRPC_/"
        self.socket.sendall(b"CONNECT " + path + b" HTTP/1.0\n\n")
        self.greeting = self.socket.recv(4096)
        if certificate is not None and b" 200 " in self.greeting:
            context = trusting_context()
            if certificate.is_dir():
                context.load_cert_chain(
                    certificate / "cert.pem", certificate / "key.pem"
                )
            self.socket = context.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")

    def close(self) -> None:
        """End the connection."""
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.socket.sendall(data)

    def line(self) -> str:
        """The next line, without its end."""
        line = self.file.readline()
        assert line.endswith(b"\n"), "the connection was closed"
        return line[:-1].decode()

    def begin(self, method: str) -> str:
        """Begin a call; the answer line, empty if it was accepted."""
        self.send(method.encode() + b"\n")
        return self.line()

    def receive(self, type_: Any, decoder: gob.Decoder | None = None) -> Any:
        """The next value."""
        decoder = decoder or gob.Decoder()
        while True:
            header = self.file.read(1)
            if header and header[0] >= 0x80:
                header += self.file.read(0x100 - header[0])
            found = gob.parse_message_length(header, 1 << 30)
            assert found, "the connection was closed"
            value = decoder.feed(self.file.read(found[0]), type_)
            if value is not gob.MORE:
                return value

    def call(self, method: str, request: Any, response: type) -> Any:
        """Call a request-reply method; the response, or the text of the error."""
        refusal = self.begin(method)
        if refusal:
            return refusal
        self.send(gob.Encoder().encode(request))
        return self.line() or self.receive(response)
