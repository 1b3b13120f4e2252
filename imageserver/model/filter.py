"""Filters: lines of regular expressions that match paths.

A path is matched from its start, not to its end. A line ``!`` inverts the filter.
An *empty* filter matches nothing; *no* filter (``None``) makes an image sparse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import re2

from imageserver import gob
from imageserver.errors import InvalidImage
from imageserver.gob import STRING
from imageserver.model.expression import compile_expression

Test = Callable[[str], bool]

_INVERT = "!"
_CONTAINING_LENGTH = 7
_PLAIN = r"((?:[A-Za-z0-9/_-]|\[[^^]\])+)"
_PREFIX = re.compile(rf"{_PLAIN}(?:\.\*)?")
_EXACT = re.compile(rf"{_PLAIN}\$")
_BELOW = re.compile(rf"{_PLAIN}\(\|/\.\*\)\$")
_CONTAINING = re.compile(rf"/\.\*{_PLAIN}\.\*|\.\*(?=/){_PLAIN}\.\*")
_PREFIX_AND_REST = re.compile(rf"{_PLAIN}\.\*")


@gob.struct("Filter")
class Filter:
    """The lines of a filter, as an image carries them."""

    lines: tuple[str, ...] = gob.field("FilterLines", gob.Slice(STRING))


class Matcher:
    """Expressions made ready to match paths.

    Attributes:
        slow_lines: those that have no quick form.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Compile ``lines``.

        Raises:
            InvalidImage: one of them is not an expression; the text names it.
        """
        self.slow_lines: list[str] = []
        self._inverted = False
        self._names: set[str] = set()
        self._tests: list[Test] = []
        beginnings: list[str] = []
        for line in lines:
            if line == _INVERT:
                self._inverted = True
            elif not line:
                raise InvalidImage("empty expression in filter")
            else:
                self._add(line, beginnings)
        self._beginnings = tuple(beginnings)

    def _add(self, line: str, beginnings: list[str]) -> None:
        """Add a line by its form; to ``beginnings`` what paths may begin with.

        Common forms have a meaning of their own, which is not always that of the
        expression: ``docs/protocol.md``, "Filters".
        """
        _compile(f"^{line}", line)
        if match := _PREFIX.fullmatch(line):
            beginnings.append(_literal(match[1]))
        elif match := _EXACT.fullmatch(line):
            self._names.add(_literal(match[1]))
        elif match := _BELOW.fullmatch(line):
            top = _literal(match[1])
            self._names.add(top)
            beginnings.append(f"{top}/")
        elif test := _quick_test(line):
            self._tests.append(test)
        else:
            self.slow_lines.append(line)
            self._tests.append(_slow_test(line))

    def matches(self, path: bytes) -> bool:
        """Whether the filter matches an absolute path."""
        # Go sees every byte that is not UTF-8 as the replacement character.
        text = path.decode("utf-8", "replace")
        if text.startswith(self._beginnings) or text in self._names:
            return not self._inverted
        # This runs for each path of an image: any() would take twice as long.
        for test in self._tests:
            if test(text):
                return not self._inverted
        return self._inverted


def _slow_test(line: str) -> Test:
    whole = _compile(f"^{line}", line)
    return lambda path: _finds(whole, path)


def _quick_test(line: str) -> Test | None:
    """The test for a line of another common form; ``None`` if it has none."""
    if len(line) >= _CONTAINING_LENGTH and (match := _CONTAINING.fullmatch(line)):
        part = _literal(match[1] or match[2])
        return lambda path: path.startswith("/") and part in path
    if (match := _PREFIX_AND_REST.match(line)) and len(_literal(match[1])) > 1:
        start = _literal(match[1])
        rest = _compile(f"^.*{line[match.end() :]}", line)
        return lambda path: path.startswith(start) and _finds(rest, path[len(start) :])
    return None


def is_common_form(line: str) -> bool:
    """Whether a line of a filter is quick: it is matched without its expression."""
    containing = len(line) >= _CONTAINING_LENGTH and _CONTAINING.fullmatch(line)
    begins = _PREFIX_AND_REST.match(line)
    return bool(
        line == _INVERT
        or _PREFIX.fullmatch(line)
        or _EXACT.fullmatch(line)
        or _BELOW.fullmatch(line)
        or containing
        or (begins and len(_literal(begins[1])) > 1)
    )


def _literal(plain: str) -> str:
    """What plain characters and classes of one character stand for."""
    return re.sub(r"\[(.)\]", r"\1", plain)


def _finds(expression: re2._Regexp, text: str) -> bool:
    return expression.search(text) is not None


def _compile(expression: str, line: str) -> re2._Regexp:
    try:
        return compile_expression(expression)
    except ValueError as error:
        raise InvalidImage(f"invalid expression: {line!r}: {error}") from error


def parse_filter(text: str) -> Filter:
    """The filter in a filter file: a line each; ``#`` starts a comment line."""
    lines = text.split("\n")
    return Filter(tuple(line for line in lines if line and not line.startswith("#")))
