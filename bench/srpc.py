"""Calls: pings, new TLS sessions, and the memory of idle connections.

The daemon runs as a process of its own; what counts is its processor time and memory.
The client is blocking sockets and :mod:`ssl`, in this process.
"""

from __future__ import annotations

import os
import resource
import selectors
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
from dawdlers import client_context, dawdling, room_for
from processes import Certificates, Daemon

from bench.measure import Row, report

_PINGS = 20_000
_PIPELINED = 100
_ROUNDS = 1_000
_CONNECTIONS = 100
_SESSIONS = 1_000
_IDLE = 5_000
_CROWD = 2_000
_SOME_PINGS = 2_000
_CLIENTS = 4
_DESCRIPTORS = 3 * _IDLE
_TICKS = os.sysconf("SC_CLK_TCK")
_CONNECT = {True: b"/_go_TLS_SRPC_/", False: b"/_goSRPC_/"}


@attrs.frozen
class Spent:
    """What something took.

    Attributes:
        wall_s: time.
        cpu_s: processor time of the daemon.
    """

    wall_s: float
    cpu_s: float


@attrs.frozen
class Bench:
    """The daemon, and how to reach it."""

    port: int
    pid: int
    context: ssl.SSLContext

    def connect(self, *, tls: bool) -> socket.socket:
        """A connection that is ready for calls."""
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"CONNECT " + _CONNECT[tls] + b" HTTP/1.0\n\n")
        assert b"200 Connected" in connection.recv(100)
        return self.context.wrap_socket(connection) if tls else connection

    def spend(self, function: Callable[[], object]) -> Spent:
        """Do something, and see what it took."""
        wall, cpu = time.perf_counter(), self._cpu_s()
        function()
        return Spent(time.perf_counter() - wall, self._cpu_s() - cpu)

    def _cpu_s(self) -> float:
        text = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / _TICKS

    def resident_bytes(self) -> int:
        """The daemon's memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        return 0


def ping_one(bench: Bench, *, tls: bool) -> Spent:
    """One connection, one ping at a time."""
    connection = bench.connect(tls=tls)

    def run() -> None:
        for _ in range(_PINGS):
            connection.sendall(b"\n")
            connection.recv(1)

    run()  # until everything is warm
    spent = bench.spend(run)
    connection.close()
    return spent


def ping_pipelined(bench: Bench, *, tls: bool) -> Spent:
    """One connection, many pings at a time."""
    connection = bench.connect(tls=tls)

    def run() -> None:
        for _ in range(_ROUNDS):
            connection.sendall(b"\n" * _PIPELINED)
            missing = _PIPELINED
            while missing:
                missing -= len(connection.recv(missing))

    spent = bench.spend(run)
    connection.close()
    return spent


def ping_many(bench: Bench, *, tls: bool) -> Spent:
    """Many connections, a ping at a time on each."""
    connections = [bench.connect(tls=tls) for _ in range(_CONNECTIONS)]
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ, connection)

    def run() -> None:
        for connection in connections:
            connection.sendall(b"\n")
        missing = _PINGS
        while missing:
            for key, _ in selector.select():
                key.data.recv(1)
                missing -= 1
                if missing >= _CONNECTIONS:
                    key.data.sendall(b"\n")
                if not missing:
                    break

    spent = bench.spend(run)
    selector.close()
    for connection in connections:
        connection.close()
    return spent


def new_sessions(bench: Bench) -> Spent:
    """CONNECT, handshake with a client certificate, ping, end."""

    def session(_: int) -> None:
        with bench.connect(tls=True) as connection:
            connection.sendall(b"\n")
            connection.recv(1)

    def run() -> None:
        with ThreadPoolExecutor(_CLIENTS) as pool:
            list(pool.map(session, range(_SESSIONS)))

    return bench.spend(run)


def idle_memory(bench: Bench) -> float:
    """Bytes for each idle TLS connection, after a ping on it."""
    before = bench.resident_bytes()
    connections = []
    for _ in range(_IDLE):
        connection = bench.connect(tls=True)
        connection.sendall(b"\n")
        connection.recv(1)
        connections.append(connection)
    each = (bench.resident_bytes() - before) / _IDLE
    for connection in connections:
        connection.close()
    return each


def ping_beside_crowd(bench: Bench) -> tuple[float, float]:
    """Median and 99th percentile of a ping, in milliseconds, while others dawdle."""
    connection = bench.connect(tls=True)
    times_ms = []
    with dawdling(bench.port, room_for(_CROWD), bench.context):
        for _ in range(_SOME_PINGS):
            began = time.perf_counter()
            connection.sendall(b"\n")
            connection.recv(1)
            times_ms.append((time.perf_counter() - began) * 1e3)
    connection.close()
    times_ms.sort()
    return times_ms[_SOME_PINGS // 2], times_ms[_SOME_PINGS * 99 // 100]


def _rows(bench: Bench) -> Iterator[Row]:
    # Memory comes first: what others have left would be used again.
    each = f"{idle_memory(bench) / 1024:.1f} KiB"
    yield Row(f"memory of an idle TLS connection of {_IDLE:,}", each, "64 KiB")
    for tls in (False, True):
        where = "TLS" if tls else "plain"
        for what, function, count, target in (
            ("pings, 1 connection", ping_one, _PINGS, "8,000"),
            ("pings, 100 connections", ping_many, _PINGS, "8,000"),
            ("pings, pipelined", ping_pipelined, _ROUNDS * _PIPELINED, "30,000"),
        ):
            spent = function(bench, tls=tls)
            yield Row(
                f"{where}: {what} per CPU second",
                f"{count / spent.cpu_s:,.0f}",
                target,
                0,
                f"{count / spent.wall_s:,.0f} per second",
            )
    spent = new_sessions(bench)
    note = f"{_SESSIONS / spent.wall_s:,.0f} per second"
    value = f"{_SESSIONS / spent.cpu_s:,.0f}"
    yield Row("new TLS sessions per CPU second", value, "400", 0, note)
    median_ms, late_ms = ping_beside_crowd(bench)
    what = f"ping beside {_CROWD:,} slow connections: 99th percentile"
    yield Row(what, f"{late_ms:.2f} ms", "50 ms", 0, f"median {median_ms:.2f} ms")


def main() -> None:
    """Measure, and print a table."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, hard), hard))
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates(Path(directory))
        daemon = Daemon(Path(directory) / "daemon", certificates)
        daemon.start("-allowUnauthenticatedReads")
        try:
            assert daemon.process is not None
            context = client_context(certificates.of("admin"))
            bench = Bench(daemon.port, daemon.process.pid, context)
            report("Calls", _rows(bench))
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
