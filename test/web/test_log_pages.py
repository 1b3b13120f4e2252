"""The pages of the log."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from twisted.logger import LogEvent, LogLevel
from web.serving import Server, make_server

from imageserver.json_log import format_json
from imageserver.log_buffer import LogBuffer
from imageserver.log_files import LogFiles
from imageserver.web.parts import WebOptions

NOW_S = 1_800_000_000.0
_OPEN = ("logs", "stacks")


def event(
    text: str, age_s: float = 0, level: str = "info", **fields: object
) -> LogEvent:
    """Something that was logged some time ago."""
    return {
        "log_format": "{text}",
        "text": text,
        "log_level": LogLevel.lookupByName(level),
        "log_time": NOW_S - age_s,
        "log_namespace": "test",
        **fields,
    }


def line(text: str, age_s: float) -> str:
    """A line in a file of the log."""
    moment = time.localtime(NOW_S - age_s)
    return f"{time.strftime('%Y/%m/%d %H:%M:%S', moment)} {text}\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Pages of a log in memory."""
    server = make_server(tmp_path, WebOptions(opened=_OPEN))
    server.clock.advance(NOW_S)
    for age_s, text in ((7200, "old"), (50, "a <b>"), (5, "young")):
        server.buffer(event(text, age_s, "warn" if age_s == 50 else "info"))
    yield server
    server.index.close()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Server]:
    """Pages of a log in files, of two runs; the first one has crashed."""
    directory = tmp_path / "log"
    directory.mkdir()
    names = [f"2027-01-15:08:00:0{n}" for n in range(3)]
    ages = ((90_000, 4_000), (3_000, 2_000), (1_000, 10))
    for name, some in zip(names, ages, strict=True):
        (directory / name).write_text("".join(line(f"{name} {a}", a) for a in some))
    (directory / "notes").write_text("secret\n")
    (tmp_path / "outside:1:2:3").write_text("secret\n")
    log = LogFiles(directory, 1 << 20, 1 << 30, time.time_ns)
    log.first, log.current, log.crashed = names[1], names[2], names[0]
    os.chmod(directory / names[0], 0o1644)
    options = WebOptions(opened=_OPEN, log_files=lambda: log)
    server = make_server(tmp_path, options)
    server.clock.advance(NOW_S)
    yield server
    server.index.close()


def test_index(server: Server) -> None:
    """The index shows the last lines, as text and with their levels."""
    page = server.text("/logs")
    assert "a &lt;b&gt;" in page
    assert page.index("old") < page.index("young")
    assert 'class="level-warn"' in page
    newest = server.text("/logs?recentFirst")
    assert newest.index("young") < newest.index(" old<")
    assert server.text("/logs?output=text") == ""
    found = server.json("/logs?output=json")["lines"]
    assert [it["level"] for it in found] == ["info", "warn", "info"]
    assert found[0]["time_s"] == NOW_S - 7200


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ("", ["old", "a <b>", "young"]),
        ("recentFirst", ["young", "a <b>", "old"]),
        ("include=o", ["old", "young"]),
        ("include=old&include=young", ["old", "young"]),
        ("include=o&exclude=yo", ["old"]),
        ("exclude=o", ["a <b>"]),
    ],
)
def test_selection(server: Server, query: str, texts: list[str]) -> None:
    """Exclusion wins; several inclusions are alternatives; the order can be turned."""
    for page in (f"/logs/dump?name=latest&{query}", f"/logs/showSinceStartup?{query}"):
        found = server.text(page).split("\n")[:-1]
        assert [it.split(" ", 2)[2] for it in found] == texts


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ("1m", ["a <b>", "young"]),
        ("10s", ["young"]),
        ("3h", ["old", "a <b>", "young"]),
        ("1y&recentFirst", ["young", "a <b>", "old"]),
        ("recentFirst&1M&include=o", ["young", "old"]),
    ],
)
def test_last(server: Server, query: str, texts: list[str]) -> None:
    """The lines of the last minutes, hours, days, weeks, months, years."""
    found = server.text(f"/logs/showLast?{query}&output=text").split("\n")[:-1]
    assert [it.split(" ", 2)[2] for it in found] == texts
    assert "a &lt;b&gt;" in server.text("/logs/showLast?1m")


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("/logs/showLast", 400),
        ("/logs/showLast?5", 400),
        ("/logs/showLast?5x", 400),
        ("/logs/showLast?1m&1h", 400),
        ("/logs/dump", 400),
        ("/logs/dump?name=nothing", 404),
        ("/logs/dump?name=latest&include=(", 400),
        ("/logs/", 404),
        ("/logs/showNothing", 404),
    ],
)
def test_wrong_requests(server: Server, address: str, code: int) -> None:
    """What makes no sense is an error, with a word why."""
    found, _, body = server.fetch(address)
    assert found == code
    assert len(body) > 10


