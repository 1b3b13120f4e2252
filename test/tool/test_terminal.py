"""What tools say on terminals, and everywhere else."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest

from imageserver.tool.imagetool_flags import FLAGS
from imageserver.tool.settings import Settings
from imageserver.tool.talk import Talk
from imageserver.tool.terminal import GREEN, RED, by_first_word, printable, tell

NASTY = b"a\x1b[2J\xc2\x9b\xff\n\tb\r"
KINDS = ("terminal", "NO_COLOR", "dumb", "pipe")
PAINTED = [
    ("error adding image: x", "\033[31merror\033[0m adding image: x"),
    ("Error dialing: x", "\033[31mError\033[0m dialing: x"),
    ("warning: x", "\033[33mwarning\033[0m: x"),
    ("hint: x", "\033[36mhint\033[0m: x"),
    ("errors x", "errors x"),
    ("", ""),
]


class Stream(io.TextIOWrapper):
    """Standard output or error, which is a terminal or is not."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(), "utf-8", "backslashreplace", "\n")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._is_terminal

    def said(self) -> bytes:
        """What was written to it."""
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue()


def take_streams(monkeypatch: pytest.MonkeyPatch, kind: str) -> tuple[Stream, Stream]:
    """Standard output and standard error, until the end of the test."""
    monkeypatch.setenv("TERM", "dumb" if kind == "dumb" else "xterm")
    monkeypatch.setenv("NO_COLOR", "1" if kind == "NO_COLOR" else "")
    out, err = Stream(kind != "pipe"), Stream(kind != "pipe")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    return out, err


def make_talk() -> Talk:
    """A tool's talk, by default flags."""
    return Talk(FLAGS.decode(FLAGS.defaults(), Settings))


@pytest.mark.parametrize("kind", KINDS)
def test_results(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Lines are painted on terminals whose user wants that, and nowhere else."""
    out, _ = take_streams(monkeypatch, kind)
    painter = by_first_word({"ADD": GREEN, "DELETE": RED})
    make_talk().lines(["ADD: x", "DELETE DIRECTORY: y", b"ADDED"], painter)
    make_talk().lines(["ADD: x"])
    added, deleted = "ADD: x", "DELETE DIRECTORY: y"
    if kind == "terminal":
        added, deleted = f"\033[32m{added}\033[0m", f"\033[31m{deleted}\033[0m"
    assert out.said().decode() == f"{added}\n{deleted}\nADDED\nADD: x\n"


@pytest.mark.parametrize("kind", KINDS)
def test_nasty_results(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Terminals get nothing that they would obey; pipes get all bytes as they are."""
    out, err = take_streams(monkeypatch, kind)
    make_talk().lines([NASTY])
    tell(os.fsdecode(NASTY))
    if out.isatty():
        shown = b"a\\x1b[2J\\x9b\\xff\n\tb\\r\n"
        assert (out.said(), err.said()) == (shown, shown)
    else:
        assert out.said() == NASTY + b"\n"
        assert err.said() == NASTY.replace(b"\xff", b"\\udcff") + b"\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("text", "painted"), PAINTED)
def test_messages(
    monkeypatch: pytest.MonkeyPatch, kind: str, text: str, painted: str
) -> None:
    """The word that tells the kind of a message is painted on terminals."""
    _, err = take_streams(monkeypatch, kind)
    tell(text)
    assert err.said().decode() == (painted if kind == "terminal" else text) + "\n"


@pytest.mark.parametrize("text", ["", "abc", "größe 日本", "a\tb\nc"])
def test_printable(text: str) -> None:
    """What is printable stays as it is."""
    assert printable(text) == text


USAGE = [
    (
        ("lst",),
        "unknown command: lst (did you mean list?)\r\n"
        'hint: "imagetool -h" lists flags and commands\r\n',
    ),
    (
        ("show",),
        "wrong number of arguments for show\r\n"
        'hint: imagetool [flags...] show IMAGE; "imagetool show -h" tells more\r\n',
    ),
    (("-timout=1s", "list"), 'hint: "imagetool -h" lists flags and commands\r\n'),
]


@pytest.mark.parametrize(("words", "shown"), USAGE)
def test_usage(words: tuple[str, ...], shown: str) -> None:
    """People see their mistake, and not all of the usage behind it; scripts do."""
    command = [sys.executable, "-m", "imageserver.tool.imagetool", *words]
    terminal, side = pty.openpty()
    plain = {**os.environ, "NO_COLOR": "1"}
    on_terminal = subprocess.run(command, stderr=side, env=plain, check=False)
    os.close(side)
    assert on_terminal.returncode == 2
    assert os.read(terminal, 10_000).decode().endswith(shown)
    os.close(terminal)
    in_pipe = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (in_pipe.returncode, in_pipe.stdout) == (2, "")
    first, second, *_ = in_pipe.stderr.splitlines()
    assert shown.startswith((first, "hint: "))
    assert second == "Usage: imagetool [flags...] COMMAND [arguments...]"
