"""A relay between a client and a server, which can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """Passes on connections from a port of its own.

    Attributes:
        port: its port.
        passed_bytes: how much was passed on to clients.
        cuts: how often all connections were cut.
    """

    def __init__(self, target: int) -> None:
        """Pass on to a port of this machine."""
        self.target = target
        self.passed_bytes = 0
        self.cuts = 0
        self._cut_at: list[int] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, offsets: list[int]) -> None:
        """Cut everything when so many bytes more were passed on."""
        with self._lock:
            self._cut_at = sorted(self.passed_bytes + offset for offset in offsets)

    def cut(self) -> None:
        """Cut all connections now."""
        with self._lock:
            self.cuts += 1
            sockets, self._sockets = self._sockets, set()
        for end in sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets.update((client, server))
            for source, sink, counts in (
                (client, server, False),
                (server, client, True),
            ):
                arguments = (source, sink, counts)
                threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                room = self._room(len(data)) if counts else len(data)
                sink.sendall(data[:room])
                if room < len(data):
                    self.cut()
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _room(self, size: int) -> int:
        """How much may be passed on before the next cut."""
        with self._lock:
            room = size
            if self._cut_at and self.passed_bytes + size > self._cut_at[0]:
                room = max(0, self._cut_at.pop(0) - self.passed_bytes)
            self.passed_bytes += room
            return room
