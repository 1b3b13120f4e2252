"""Filters of a replica are read again on HUP."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Certificates, Daemon, wait_until

pytestmark = pytest.mark.system


@pytest.fixture
def pair(tmp_path: Path, certificates: Certificates) -> Iterator[tuple[Daemon, Daemon]]:
    """A master and a replica, not started yet."""
    certificates.issue("replica", methods=("*.*",), hosts=("127.0.0.1",))
    master, replica = (Daemon(tmp_path / name, certificates) for name in ("a", "b"))
    yield master, replica
    for daemon in (master, replica):
        if daemon.process is not None:
            daemon.kill()


def test_filters(pair: tuple[Daemon, Daemon], tmp_path: Path) -> None:
    """The replica then has what is wanted now; a bad filter changes nothing."""
    master, replica = pair
    filter_, tree = tmp_path / "filter", tmp_path / "tree"
    filter_.write_text("old/.*\n")
    tree.mkdir()
    (tree / "file").write_text("content")
    master.start()
    for name in ("old", "new"):
        assert master.imagetool("mkdir", name).returncode == 0
        add = ("add", f"{name}/1", str(tree), "", "")
        assert master.imagetool(*add).returncode == 0
    own = replica.certificates.of("replica")
    replica.start(
        "-imageServerHostname=127.0.0.1",
        f"-imageServerPortNum={master.port}",
        f"-certFile={own / 'cert.pem'}",
        f"-keyFile={own / 'key.pem'}",
        f"-replicationIncludeFilter={filter_}",
    )
    assert replica.process is not None
    files = replica.images / "old" / "1", replica.images / "new" / "1"
    wait_until(lambda: files[0].exists() and files[0].stat().st_size)
    assert not files[1].exists()

    filter_.write_text("[\n")
    replica.process.send_signal(signal.SIGHUP)
    wait_until(lambda: b"filters are not read anew" in replica.log_bytes())

    filter_.write_text("new/.*\n")
    replica.process.send_signal(signal.SIGHUP)
    wait_until(lambda: files[1].exists() and files[1].stat().st_size)
    wait_until(lambda: b"old/1" not in replica.imagetool("list").stdout)
    assert b"Error dialing" not in replica.log_bytes()
    assert b"Traceback" not in replica.log_bytes()
