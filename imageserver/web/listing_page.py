"""The files of an image, a line each, as ``imagetool show`` does: ``/listImage``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from imageserver.model.stored_tree import ROOT, StoredTree
from imageserver.trees.listing import list_inode
from imageserver.web.answer import HTML, JSON, TEXT, Answer
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.rendering import Renderer
from imageserver.web.tree_json import inode_as_json
from imageserver.web.visit import Visit

_PIECE_BYTES = 128 << 10


class ListingPage:
    """See the module. A large image makes some megabytes: they are sent in pieces."""

    def __init__(self, renderer: Renderer, lookup: ImageLookup) -> None:
        self._renderer = renderer
        self._lookup = lookup
        self._place = secrets.token_hex()  # no name is to be taken for it

    def show(self, visit: Visit) -> Answer:
        """The files of the image that is named."""
        name = self._lookup.name(visit)
        tree = self._lookup.trees.tree(name)
        if visit.output == "text":
            return Answer(_gather(_lines(tree)), TEXT)
        if visit.output == "json":
            return Answer(_gather(_json(tree)), JSON)
        page = self._renderer.page(
            "listing.html",
            visit,
            name=name,
            place=self._place,
            outputs=("json", "text"),
        )
        assert isinstance(page.body, bytes)  # noqa: S101 - it was rendered
        before, _, after = page.body.partition(self._place.encode())
        return Answer(_gather(_framed(before, _lines(tree), after)), HTML)


def _lines(tree: StoredTree) -> Iterator[bytes]:
    links = tree.link_counts()
    yield list_inode(b"/", tree.attributes(ROOT), 1) + b"\n"
    for path, number in tree.walk():
        yield list_inode(path, tree.attributes(number), links[number]) + b"\n"


def _json(tree: StoredTree) -> Iterator[bytes]:
    separator = b"["
    for path, number in tree.walk():
        values: dict[str, Any] = {"path": path.decode("utf-8", "surrogateescape")}
        values |= inode_as_json(tree.attributes(number))
        yield separator + b"\n" + json.dumps(values).encode()
        separator = b","
    yield b"\n]\n" if separator == b"," else b"[]\n"


def _framed(before: bytes, lines: Iterable[bytes], after: bytes) -> Iterator[bytes]:
    yield before
    for line in lines:
        text = line.decode("utf-8", "backslashreplace")
        yield escape(text).encode()
    yield after


def _gather(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of a size that is worth sending."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= _PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
