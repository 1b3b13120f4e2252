"""The log's thread."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import wait_until
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger, LogLevel

from imageserver import log_output
from imageserver.log_output import LogOptions, LogOutput, LogService


class Terminal:
    """What standard error was when the test began."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self._text = ""

    def read_text(self) -> str:
        """All that was written there."""
        self._text += self._capture.readouterr().err
        return self._text


@pytest.fixture
def stderr(capfd: pytest.CaptureFixture[str]) -> Terminal:
    """What is done to the descriptors of standard output and error ends here."""
    return Terminal(capfd)


def started(directory: Path | None, redirect: bool = False, **options) -> LogOutput:
    """An output at work."""
    output = LogOutput(LogOptions(directory, 1 << 20, 1 << 20, **options), time.time_ns)
    output.start(redirect)
    return output


def say(output: LogOutput, text: str) -> None:
    """Log a line."""
    Logger(observer=output).emit(LogLevel.info, "{text}", text=text)


def latest(directory: Path) -> str:
    """What is in the newest file."""
    return (directory / "latest").read_text()


def test_files_only(tmp_path: Path, stderr: Terminal) -> None:
    """With files nothing goes to standard error, and the lines have their times."""
    output = started(tmp_path / "log")
    say(output, "something")
    output.flush()
    lines = latest(tmp_path / "log").splitlines()
    assert [line[20:] for line in lines] == ["New log directory", "something"]
    assert all(line[4] == "/" and line[13] == ":" for line in lines)
    say(output, "the end")
    output.stop()
    output.stop()
    say(output, "behind the end")
    assert latest(tmp_path / "log").endswith("the end\n")
    assert stderr.read_text() == ""


def test_both(tmp_path: Path, stderr: Terminal) -> None:
    """Standard error can have the same lines; then it is not put into the files."""
    output = started(tmp_path / "log", True, also_stderr=True, has_microseconds=True)
    os.write(2, b"other words\n")
    say(output, "something")
    output.stop()
    written = latest(tmp_path / "log")
    assert stderr.read_text().replace("other words\n", "") == written
    assert written.splitlines()[-1][19] == "."


def test_json(tmp_path: Path, stderr: Terminal) -> None:
    """Lines are JSON objects where that is wanted."""
    output = started(tmp_path / "log", is_json=True)
    say(output, "some\nthing")
    output.stop()
    lines = latest(tmp_path / "log").splitlines()
    assert [json.loads(line)["text"] for line in lines[1:]] == ["some\nthing"]


def test_no_files(stderr: Terminal) -> None:
    """Without files the log is standard error."""
    output = started(None)
    say(output, "something")
    output.reopen()
    output.stop()
    assert stderr.read_text().endswith(" something\n")
    assert output.files is None


def test_no_directory(tmp_path: Path, stderr: Terminal) -> None:
    """So it is if the files cannot be, with the reason."""
    (tmp_path / "file").touch()
    output = started(tmp_path / "file")
    say(output, "something")
    output.stop()
    first, second = stderr.read_text().splitlines()
    assert f"there are no log files: Not a directory: {tmp_path / 'file'}" in first
    assert second.endswith(" something")


def test_redirection(tmp_path: Path, stderr: Terminal) -> None:
    """What is printed goes into the files, the newest; who started us is still told."""
    output = started(tmp_path, redirect=True)
    os.write(1, b"printed\n")
    output.reopen()
    output.flush()
    os.write(2, b"an accident\n")
    assert latest(tmp_path) == "an accident\n"
    output.fail("imageserver: no way")
    assert latest(tmp_path).endswith(" imageserver: no way\n")
    assert stderr.read_text() == "imageserver: no way\n"
    assert output.files is not None
    assert "printed\n" in (tmp_path / output.files.names()[0]).read_text()
    output.stop()


def test_crash(tmp_path: Path, stderr: Terminal) -> None:
    """An unforeseen error is written so that the next start recognises it."""
    output = started(tmp_path, redirect=True)
    try:
        raise ValueError("oh")
    except ValueError as error:
        output.crash(ValueError, error, sys.exc_info()[2])
    output.stop()
    for text in (stderr.read_text(), latest(tmp_path)):
        assert "panic: ValueError('oh')\nTraceback (most" in text
        assert text.endswith("ValueError: oh\n")
    again = started(tmp_path)
    assert again.files is not None
    assert again.files.crashed == again.files.names()[0]
    again.stop()


def test_full_disk(tmp_path: Path, stderr: Terminal) -> None:
    """Lines that cannot be written are counted; later the log says how many."""
    output = started(tmp_path)
    output.flush()
    assert output.files is not None
    write = output.files.write

    def fail(text: str) -> None:
        raise OSError(28, "No space left on device")

    output.files.write = fail  # a disk without space
    say(output, "lost")
    output.flush()
    say(output, "lost")
    output.flush()
    output.files.write = write  # with space again
    say(output, "kept")
    output.stop()
    assert output.lost == 2
    *_, told, kept = latest(tmp_path).splitlines()
    assert told == "2 lines of the log were lost"
    assert kept.endswith(" kept")


def test_too_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody writes does not fill the memory."""
    monkeypatch.setattr(log_output, "_MOST_WAITING", 10)
    output = LogOutput(LogOptions(None, 1, 1), time.time_ns)
    for _ in range(15):
        say(output, "something")
    assert output.lost == 5
    output.flush()  # nobody would answer


def test_reopen_fails(tmp_path: Path, stderr: Terminal) -> None:
    """If there can be no new file, the log says so, and goes on in the old one."""
    directory = tmp_path / "log"
    output = started(directory)
    output.flush()
    directory.rename(tmp_path / "moved")
    output.reopen()
    output.flush()
    output.stop()
    assert "the log goes on in its old file" in latest(tmp_path / "moved")


def test_mark(tmp_path: Path) -> None:
    """Silence is marked, if that is wanted."""
    output = started(tmp_path, idle_mark_s=0.01)
    wait_until(lambda: " MARK\n" in latest(tmp_path))
    output.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner(tmp_path: Path) -> None:
    """What root opens belongs to the user that the process is going to be."""
    output = LogOutput(LogOptions(tmp_path / "log", 1, 1), time.time_ns)
    output.start(redirect=False, owner=(65534, 65534))
    output.stop()
    assert output.files is not None
    for path in (tmp_path / "log", tmp_path / "log" / output.files.current):
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_service(tmp_path: Path) -> None:
    """As a service it is told what others are, until all services have ended."""
    output = LogOutput(LogOptions(tmp_path, 1, 1), time.time_ns)
    reactor = MemoryReactorClock()
    service = LogService(reactor, output, None)
    service.privilegedStartService()
    service.startService()
    service.stopService()
    Logger().info("something")
    ((end, _, _),) = reactor.triggers["after"]["shutdown"]
    end()
    Logger().info("too late")
    assert latest(tmp_path).endswith(" something\n")


def test_signal_handlers_log(tmp_path: Path) -> None:
    """A signal handler may log whatever it interrupts."""
    output = started(tmp_path / "log")
    heard = []

    def hear(*_: object) -> None:
        heard.append(1)
        say(output, "a signal")

    before = signal.signal(signal.SIGALRM, hear)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    try:
        while len(heard) < 2_000:
            say(output, "something")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        output.stop()
    assert "a signal" in latest(tmp_path / "log")
