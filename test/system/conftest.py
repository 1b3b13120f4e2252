"""A daemon for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Certificates, Daemon


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One CA for all system tests."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def stopped_daemon(tmp_path: Path, certificates: Certificates) -> Iterator[Daemon]:
    """A daemon that was not started yet; it ends with the test."""
    daemon = Daemon(tmp_path / "daemon", certificates)
    yield daemon
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.kill()


@pytest.fixture
def daemon(stopped_daemon: Daemon) -> Daemon:
    """A daemon that is ready."""
    stopped_daemon.start()
    return stopped_daemon
