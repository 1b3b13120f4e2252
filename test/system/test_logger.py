"""Watching the log of a real daemon."""

from __future__ import annotations

import pytest
from processes import Daemon, wait_until

from imageserver import gob
from imageserver.model.logger_messages import (
    DebugRequest,
    DebugResponse,
    PrintRequest,
    PrintResponse,
    SetDebugLevelRequest,
    SetDebugLevelResponse,
    WatchRequest,
    WatchResponse,
)

pytestmark = pytest.mark.system


def test_watch(daemon: Daemon) -> None:
    """What one client writes, another one sees, if it may."""
    with daemon.client() as watcher, daemon.client() as writer:
        assert watcher.begin("Logger.Watch") == ""
        watcher.send(gob.Encoder().encode(WatchRequest(0, " by ", "Logger", "")))
        assert watcher.receive(WatchResponse).error == ""
        writer.call("Logger.Debug", DebugRequest(("a",), "", 0), DebugResponse)
        writer.call("Logger.Debug", DebugRequest(("b",), "", 1), DebugResponse)
        level = SetDebugLevelRequest("", 1)
        writer.call("Logger.SetDebugLevel", level, SetDebugLevelResponse)
        writer.call("Logger.Debug", DebugRequest(("c",), "", 1), DebugResponse)
        writer.call("Logger.Print", PrintRequest(("é",), ""), PrintResponse)
        texts = [watcher.line().split(" ", 2)[2] for _ in range(3)]
    assert texts[0] == "Logger.Debug(0): a"
    assert texts[1] == "Logger.SetDebugLevel(1)"
    assert texts[2] == "Logger.Print(): é"
    wait_until(lambda: b"Logger.Debug(1): c\n" in daemon.log_bytes())
    log = daemon.log_bytes()
    assert b"Debug(0): a" not in log
    assert b"Debug(1): b" not in log


def test_strangers(daemon: Daemon) -> None:
    """The log is not for everybody."""
    with daemon.client("nobody") as client:
        assert "access to method denied" in client.begin("Logger.Watch")
