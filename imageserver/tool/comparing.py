"""Comparing two files with a program of the user."""

from __future__ import annotations

import difflib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from imageserver.errors import ImageServerError
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.terminal import CYAN, GREEN, RED, paint

BUILT_IN = "-"
_COLOURS = {"+": GREEN, "-": RED, "@": CYAN}
_LEFT, _RIGHT = "imagetool-left-", "imagetool-right-"
_BUFFER_BYTES = 1 << 20


@contextmanager
def two_files() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Two files to fill, which are removed at the end of the block."""
    with (
        tempfile.NamedTemporaryFile("w+b", _BUFFER_BYTES, prefix=_LEFT) as left,
        tempfile.NamedTemporaryFile("w+b", _BUFFER_BYTES, prefix=_RIGHT) as right,
    ):
        yield cast(BinaryIO, left), cast(BinaryIO, right)


async def compare_files(
    session: ImageSession, tool: str, left: BinaryIO, right: BinaryIO
) -> int:
    """Let a program compare two files; the exit code is 0 whatever it says.

    Raises:
        ImageServerError: the program cannot be run.
    """
    for file in (left, right):
        file.flush()
    if tool == BUILT_IN:
        await session.blocking(_print_difference, session, left.name, right.name)
    else:
        command = [tool, *session.settings.diff_args, left.name, right.name]
        await session.blocking(_run, command)
    return 0


def _run(command: list[str]) -> None:
    sys.stdout.flush()
    try:
        subprocess.run(command, check=False)  # noqa: S603 - the user has named it
    except OSError as error:
        text = f'exec: "{command[0]}": {error.strerror}'
        raise ImageServerError(text) from error


def _print_difference(session: ImageSession, left: str, right: str) -> None:
    before, after = (
        Path(path).read_bytes().decode("utf-8", "surrogateescape").splitlines()
        for path in (left, right)
    )
    lines = difflib.unified_diff(before, after, "left", "right", lineterm="")
    session.talk.lines(lines, paint_sign)


def paint_sign(line: str) -> str:
    """A line in the colour of its first character."""
    colour = _COLOURS.get(line[:1])
    return paint(line, colour) if colour else line
