"""Crowds of peers that want to wear the daemon out."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from dawdlers import client_context, dawdling, room_for
from processes import Daemon, wait_until

pytestmark = pytest.mark.system

CROWD = 2_000
BYTES_EACH = 64 << 10
FLAGS = ("-firstByteTimeout=1s", "-requestHeadTimeout=1s")


def resident_bytes(pid: int) -> int:
    """The memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError(pid)


def test_slow_crowd(stopped_daemon: Daemon) -> None:
    """Slow peers keep nobody from being served, and take little memory each."""
    daemon = stopped_daemon
    daemon.start()
    assert daemon.process is not None
    crowd = room_for(CROWD)
    context = client_context(daemon.certificates.of("admin"))
    with daemon.client() as client:
        before = resident_bytes(daemon.process.pid)
        with dawdling(daemon.port, crowd, context):
            for _ in range(200):
                client.send(b"\n")
                assert client.line() == ""
            each = (resident_bytes(daemon.process.pid) - before) / crowd
            assert each < BYTES_EACH
            with daemon.client() as newcomer:
                newcomer.send(b"\n")
                assert newcomer.line() == ""
    assert daemon.stop() == 0
    assert b"Traceback" not in daemon.log_bytes()


def test_slow_peers_are_cut_off(stopped_daemon: Daemon) -> None:
    """Who says nothing, or does not finish the head, has to go; that is logged."""
    daemon = stopped_daemon
    daemon.start(*FLAGS)
    for beginning, limit in ((b"", b"first-byte-time"), (b"CONN", b"header-time")):
        with socket.create_connection(("127.0.0.1", daemon.port), 30) as connection:
            connection.sendall(beginning)
            try:
                assert connection.recv(100) == b""
            except ConnectionResetError:
                pass
        wait_until(lambda limit=limit: b"closed: " + limit in daemon.log_bytes())
    assert daemon.stop() == 0


def test_newcomers_have_a_place(stopped_daemon: Daemon) -> None:
    """Where too many have not said who they are, the slowest has to go."""
    daemon = stopped_daemon
    daemon.start("-maxHalfOpenConnections=20")
    with daemon.client() as known:
        idle = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(60)]
        with daemon.client() as newcomer:
            for client in (known, newcomer):
                client.send(b"\n")
                assert client.line() == ""
        for connection in idle:
            connection.close()
    wait_until(lambda: b"half-open-connections" in daemon.log_bytes())
    assert daemon.stop() == 0