def test_stacks(server: Server) -> None:
    """Stacks are shown every two seconds at most."""
    assert "describe_stacks" in server.text("/logs/showStackTrace")
    code, _, body = server.fetch("/logs/showStackTrace")
    assert (code, body) == (429, b"Too soon\n")


def test_no_crash(server: Server) -> None:
    """Without a crash there is nothing to show of it."""
    assert "did not end in a crash" in server.text("/logs/showPreviousPanic")


def test_file_index(files: Server) -> None:
    """All files are listed; the current one and the crashed one are marked."""
    names = [f"2027-01-15:08:00:0{n}" for n in range(3)]
    assert files.text("/logs?output=text").split("\n")[:-1] == names
    page = files.text("/logs")
    assert f'{names[2]}</a> <span class="soft">(current)' in page
    assert f'{names[0]}</a> <span class="bad">(has panic log)' in page


def test_file_views(files: Server) -> None:
    """Files are shown by name; views go over all of them."""
    names = [f"2027-01-15:08:00:0{n}" for n in range(3)]
    for name in (names[1], f"../../x/{names[1]}"):
        text = files.text(f"/logs/dump?name={name}")
        assert [it.split()[-1] for it in text.splitlines()] == ["3000", "2000"]
    assert "1000" in files.text("/logs/dump?name=latest")
    run = files.text("/logs/showSinceStartup")
    assert [it.split()[-1] for it in run.splitlines()] == ["3000", "2000", "1000", "10"]
    last = files.json("/logs/showLast?2d&output=json")
    assert [[it.split()[-1] for it in part] for part in last] == [
        ["90000", "4000"],
        ["3000", "2000", "1000", "10"],
    ]
    last = files.json("/logs/showLast?40m&output=json")
    assert [[it.split()[-1] for it in part] for part in last] == [
        ["2000", "1000", "10"]
    ]
    assert "90000" in files.text("/logs/showPreviousPanic")
    assert "<hr>" in files.text("/logs/showLast?2d")


@pytest.mark.parametrize(
    "name", ["notes", "../outside:1:2:3", "/etc/passwd", "..", "a"]
)
def test_foreign_files(files: Server, name: str) -> None:
    """Nothing but files of the log is ever shown."""
    code, _, body = files.fetch(f"/logs/dump?name={name}")
    assert code == 404
    assert b"secret" not in body


def test_buffer_is_limited() -> None:
    """The buffer keeps the last lines, at least a hundred."""
    buffer = LogBuffer(7)
    for number in range(250):
        buffer(event(str(number)))
    assert [it.text.split()[-1] for it in buffer.lines(2)] == ["248", "249"]
    assert len(buffer.lines()) == 100


def test_json_lines() -> None:
    """A line as JSON has time, level, logger, text and fields; odd values are texts."""
    made = format_json(
        event(
            "a\nb",
            level="error",
            log_format="{text} {size} {path}",
            size=7,
            path=SimpleNamespace(a=1),
        )
    )
    assert made.endswith("\n")
    assert made.count("\n") == 1
    found = json.loads(made)
    assert found["time"] == "2027-01-15T08:00:00.000+00:00"
    assert (found["level"], found["logger"]) == ("error", "test")
    assert found["text"] == "a\nb 7 namespace(a=1)"
    assert found["fields"] == {"size": 7, "path": "namespace(a=1)"}


def test_json_files(files: Server, tmp_path: Path) -> None:
    """Files of JSON lines are searched by time, too."""
    name = "2027-01-15:08:00:02"
    made = [format_json(event(str(age), age)) for age in (900, 30)]
    (tmp_path / "log" / name).write_text("".join(made))
    (part,) = files.json("/logs/showLast?1m&output=json")
    assert [json.loads(it)["text"] for it in part] == ["30"]
