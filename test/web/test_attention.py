"""What needs somebody, worst first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from web.serving import make_server

from imageserver.audit import AuditLog, Entry
from imageserver.disk import Disk
from imageserver.web.attention import find_attention
from imageserver.web.recent_changes import read_recent
from imageserver.web.status import Status

_REPLICA: dict[str, Any] = {"problem": "", "failures": (), "lag_s": 0.0}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Status:
    """A status with which nothing is the matter."""
    server = make_server(tmp_path_factory.mktemp("calm"))
    status = server.web.parts.source.collect()
    server.index.close()
    return attrs.evolve(status, capacity_bytes=1000, free_bytes=900)


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({"insecure": True}, "bad", "insecure mode"),
        ({"quarantined": 2}, "bad", "2 damaged files"),
        ({"free_bytes": 50}, "bad", "nearly full"),
        (
            {"free_bytes": 80, "cleanup_start_percent": 90},
            "warn",
            "92 % full: unreferenced objects are being removed",
        ),
        ({"refuses_uploads": True}, "bad", "Uploads are refused"),
        ({"crashed_calls": 3}, "warn", "3 calls ended in an internal error"),
        ({"crashed_before": True}, "warn", "ended in a crash"),
        ({"ready": False, "images_to_load": 9, "images_loaded": 4}, "warn", "4 of 9"),
        ({"incomplete": 5}, "bad", "5 images are incomplete"),
        ({"certificates_outdated": True}, "bad", "cannot be used"),
        (
            {"replication": _REPLICA | {"problem": "refused"}},
            "bad",
            "cannot be followed: refused",
        ),
        (
            {"replication": _REPLICA | {"failures": (1, 2)}},
            "warn",
            "2 things could not be replicated",
        ),
        ({"replication": _REPLICA | {"lag_s": 660.0}}, "warn", "11 minutes behind"),
    ],
)
def test_each(calm: Status, changes: dict, level: str, text: str) -> None:
    """Everything that needs somebody is told in a sentence, with what to do."""
    (found,) = find_attention(attrs.evolve(calm, **changes), 0.0)
    assert found.level == level
    assert text in found.text
    assert found.advice.endswith(".")
    assert found.address == "" or found.address.startswith("/")


def test_nothing(calm: Status) -> None:
    """With nothing wrong nobody is called."""
    for replication in (None, _REPLICA):
        status = attrs.evolve(calm, replication=replication)
        assert find_attention(status, 0.0) == ()


def test_worst_first(calm: Status) -> None:
    """What is bad comes before what is only a warning."""
    status = attrs.evolve(calm, crashed_calls=1, quarantined=1, crashed_before=True)
    levels = [it.level for it in find_attention(status, 0.0)]
    assert levels == ["bad", "warn", "warn"]


def test_recent_changes(tmp_path: Path) -> None:
    """The last changes are told, newest first, whatever state the file is in."""
    path = tmp_path / "audit"
    assert read_recent(path, 5) == []
    now_ns = 0

    def tick() -> int:
        nonlocal now_ns
        now_ns += 10**9
        return now_ns

    audit = AuditLog(path, Disk(), tick)
    for number in range(700):
        method = ("AddImage", "DeleteImage", "MakeDirectory", "Odd")[number % 4]
        outcome = "ok" if number % 8 else "no"
        audit.append(Entry("joe", "x:1", f"S.{method}", f"n{number}", outcome))
    found = read_recent(path, 5)
    assert [it.subject for it in found] == ["n699", "n698", "n697", "n696", "n695"]
    assert [it.kind for it in found] == ["", "directory", "", "", ""]
    assert [it.what for it in found][:3] == ["Odd", "made directory", "deleted image"]
    assert found[3].outcome == "no"
    with path.open("ab") as file:
        file.write(b'[1]\n{"time": "never"}\n\xff\xfe\n{"time": "2026-')
    assert [it.subject for it in read_recent(path, 2)] == ["n699", "n698"]
