"""One object: ``/object``; and images that contain a path: ``/findPath``.

Nothing has a list of who uses what: the image files are looked through, for a limited
time, and the page says how far it came and has a link to go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from imageserver.errors import CorruptImage, ImageNotFound
from imageserver.gob.byte_arrays import escape
from imageserver.model.inode import Inode
from imageserver.objects.base import ObjectStorage
from imageserver.web.answer import Answer, PageError, as_json, lines
from imageserver.web.file_view import show_content
from imageserver.web.get_object import parse_hash
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.notes_page import read_beginning
from imageserver.web.rendering import Renderer
from imageserver.web.tree_json import inode_as_json, kind_of
from imageserver.web.tree_page import split_path
from imageserver.web.visit import Section, Visit

_PATIENCE_S = 5.0
_MOST = 1_000
_READ_BYTES = 1 << 20
_VIEWED_BYTES = 64 << 10
_FORM_FIELD = "hash="


@attrs.frozen
class Found:
    """Which images have something.

    Attributes:
        images: their names, and what it is there.
        looked_at: how many images were looked at.
        total: how many there are.
        next_name: where to go on; empty: all were looked at.
    """

    images: list[tuple[str, Inode | None]]
    looked_at: int
    total: int
    next_name: str


class ObjectPage:
    """See the module."""

    def __init__(
        self,
        renderer: Renderer,
        lookup: ImageLookup,
        objects: ObjectStorage,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._renderer = renderer
        self._lookup = lookup
        self._objects = objects
        self._seconds = seconds

    def show(self, visit: Visit) -> Answer:
        """The object of that hash, and who uses it."""
        hash_ = parse_hash(visit.query.names[-1].removeprefix(_FORM_FIELD))
        size = self._objects.sizes((hash_,)).get(hash_)
        count = self._lookup.summaries.reference_counts_of((hash_,)).get(hash_, 0)
        if size is None and not count:
            raise PageError(404, f"unknown object: {hash_.hex()}")
        pattern = escape(hash_)
        found = Found([], 0, 0, "")
        if count:
            found = self._look(visit, lambda name: self._contains(name, pattern))
        if visit.output == "json":
            return as_json(
                {"hash": hash_.hex(), "size": size, "references": count}
                | _as_json(found)
            )
        if visit.output == "text":
            return lines(name for name, _ in found.images)
        content = None
        if size and visit.may(Section.FILES):
            content = show_content(
                read_beginning(self._objects, hash_, _VIEWED_BYTES), size
            )
        return self._renderer.page(
            "object.html",
            visit,
            hash_hex=hash_.hex(),
            size=size,
            references=count,
            found=found,
            it={"hash_": hash_},
            content=content,
            outputs=("json", "text"),
        )

    def find_path(self, visit: Visit) -> Answer:
        """The images that contain a path."""
        path = visit.query.get("path")
        found = Found([], 0, 0, "")
        if path:
            names = split_path(path)
            found = self._look(visit, lambda name: self._find(name, names))
        if visit.output == "json":
            return as_json({"path": path} | _as_json(found))
        if visit.output == "text":
            return lines(name for name, _ in found.images)
        return self._renderer.page(
            "find_path.html",
            visit,
            path=path,
            found=found,
            kind_of=kind_of,
            outputs=("json", "text"),
        )

    def _look(
        self, visit: Visit, test: Callable[[str], tuple[bool, Inode | None]]
    ) -> Found:
        """Look through images, from the one on that a request names."""
        names = sorted(self._lookup.database.index.image_names())
        start = visit.query.get("from")
        deadline_s = self._seconds() + _PATIENCE_S
        images: list[tuple[str, Inode | None]] = []
        looked_at = 0
        for name in names:
            if name < start:
                continue
            if looked_at and (self._seconds() > deadline_s or len(images) >= _MOST):
                return Found(images, looked_at, len(names), name)
            looked_at += 1
            try:
                has_it, inode = test(name)
            except (CorruptImage, ImageNotFound):
                continue
            if has_it:
                images.append((name, inode))
        return Found(images, looked_at, len(names), "")

    def _contains(self, name: str, pattern: bytes) -> tuple[bool, None]:
        return any(pattern in piece for piece in self._pieces(name, len(pattern))), None

    def _pieces(self, name: str, overlap: int) -> Iterator[bytes]:
        stored = self._lookup.database.open_stored(name)
        if stored is None:
            return
        try:
            data = b""
            while piece := os.read(stored.descriptor, _READ_BYTES):
                data = data[-overlap:] + piece
                yield data
        except OSError as error:
            raise CorruptImage(name, error.strerror or "unreadable") from error
        finally:
            os.close(stored.descriptor)

    def _find(self, name: str, names: list[bytes]) -> tuple[bool, Inode | None]:
        # Looking for the last name costs a tenth of opening the tree.
        if names and not self._contains(name, names[-1])[0]:
            return False, None
        tree = self._lookup.trees.tree(name)
        number = tree.find(names)
        return number is not None, None if number is None else tree.inode(number)


def _as_json(found: Found) -> dict[str, Any]:
    return {
        "images": [
            {"name": name} | ({} if inode is None else {"inode": inode_as_json(inode)})
            for name, inode in found.images
        ],
        "looked_at": found.looked_at,
        "total": found.total,
        "next": found.next_name,
    }
