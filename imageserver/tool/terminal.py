"""What is different for people: colours, and nothing that could move their cursor.

In pipes and files everything is as it came, to the byte.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

RED, GREEN, YELLOW, BLUE, CYAN = "31", "32", "33", "1;34", "36"

Painter = Callable[[str], str]
"""Puts colours into a line."""

_FIRST_WORD = re.compile(r"[^ :]*")
_KINDS = {"error": RED, "warning": YELLOW, "hint": CYAN}
_ESCAPED_BYTES = range(0xDC80, 0xDD00)


def has_colours(stream: Any) -> bool:
    """Whether a stream is a terminal whose user wants colours."""
    is_unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return bool(stream.isatty() and not is_unwanted)


def paint(text: str, colour: str) -> str:
    """Some text in a colour."""
    return f"\033[{colour}m{text}\033[0m"


def by_first_word(colours: Mapping[str, str]) -> Painter:
    """What paints lines in the colours that their first words have."""

    def paint_line(line: str) -> str:
        colour = colours.get(_first_word(line))
        return paint(line, colour) if colour else line

    return paint_line


def printable(text: str) -> str:
    """Text without what terminals obey: that is shown as escapes, as in Python."""
    return "\n".join(map(_printable_line, text.split("\n")))


def tell(text: str) -> None:
    """Print a line on standard error; on terminals one can see of what kind it is."""
    if sys.stderr.isatty():
        text = printable(text)
        word = _first_word(text)
        if has_colours(sys.stderr) and (colour := _KINDS.get(word.lower())):
            text = paint(word, colour) + text[len(word) :]
    print(text, file=sys.stderr)


def _first_word(line: str) -> str:
    found = _FIRST_WORD.match(line)
    return found[0] if found else ""


def _printable_line(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c == "\t" else _escape(c) for c in line)


def _escape(character: str) -> str:
    code = ord(character)
    if code in _ESCAPED_BYTES:  # stands for a byte that is not UTF-8
        return f"\\x{code & 0xFF:02x}"
    return character.encode("unicode_escape").decode()
