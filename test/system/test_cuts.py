"""imagetool over connections that break in the middle."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from processes import Daemon, Tool

pytestmark = pytest.mark.system

FILES, FILE_BYTES = 24, 500_000
CUT_AFTER_BYTES = 3_000_000


class CuttingProxy:
    """Passes connections on to a port, and cuts the first ones that carry much."""

    def __init__(self, port: int, cuts: int) -> None:
        self._port = port
        self.cuts_left = cuts
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65_536):
                passed += len(data)
                if passed > CUT_AFTER_BYTES and self._may_cut():
                    break
                target.sendall(data)
        for side in (source, target):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _may_cut(self) -> bool:
        with self._lock:
            self.cuts_left -= 1
            return self.cuts_left >= 0


@contextmanager
def cutting(port: int, cuts: int) -> Iterator[CuttingProxy]:
    """A proxy for the time of a block; it has to have cut as often as it should."""
    proxy = CuttingProxy(port, cuts)
    try:
        yield proxy
    finally:
        proxy.close()
    assert proxy.cuts_left <= 0


def test_cuts(stopped_daemon: Daemon, tmp_path: Path) -> None:
    """What was begun is ended, and nothing is missing; what was sent counts."""
    daemon = stopped_daemon
    daemon.start("-srpcUnixSocketPath=")
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(FILES):
        (tree / f"{number}").write_bytes(os.urandom(FILE_BYTES))
    certificate = daemon.certificates.of("admin")
    with cutting(daemon.port, 2) as proxy:
        tool = Tool(tmp_path, proxy.port, certificate)
        assert tool("add image tree  ") == (0, "", "")
    with cutting(daemon.port, 2) as proxy:
        tool = Tool(tmp_path, proxy.port, certificate)
        assert tool("get image copy") == (0, "", "")
    for path in tree.iterdir():
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()
    direct = Tool(tmp_path, daemon.port, certificate)
    assert direct("verify image") == (0, "", "")
