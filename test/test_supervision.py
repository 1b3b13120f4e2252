"""What a supervisor is told, and the sockets that it hands over."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from imageserver.supervision import Supervisor

PROCESS = 17


class Listener:
    """A supervisor's socket."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """What was said since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.mark.parametrize("abstract", [False, True])
def test_life(tmp_path: Path, abstract: bool) -> None:
    """It hears that we live, are ready, reload, and stop."""
    name = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    listener = Listener(name.replace("@", "\0"))
    clock = Clock()
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000"}
    supervisor = Supervisor(clock, environment, PROCESS)
    assert listener.heard() == []
    supervisor.startService()
    assert listener.heard() == ["WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000"]
    supervisor.ready("serving")
    assert listener.heard() == ["READY=1\nSTATUS=serving"]
    clock.advance(9)
    assert listener.heard() == []
    clock.advance(1)
    assert listener.heard() == ["WATCHDOG=1"]
    supervisor.reloading()
    (message,) = listener.heard()
    first, second = message.split("\n")
    assert first == "RELOADING=1"
    moment_us = int(second.removeprefix("MONOTONIC_USEC="))
    assert 0 <= time.monotonic() * 1e6 - moment_us < 60e6
    supervisor.stopping()
    supervisor.stopService()
    clock.advance(100)
    assert listener.heard() == ["STOPPING=1"]
    listener.socket.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "3", "WATCHDOG_PID": "18"},
    ],
)
def test_no_watchdog(tmp_path: Path, environment: dict[str, str]) -> None:
    """Without a watchdog, or one for somebody else, signs of life are rare."""
    listener = Listener(str(tmp_path / "notify"))
    clock = Clock()
    environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    supervisor = Supervisor(clock, environment, PROCESS)
    supervisor.startService()
    listener.heard()
    clock.advance(19)
    assert listener.heard() == []
    supervisor.stopService()
    listener.socket.close()


def test_nobody(tmp_path: Path) -> None:
    """Without a supervisor, or with one that is gone, nothing happens."""
    clock = Clock()
    supervisor = Supervisor(clock, {}, PROCESS)
    supervisor.startService()
    supervisor.ready("serving")
    supervisor.stopService()
    assert clock.getDelayedCalls() == []
    gone = Supervisor(clock, {"NOTIFY_SOCKET": str(tmp_path / "gone")}, PROCESS)
    gone.startService()
    gone.stopService()
