"""The daemon under a supervisor, and what signals do to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import WAIT_S, Daemon, wait_until

pytestmark = pytest.mark.system

# What systemd does between fork and exec.
LAUNCHER = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.dup2(int(sys.argv[1]), 3)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Supervisor:
    """Stands in for systemd: has the port, and listens to what the daemon says."""

    def __init__(self, directory: Path) -> None:
        self.port = socket.create_server(("127.0.0.1", 0))
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(directory / "notify"))
        self.notices.settimeout(WAIT_S)
        self.environment = os.environ | {
            "NOTIFY_SOCKET": str(directory / "notify"),
            "WATCHDOG_USEC": "600000",
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "imageserver.socket",
        }

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start the daemon as systemd would."""
        launcher = [sys.executable, "-c", LAUNCHER, str(self.port.fileno())]
        return subprocess.Popen(
            [*launcher, *command],
            env=self.environment,
            pass_fds=(self.port.fileno(),),
            stderr=subprocess.PIPE,
        )

    def hear(self, line: str) -> str:
        """Wait for a notice that has this line."""
        while True:
            notice = self.notices.recv(4096).decode()
            if line in notice.splitlines():
                return notice

    def close(self) -> None:
        """Forget the sockets."""
        self.port.close()
        self.notices.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """Somebody who supervises."""
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.close()


def test_life(stopped_daemon: Daemon, supervisor: Supervisor, tmp_path: Path) -> None:
    """It takes the socket, tells how it is, reloads on HUP; no client is refused."""
    logs = tmp_path / "logs"
    command = stopped_daemon.command(f"-logDir={logs}")
    address = supervisor.port.getsockname()
    process = supervisor.start(command)
    stopped_daemon.port = address[1]
    supervisor.hear("READY=1")
    supervisor.hear("WATCHDOG=1")
    supervisor.hear("WATCHDOG=1")
    assert stopped_daemon.get("/healthz").endswith(b"OK")

    first = os.readlink(logs / "latest")
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGHUP):
        process.send_signal(number)
    supervisor.hear("RELOADING=1")
    supervisor.hear("READY=1")
    wait_until(lambda: os.readlink(logs / "latest") != first)
    assert "asked to reload" in (logs / first).read_text()
    wait_until(lambda: "loaded anew" in (logs / "latest").read_text())

    process.terminate()
    supervisor.hear("STOPPING=1")
    assert process.wait(WAIT_S) == 0
    with socket.create_connection(address) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        again = supervisor.start(command)
        client.settimeout(WAIT_S)
        assert client.recv(100).startswith(b"HTTP/1.0 200")

    again.send_signal(signal.SIGQUIT)
    assert again.wait(WAIT_S) == 2
    assert "Current thread 0x" in (logs / "latest").read_text()
    for each in (process, again):
        assert each.stderr is not None
        assert each.stderr.read() == b""
        each.stderr.close()


def test_wrong_socket(stopped_daemon: Daemon, supervisor: Supervisor) -> None:
    """A socket that is of no use ends it with the reason."""
    supervisor.port.close()
    supervisor.port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    process = supervisor.start(stopped_daemon.command())
    _, error = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    last = error.decode().splitlines()[-1]
    assert last == "imageserver: socket 3 is not one that listens"


def test_fatal_errors(stopped_daemon: Daemon, tmp_path: Path) -> None:
    """They are in the log file and on standard error; crashes are known afterwards."""
    logs = tmp_path / "logs"
    command = stopped_daemon.command(f"-logDir={logs}", "-keyFile=/nonexistent")
    done = subprocess.run(command, check=False, capture_output=True, timeout=WAIT_S)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("imageserver: ")
    log = (logs / "latest").read_text()
    assert log.splitlines()[0].endswith(" New log directory")
    assert " Startup: imageserver " in log
    assert log.endswith(f" {line}\n")
