"""Files that the user names: filters, triggers, lists."""

from __future__ import annotations

import sys

from imageserver.errors import ImageServerError
from imageserver.model.filter import Filter, Matcher, parse_filter
from imageserver.model.triggers import Triggers, parse_triggers

_STANDARD_INPUT = "-"


def load_filter(path: str) -> Filter | None:
    """The filter in a file, ``-`` for standard input; empty: none.

    Raises:
        ImageServerError: it cannot be read, or an expression is none.
    """
    if not path:
        return None
    filter_ = parse_filter(read_text(path))
    Matcher(filter_.lines)
    return filter_


def load_triggers(path: str) -> Triggers | None:
    """The triggers in a file; empty: none.

    Raises:
        ImageServerError: it cannot be read, or holds something else.
    """
    return parse_triggers(read_text(path)) if path else None


def load_lines(path: str) -> list[str]:
    """The lines of a file, but for empty ones and comments.

    Raises:
        ImageServerError: it cannot be read.
    """
    lines = read_text(path).split("\n")
    return [line for line in lines if line and not line.startswith("#")]


def read_text(path: str) -> str:
    """The text in a file, ``-`` for standard input.

    Raises:
        ImageServerError: it cannot be read.
    """
    if path == _STANDARD_INPUT:
        return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        raise ImageServerError(f"{path}: {error.strerror}") from error
