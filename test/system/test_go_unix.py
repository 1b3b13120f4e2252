"""Clients in Go on the server's own machine, which move to a Unix socket."""

from __future__ import annotations

from pathlib import Path

import pytest
from golang.srpcpeer import take_steps
from processes import Daemon

pytestmark = pytest.mark.system

STEPS = {
    "ping": "ok",
    "make-directory dir": "ok",
    "list-directories": "ok . dir",
    "check-image dir/none": "ok false",
    "call Nobody.Nothing": "error unknown service: Nobody",
    "ping ": "ok",
}
CODERS = ["gob", "JSON"]
DENIED = "error access to method denied"


@pytest.fixture
def go(srpcpeer, stopped_daemon: Daemon):
    """Start the daemon with flags, and let a client take steps."""

    def run(steps, *flags: str, user="admin", daemon_flags=()) -> list[str]:
        daemon = stopped_daemon
        if daemon.process is None:
            daemon.start(*daemon_flags)
        folders = [daemon.certificates.of(user)]
        return take_steps(srpcpeer, daemon.port, steps, *flags, certificates=folders)

    yield run
    assert stopped_daemon.stop() == 0
    assert b"Traceback" not in stopped_daemon.log_bytes()


@pytest.mark.parametrize("coder", CODERS)
def test_abstract_socket(go, coder) -> None:
    """The client moves, and is who it was."""
    said = go(STEPS, f"-coder={coder}")
    assert said == [f"ok Unix {coder}", *STEPS.values()]
    steps = ["list-images", "make-directory other"]
    said = go(steps, f"-coder={coder}", user="nobody")
    assert said == [f"ok Unix {coder}", "ok", DENIED]


@pytest.mark.parametrize("coder", CODERS)
def test_socket_with_a_path(go, tmp_path, coder) -> None:
    """The same where the socket is a file."""
    flags = (f"-srpcUnixSocketPath={tmp_path / 'socket'}",)
    said = go(STEPS, f"-coder={coder}", daemon_flags=flags)
    assert said == [f"ok Unix {coder}", *STEPS.values()]


@pytest.mark.parametrize("coder", CODERS)
def test_no_socket(go, coder) -> None:
    """Where there is no socket the client stays, and nothing is out of step."""
    flags = ("-srpcUnixSocketPath=",)
    said = go(STEPS, f"-coder={coder}", daemon_flags=flags)
    assert said == [f"ok TLS {coder}", *STEPS.values()]


@pytest.mark.parametrize("coder", CODERS)
def test_out_of_reach(go, coder) -> None:
    """A client that cannot connect to the socket stays where it is."""
    said = go(STEPS, f"-coder={coder}", "-reachUnix=false")
    assert said == [f"ok TLS {coder}", *STEPS.values()]


def test_without_powers(go) -> None:
    """Who leaves its powers off may not move, and does not need to."""
    steps = ["ping", "list-images", "make-directory dir"]
    said = go(steps, "-powers=false")
    assert said[1:] == ["ok", "ok", DENIED]


def test_objects(go) -> None:
    """Objects go over the socket in both directions."""
    words = " ".join(f"word-{number}" for number in range(2_000))
    connected, added, got = go([f"add-objects {words}", f"get-objects {words}"])
    assert connected == "ok Unix gob"
    assert added.count("true") == 2_000
    assert got == "ok 2000"


def test_many_moves(go, stopped_daemon: Daemon) -> None:
    """Moving leaves no descriptor behind."""
    assert go(["ping"]) == ["ok Unix gob", "ok"]
    assert stopped_daemon.process is not None
    descriptors = Path(f"/proc/{stopped_daemon.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        go(["ping"])
    assert len(list(descriptors.iterdir())) <= before + 2
