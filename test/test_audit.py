"""The audit log."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from imageserver.audit import FILES_KEPT, AuditLog, Entry
from imageserver.disk import Disk
from imageserver.testing import Faults, FaultyDisk

ENTRY = Entry("alice", "192.0.2.1:5", "ImageServer.AddImage", "dir/x", "ok")
NOW_NS = 1_700_000_000_500_000_000


def lines(path: Path) -> list[dict[str, str]]:
    """What a file holds."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_line(tmp_path: Path) -> None:
    """A line says when, who, from where, what and with what outcome."""
    log = AuditLog(tmp_path / "log", Disk(), lambda: NOW_NS)
    log.append(ENTRY)
    log.append(Entry("", "", "a.b", 'ä"\n\udcff', "no"))
    first, second = lines(tmp_path / "log")
    assert first == {
        "time": "2023-11-14T22:13:20.500000+00:00",
        "user": "alice",
        "address": "192.0.2.1:5",
        "method": "ImageServer.AddImage",
        "subject": "dir/x",
        "outcome": "ok",
    }
    assert second["subject"] == 'ä"\n\udcff'
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_rotation(tmp_path: Path) -> None:
    """Full files get numbers, the oldest goes; nothing in between is lost."""
    log = AuditLog(tmp_path / "log", Disk(), lambda: NOW_NS, file_bytes=1)
    for number in range(FILES_KEPT + 3):
        log.append(Entry("", "", "", str(number), ""))
    assert len(list(tmp_path.iterdir())) == FILES_KEPT + 1
    names = ["log", *(f"log.{number}" for number in range(1, FILES_KEPT + 1))]
    subjects = [lines(tmp_path / name)[0]["subject"] for name in names]
    assert subjects == [str(FILES_KEPT + 2 - age) for age in range(FILES_KEPT + 1)]


def test_on_disk(tmp_path: Path) -> None:
    """A line is on disk before anybody is told, a new file with its directory."""
    for name in ("backups", "logs"):
        (tmp_path / name).mkdir()
    faults = Faults()
    disk = FaultyDisk(faults, tmp_path / "backups")
    log = AuditLog(tmp_path / "logs/log", disk, lambda: NOW_NS)
    log.append(ENTRY)
    log.append(ENTRY)
    done = [step for step, _ in faults.log]
    disk.close()
    assert done == ["write", "flush", "sync", "write", "flush"]


def test_half_a_line(tmp_path: Path) -> None:
    """Half a line, of a full disk or a crash, spoils no other line."""
    (tmp_path / "backups").mkdir()
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    faults = Faults(None, error)
    disk = FaultyDisk(faults, tmp_path / "backups")
    (tmp_path / "logs").mkdir()
    log = AuditLog(tmp_path / "logs/log", disk, lambda: NOW_NS)
    log.append(ENTRY)
    faults.fail_at = len(faults.log)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        log.append(ENTRY)
    log.append(ENTRY)
    disk.close()
    first, half, last = (tmp_path / "logs/log").read_text().splitlines()
    assert first == last
    assert last.startswith(half)
    assert len(half) < len(last)


def test_no_links(tmp_path: Path) -> None:
    """Nobody can have lines written elsewhere."""
    (tmp_path / "log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        AuditLog(tmp_path / "log", Disk(), lambda: NOW_NS).append(ENTRY)
    assert not (tmp_path / "other").exists()


def test_threads(tmp_path: Path) -> None:
    """Lines of several threads stay whole, also while files change."""
    log = AuditLog(tmp_path / "log", Disk(), lambda: NOW_NS, file_bytes=4_000)
    threads = [
        threading.Thread(target=lambda: [log.append(ENTRY) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(lines(path)) for path in tmp_path.iterdir()) == 80
