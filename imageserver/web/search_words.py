"""What people write into the search box: ``docs/pages.md``, "Search".

::

    web 2026 tag:stage=test by:alice commit:12ab has:openssl owner:staff "two words"
"""

from __future__ import annotations

import re
from typing import Any

import attrs

from imageserver.index.summary import ImageQuery

_PIECE = re.compile(r'((?:[^\s"]|"[^"]*")+)')
_MOST_PIECES = 20
_LONGEST = 1_000


@attrs.frozen
class Search:
    """What somebody looks for.

    Attributes:
        query: the images that are wanted.
        problem: what was not understood; empty: nothing.
    """

    query: ImageQuery
    problem: str = ""


def parse_search(text: str) -> Search:
    """Understand what somebody looks for."""
    pieces = [piece.replace('"', "") for piece in _PIECE.findall(text[:_LONGEST])]
    words: list[str] = []
    tags: list[tuple[str, str | None]] = []
    fields: dict[str, Any] = {}
    for piece in pieces[:_MOST_PIECES]:
        key, colon, value = piece.partition(":")
        name = _FIELDS.get(key) if colon and value else None
        if name:
            fields[name] = value
        elif key == "tag" and value:
            tag, equals, wanted = value.partition("=")
            tags.append((tag, wanted if equals else None))
        elif piece:
            words.append(piece)
    problem = ""
    if len(pieces) > _MOST_PIECES:
        problem = f"only the first {_MOST_PIECES} words count"
    query = ImageQuery(words=tuple(words), tags=tuple(tags), **fields)
    return Search(query, problem)


_FIELDS = {
    "by": "created_by",
    "commit": "commit",
    "has": "package",
    "owner": "owner",
}
