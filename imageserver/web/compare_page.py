"""What is different in two images: ``/compareImages``, ``/compareFile``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import attrs

from imageserver.index.summary import ImageQuery
from imageserver.model.comparison import Difference, changed_attributes, compare
from imageserver.model.image import Image
from imageserver.model.inode import Inode, RegularInode
from imageserver.model.names import directory_of
from imageserver.model.stored_tree import StoredTree
from imageserver.objects.base import ObjectStorage
from imageserver.web.answer import Answer, PageError, as_json, plain
from imageserver.web.file_view import as_text
from imageserver.web.flat_text import one_line
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.image_parts import trigger_as_json
from imageserver.web.notes_page import read_beginning
from imageserver.web.rendering import Renderer
from imageserver.web.search_words import parse_search
from imageserver.web.tree_json import inode_as_json, kind_of
from imageserver.web.tree_page import split_path
from imageserver.web.visit import Section, Visit

_KINDS = ("added", "removed", "changed")
_SHOWN = 500
_MOST = 20_000
_CHOICES = 30
_DIFF_BYTES = 128 << 10
_DIFF_LINES = 2_000
_PLAIN_FIELDS = (
    "created_by",
    "created_for",
    "build_branch",
    "build_commit_id",
    "build_git_url",
    "source_image",
)


@attrs.frozen
class FileChange:
    """A path that is different.

    Attributes:
        path: the path.
        before: the inode in the first image.
        after: the inode in the second one.
        what: in what they differ.
    """

    path: bytes
    before: Inode | None
    after: Inode | None
    what: list[str]

    @property
    def size_change(self) -> int:
        """By how many bytes the path has grown."""
        return _size(self.after) - _size(self.before)

    @property
    def kind(self) -> str:
        """What it is, or was, in a word."""
        inode = self.after or self.before
        return kind_of(inode) if inode else ""

    @property
    def has_text(self) -> bool:
        """Whether the contents may be compared as texts."""
        sizes = [
            i.size for i in (self.before, self.after) if isinstance(i, RegularInode)
        ]
        return len(sizes) == 2 and "content" in self.what and max(sizes) <= _DIFF_BYTES

    def as_json(self) -> dict[str, Any]:
        """The same as JSON types."""
        values: dict[str, Any] = {"path": self.path.decode("utf-8", "surrogateescape")}
        if self.what:
            values["changed"] = self.what
        for key, inode in (("before", self.before), ("after", self.after)):
            if inode is not None:
                values[key] = inode_as_json(inode)
        return values


@attrs.define
class Changes:
    """What is different in the files of two images; of each kind a limited number.

    Attributes:
        added: what only the second one has.
        removed: what only the first one has.
        changed: what is different.
        counts: how many there are of each kind.
    """

    added: list[FileChange] = attrs.Factory(list)
    removed: list[FileChange] = attrs.Factory(list)
    changed: list[FileChange] = attrs.Factory(list)
    counts: dict[str, int] = attrs.Factory(lambda: dict.fromkeys(_KINDS, 0))


class ComparePage:
    """See the module."""

    def __init__(
        self, renderer: Renderer, lookup: ImageLookup, objects: ObjectStorage
    ) -> None:
        self._renderer = renderer
        self._lookup = lookup
        self._objects = objects

    def show(self, visit: Visit) -> Answer:
        """Two images, or the choice of the second one."""
        name = self._lookup.name(visit)
        other = visit.query.get("with")
        if not other:
            return self._show_choice(visit, name)
        if self._lookup.database.index.image(other) is None:
            raise PageError(404, f"Image: {other} UNKNOWN!", "Choose another one.")
        limit = _SHOWN if visit.output == "html" else _MOST
        trees = [self._lookup.trees.tree(it) for it in (name, other)]
        changes = find_changes(trees[0], trees[1], limit)
        one, two = (self._lookup.trees.metadata(it) for it in (name, other))
        facts = compare_metadata(one.image, two.image)
        grown_bytes = two.record.data_bytes - one.record.data_bytes
        if visit.output == "json":
            return as_json(
                {"before": name, "after": other, "counts": changes.counts}
                | {"grown_bytes": grown_bytes, "metadata": facts}
                | {k: [c.as_json() for c in getattr(changes, k)] for k in _KINDS}
            )
        if visit.output == "text":
            return plain("".join(_text_lines(changes)))
        return self._renderer.page(
            "comparison.html",
            visit,
            name=name,
            other=other,
            changes=changes,
            grown_bytes=grown_bytes,
            facts=facts,
            may_read=visit.may(Section.FILES),
            outputs=("json", "text"),
        )

    def _show_choice(self, visit: Visit, name: str) -> Answer:
        directory, words = directory_of(name), visit.query.get("q")
        query = ImageQuery(directory=directory, below=False)
        if words:
            query = parse_search(words).query
        near = self._lookup.summaries.search_images(
            attrs.evolve(query, order="created", descending=True, limit=_CHOICES + 1)
        )
        choices = [summary for summary in near if summary.name != name]
        if visit.output in ("json", "text"):
            raise PageError(400, "Name the other image: &with=NAME")
        return self._renderer.page(
            "compare_choice.html",
            visit,
            name=name,
            directory=directory,
            words=words,
            choices=choices[:_CHOICES],
            outputs=(),
        )

    def show_file(self, visit: Visit) -> Answer:
        """The difference of a file in two images, as texts."""
        name, path = self._lookup.name(visit), visit.query.get("path")
        other = visit.query.get("with")
        before, after = (self._read(it, path) for it in (name, other))
        lines = list(
            islice(
                difflib.unified_diff(before, after, name, other, lineterm=""),
                _DIFF_LINES,
            )
        )
        if visit.output == "text":
            return plain("".join(f"{line}\n" for line in lines))
        if visit.output == "json":
            return as_json(lines)
        return self._renderer.page(
            "file_difference.html",
            visit,
            name=name,
            other=other,
            path=path,
            lines=lines,
            outputs=("json", "text"),
        )

    def _read(self, name: str, path: str) -> list[str]:
        if self._lookup.database.index.image(name) is None:
            raise PageError(404, f"Image: {name} UNKNOWN!", "Choose another one.")
        tree = self._lookup.trees.tree(name)
        number = tree.find(split_path(path))
        inode = None if number is None else tree.inode(number)
        if not isinstance(inode, RegularInode):
            raise PageError(404, f"There is no file {path} in {name}.")
        if inode.size > _DIFF_BYTES:
            raise PageError(400, f"{path} is too large to be compared as text.")
        data = b""
        if inode.size:
            data = read_beginning(self._objects, inode.hash_, _DIFF_BYTES)
        text = as_text(data)
        if text is None:
            raise PageError(400, f"{path} in {name} is not text.")
        return text.splitlines()[:_DIFF_LINES]


def find_changes(before: StoredTree, after: StoredTree, limit: int) -> Changes:
    """What is different in two file systems.

    Args:
        before: the first one.
        after: the second one.
        limit: how many of each kind are told.
    """
    changes = Changes()
    for found in compare(before, after):
        if found.before is None:
            kind = "added"
        else:
            kind = "removed" if found.after is None else "changed"
        changes.counts[kind] += 1
        some: list[FileChange] = getattr(changes, kind)
        if len(some) < limit:
            some.append(_look(before, after, found))
    for kind in _KINDS:
        getattr(changes, kind).sort(key=lambda change: change.path)
    return changes


def _look(before: StoredTree, after: StoredTree, found: Difference) -> FileChange:
    one = None if found.before is None else before.attributes(found.before)
    two = None if found.after is None else after.attributes(found.after)
    what = changed_attributes(one, two) if one is not None and two is not None else []
    return FileChange(found.path, one, two, what)


def _size(inode: Inode | None) -> int:
    return inode.size if isinstance(inode, RegularInode) else 0


def compare_metadata(before: Image, after: Image) -> dict[str, Any]:
    """What is different besides the files, as JSON types."""
    packages = [
        {package.name: package.version for package in image.packages}
        for image in (before, after)
    ]
    triggers = [
        {str(trigger_as_json(trigger)) for trigger in image.triggers.triggers}
        if image.triggers
        else set()
        for image in (before, after)
    ]
    filters = [
        set(image.filter.lines) if image.filter else set() for image in (before, after)
    ]
    tags = [image.tags or {} for image in (before, after)]
    return {
        "fields": {
            name: [getattr(before, name), getattr(after, name)]
            for name in _PLAIN_FIELDS
            if getattr(before, name) != getattr(after, name)
        },
        "packages": _pairs(*packages),
        "tags": _pairs(*tags),
        "filter": _sides(*filters),
        "triggers": _sides(*triggers),
    }


def _pairs(
    before: dict[str, str], after: dict[str, str]
) -> dict[str, list[str | None]]:
    return {
        key: [before.get(key), after.get(key)]
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


def _sides(before: set[str], after: set[str]) -> dict[str, list[str]]:
    return {"removed": sorted(before - after), "added": sorted(after - before)}


def _text_lines(changes: Changes) -> Iterator[str]:
    signs: Iterable[tuple[str, str]] = (
        ("added", "+"),
        ("removed", "-"),
        ("changed", "!"),
    )
    for kind, sign in signs:
        for change in getattr(changes, kind):
            path = one_line(change.path.decode("utf-8", "surrogateescape"))
            what = f" ({', '.join(change.what)})" if change.what else ""
            yield f"{sign} {path}{what}\n"
