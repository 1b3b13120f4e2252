"""A folder of an image, or one of its files: ``/browse``, ``/file``."""

from __future__ import annotations

import posixpath
from typing import Any

import attrs

from imageserver.model.inode import (
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
)
from imageserver.model.stored_tree import ROOT, StoredTree
from imageserver.objects.base import ObjectStorage
from imageserver.web.answer import Answer, PageError, as_json, lines
from imageserver.web.file_view import show_content
from imageserver.web.flat_text import one_line
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.notes_page import read_beginning
from imageserver.web.rendering import Renderer
from imageserver.web.tree_json import inode_as_json, kind_of, mode_text, mtime_of
from imageserver.web.visit import Section, Visit

_PER_PAGE = 1_000
_VIEWED_BYTES = 256 << 10
_DEEPEST = 1_000


@attrs.frozen
class Entry:
    """A line of a folder.

    Attributes:
        name: the name of the entry.
        path: the whole path.
        number: of the inode.
        inode: what it is.
        kind: the same in a word.
        mode: kind and permissions.
        mtime_s: when it was changed; ``None``: it does not say.
    """

    name: bytes
    path: bytes
    number: int
    inode: Inode
    kind: str
    mode: str
    mtime_s: float | None

    @classmethod
    def of(cls, tree: StoredTree, path: bytes, number: int) -> Entry:
        """The entry at a path."""
        inode = tree.attributes(number)
        return cls(
            posixpath.basename(path),
            path,
            number,
            inode,
            kind_of(inode),
            mode_text(inode),
            mtime_of(inode) if isinstance(inode, RegularInode | SpecialInode) else None,
        )

    def as_json(self) -> dict[str, Any]:
        """The same as JSON types."""
        name = self.name.decode("utf-8", "surrogateescape")
        return {"name": name} | inode_as_json(self.inode)


class TreePage:
    """See the module."""

    def __init__(
        self, renderer: Renderer, lookup: ImageLookup, objects: ObjectStorage
    ) -> None:
        self._renderer = renderer
        self._lookup = lookup
        self._objects = objects

    def show(self, visit: Visit) -> Answer:
        """The folder, or the file, at a path of the image that is named."""
        name = self._lookup.name(visit)
        tree = self._lookup.trees.tree(name)
        names = split_path(visit.query.get("path"))
        number = tree.find(names)
        if number is None:
            raise PageError(
                404,
                f"There is no {_join(names).decode('utf-8', 'backslashreplace')}"
                f" in {name}.",
                "Go through its folders from the top.",
            )
        if tree.is_directory(number):
            return self._show_folder(visit, name, tree, names, number)
        return self._show_file(visit, name, tree, names, number)

    def _show_folder(
        self,
        visit: Visit,
        name: str,
        tree: StoredTree,
        names: list[bytes],
        number: int,
    ) -> Answer:
        places = tree.entries(number)
        pages = max(1, -(-len(places) // _PER_PAGE))
        page = _page_number(visit, pages)
        base = _join(names).rstrip(b"/") + b"/"
        some = places
        if visit.output == "html":
            some = places[(page - 1) * _PER_PAGE : page * _PER_PAGE]
        entries = [Entry.of(tree, base + it.name, it.number) for it in some]
        if visit.output == "text":
            return lines(
                one_line(entry.path.decode("utf-8", "surrogateescape"))
                for entry in entries
            )
        if visit.output == "json":
            return as_json([entry.as_json() for entry in entries])
        # Folders first, as people look for them.
        entries.sort(key=lambda entry: not isinstance(entry.inode, DirectoryInode))
        return self._renderer.page(
            "folder.html",
            visit,
            name=name,
            crumbs=_crumbs(names),
            here=_join(names),
            folder=None if number == ROOT else Entry.of(tree, _join(names), number),
            entries=entries,
            total=len(places),
            page=page,
            pages=pages,
            may_read=visit.may(Section.FILES),
            outputs=("json", "text"),
        )

    def _show_file(
        self,
        visit: Visit,
        name: str,
        tree: StoredTree,
        names: list[bytes],
        number: int,
    ) -> Answer:
        entry = Entry.of(tree, _join(names), number)
        inode = entry.inode
        content = None
        may_read = visit.may(Section.FILES)
        if visit.output == "json":
            return as_json(entry.as_json())
        if visit.output == "text":
            return lines([one_line(f"{k} {v}") for k, v in entry.as_json().items()])
        if isinstance(inode, RegularInode) and inode.size and may_read:
            data = read_beginning(self._objects, inode.hash_, _VIEWED_BYTES)
            content = show_content(data, inode.size)
        return self._renderer.page(
            "file.html",
            visit,
            name=name,
            crumbs=_crumbs(names),
            entry=entry,
            content=content,
            may_read=may_read,
            outputs=("json", "text"),
        )


def split_path(path: str) -> list[bytes]:
    """The names in a path.

    Raises:
        PageError: it is too long.
    """
    encoded = path.encode("utf-8", "surrogateescape")
    names = [name for name in encoded.split(b"/") if name]
    if len(names) > _DEEPEST:
        raise PageError(400, "The path is too long.")
    return names


def _join(names: list[bytes]) -> bytes:
    return b"/" + b"/".join(names)


def _crumbs(names: list[bytes]) -> list[tuple[bytes, bytes]]:
    """The folders above, and the last name: what to show, and the path."""
    return [(name, _join(names[: n + 1])) for n, name in enumerate(names)]


def _page_number(visit: Visit, pages: int) -> int:
    text = visit.query.get("page", "1")
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= pages):
        raise PageError(400, f"page has to be a number from 1 to {pages}.")
    return int(text)
