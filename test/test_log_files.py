"""The files of the log."""

from __future__ import annotations

import os
import stat
from datetime import datetime
from pathlib import Path

import pytest

from imageserver.log_files import CLOSING, LATEST, LogFiles, is_log_name

MILLISECOND_NS = 1_000_000
SECOND_NS = 1000 * MILLISECOND_NS
NOW_NS = int(datetime(2026, 11, 26, 14, 2, 8).timestamp()) * SECOND_NS
KIB = 1 << 10


class Time:
    """What time it is."""

    def __init__(self) -> None:
        self.now_ns = NOW_NS

    def __call__(self) -> int:
        """The time, which does not pass by itself."""
        return self.now_ns


@pytest.fixture
def time() -> Time:
    """A clock that stands."""
    return Time()


def make(
    directory: Path, time: Time, file_bytes: int = 10 << 20, quota: int = 100 << 20
) -> LogFiles:
    """Files that are open."""
    files = LogFiles(directory, file_bytes, quota, time)
    files.open()
    return files


@pytest.mark.parametrize(
    ("milliseconds", "end"), [(0, "08"), (450, "08.45"), (7, "08.007"), (100, "08.1")]
)
def test_names(tmp_path: Path, time: Time, milliseconds: int, end: str) -> None:
    """Names are local times to the millisecond, without zeros at their end."""
    time.now_ns += milliseconds * MILLISECOND_NS + 999
    files = make(tmp_path, time)
    assert files.current == files.first == f"2026-11-26:14:02:{end}"
    assert os.readlink(tmp_path / LATEST) == files.current
    assert stat.S_IMODE((tmp_path / files.current).stat().st_mode) == 0o644
    files.write("a line\n")
    files.write("b\udcff\n")  # a byte that is not UTF-8
    assert (tmp_path / LATEST).read_bytes() == b"a line\nb\xff\n"
    files.close()
    files.close()


def test_same_moment(tmp_path: Path, time: Time) -> None:
    """No two starts share a file."""
    first, second = make(tmp_path, time), make(tmp_path, time)
    assert first.names() == [first.current, second.current]
    assert second.current.endswith(":08.001")


def test_directory(tmp_path: Path, time: Time) -> None:
    """It is made, with what is in it told; but not those above it."""
    directory = tmp_path / "log"
    assert make(directory, time).is_new
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert not make(directory, time).is_new
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty", time).is_new
    with pytest.raises(FileNotFoundError):
        make(tmp_path / "a" / "b", time)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make(tmp_path / "file", time)


def test_rotation(tmp_path: Path, time: Time) -> None:
    """What gets too long is followed by a new file, and says so at its end."""
    files = make(tmp_path, time, file_bytes=1)  # too small: it is 16 KiB
    files.write("x" * 16 * KIB)
    assert files.current == files.first
    time.now_ns += SECOND_NS
    files.write("y")
    assert files.current != files.first
    assert os.readlink(tmp_path / LATEST) == files.current
    last = (tmp_path / files.first).read_text().removeprefix("x" * 16 * KIB)
    assert last == f"y2026/11/26 14:02:09 {CLOSING}\n"
    files.write("z")
    assert (tmp_path / files.current).read_text() == "z"


def test_reopen_fails(tmp_path: Path, time: Time) -> None:
    """If there can be no new file, the old one goes on."""
    directory = tmp_path / "log"
    files = make(directory, time)
    directory.rename(tmp_path / "moved")
    with pytest.raises(OSError, match="log"):
        files.reopen()
    files.write("still here")
    assert (tmp_path / "moved" / files.first).read_text().endswith("still here")


def test_quota(tmp_path: Path, time: Time) -> None:
    """The newest files stay, the others go; other people's files are left alone."""
    (tmp_path / "imageserver.log").write_text("x" * 100 * KIB)
    for second in range(5):
        (tmp_path / f"2020-01-01:00:00:0{second}").write_text("x" * 20 * KIB)
    files = make(tmp_path, time, quota=1)  # too small: it is 64 KiB
    assert files.names() == [
        *(f"2020-01-01:00:00:0{second}" for second in (2, 3, 4)),
        files.current,
    ]
    deleted = "2026/11/26 14:02:08 Deleted 40 KiB in 2 files\n"
    assert (tmp_path / files.current).read_text() == deleted
    files.write("y" * 5 * KIB)
    assert files.names() == ["2020-01-01:00:00:03", "2020-01-01:00:00:04", files.first]
    assert (tmp_path / "imageserver.log").exists()
    for _ in range(40):
        files.write("z" * 5 * KIB)
    total = sum((tmp_path / name).stat().st_size for name in files.names())
    assert total <= 70 * KIB
    assert len(files.names()) > 1


def test_many_small_files(tmp_path: Path, time: Time) -> None:
    """There are about a thousand files at most, however small."""
    for number in range(1100):
        (tmp_path / f"2020-01-01:00:{number // 60:02}:{number % 60:02}").touch()
    files = make(tmp_path, time)
    assert len(files.names()) == 1024
    assert files.names()[-1] == files.current


@pytest.mark.parametrize(
    ("text", "is_crash"),
    [
        ("panic: runtime error\n", True),
        ("a panic it is\ngoroutine 1 [running]:\n", True),
        ("Fatal Python error: Segmentation fault\n", True),
        ("don't panic: it works\nsomething else\ngoroutine 1\n", False),
        ("2026/11/26 14:02:08 stopped\n", False),
        ("", False),
    ],
)
def test_crash(tmp_path: Path, time: Time, text: str, is_crash: bool) -> None:
    """A crash of the run before is known, and its file marked."""
    first = make(tmp_path, time)
    first.write(text)
    assert first.crashed == ""
    second = make(tmp_path, time)
    assert second.crashed == (first.current if is_crash else "")
    assert second.has_crash(first.current) == is_crash
    assert not second.has_crash(second.current)
    assert not second.has_crash("missing")
    assert make(tmp_path, time).crashed == ""


@pytest.mark.parametrize("target", ["/etc/passwd:::", "../a:b:c:d", "a:b:c:d", "x"])
def test_link_to_elsewhere(tmp_path: Path, time: Time, target: str) -> None:
    """Whatever the link names, nothing outside of the directory is looked at."""
    directory = tmp_path / "log"
    directory.mkdir()
    (tmp_path / "a:b:c:d").write_text("panic: \n")
    (directory / "a:b:c:d").symlink_to(tmp_path / "a:b:c:d")
    (directory / LATEST).symlink_to(target)
    files = make(directory, time)
    assert files.crashed == ""
    assert files.names() == [files.current]
    assert is_log_name("a:b:c:d")
    assert os.readlink(directory / LATEST) == files.current
