"""Filters: lines of regular expressions that match paths.

A path is matched from its start, not to its end. A line ``!`` inverts the filter.
An *empty* filter matches nothing; *no* filter (``None``) makes an image sparse.
"""

from __future__ import annotations

from collections.abc import Iterable

import re2

from imageserver import gob
from imageserver.errors import InvalidImage
from imageserver.gob import STRING

_INVERT = "!"


@gob.struct("Filter")
class Filter:
    """The lines of a filter, as an image carries them."""

    lines: tuple[str, ...] = gob.field("FilterLines", gob.Slice(STRING))


class Matcher:
    """Expressions made ready to match paths."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Compile ``lines``.

        Raises:
            InvalidImage: one of them is not an expression; the text names it.
        """
        self._inverted = False
        expressions = []
        options = re2.Options()
        options.log_errors = False
        for line in lines:
            if line == _INVERT:
                self._inverted = True
            elif not line:
                raise InvalidImage("empty expression in filter")
            else:
                expressions.append(_compile(line, options))
        self._expressions = expressions

    def matches(self, path: bytes) -> bool:
        """Whether the filter matches an absolute path."""
        # Go sees every byte that is not UTF-8 as the replacement character.
        text = path.decode("utf-8", "replace")
        found = any(expression.search(text) for expression in self._expressions)
        return found is not self._inverted


def _compile(line: str, options: re2.Options) -> re2._Regexp:
    try:
        return re2.compile(f"^{line}", options)
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidImage(f"invalid expression: {line!r}: {error}") from error


def parse_filter(text: str) -> Filter:
    """The filter in a filter file: a line each; ``#`` starts a comment line."""
    lines = text.split("\n")
    return Filter(tuple(line for line in lines if line and not line.startswith("#")))
