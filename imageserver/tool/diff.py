"""``imagetool diff``: the files of two images, compared."""

from __future__ import annotations

import sys
from typing import BinaryIO

from imageserver.errors import ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter, Matcher
from imageserver.model.tree import show
from imageserver.tool.comparing import BUILT_IN, compare_files, paint, two_files
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_filter
from imageserver.tool.typed_image import Loaded, load_image
from imageserver.trees.description import describe
from imageserver.trees.differences import Change, Difference, find_differences
from imageserver.trees.listing import list_image
from imageserver.trees.selecting import apply_filter, keep_common

_MUCH_LARGER = 16
_SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.CHANGED: "@"}


async def diff(session: ImageSession, tool: str, left: str, right: str) -> int:
    """Compare the files of two images.

    Raises:
        ImageServerError: one of them is not to be had, or the tool cannot be run.
    """
    loaded = []
    for side, name in (("left", left), ("right", right)):
        try:
            loaded.append(await load_image(session, name))
        except ImageServerError as error:
            text = f"error getting {side} image: {error}"
            raise ImageServerError(text) from error
    try:
        trees = await session.blocking(_filter_both, session, *loaded)
        if tool == BUILT_IN:
            await session.blocking(_print, session, *trees)
            return 0
        with two_files() as files:
            for tree, file in zip(trees, files, strict=True):
                await session.blocking(_write, session, tree, file)
            return await compare_files(session, tool, *files)
    except ImageServerError as error:
        raise ImageServerError(f"error diffing images: {error}") from error


def _filter_both(
    session: ImageSession, left: Loaded, right: Loaded
) -> tuple[FileSystem, FileSystem]:
    """Leave out what makes no sense to compare."""
    trees = left.file_system, right.file_system
    if session.settings.ignore_filters:
        return trees
    if left.filter is None and right.filter is None:
        counts = [tree.regular_count for tree in trees]
        if counts[0] // _MUCH_LARGER > counts[1]:
            return keep_common(*trees), trees[1]
        if counts[1] // _MUCH_LARGER > counts[0]:
            return trees[0], keep_common(trees[1], trees[0])
        return trees
    filter_ = _common_filter(left.filter, right.filter)
    if filter_ is None:
        return trees
    filter_ = load_filter(session.settings.delete_filter) or filter_
    return apply_filter(trees[0], filter_), apply_filter(trees[1], filter_)


def _common_filter(left: Filter | None, right: Filter | None) -> Filter | None:
    """The filter for both: the only one there is, or the one that both have."""
    if left is None or right is None:
        return left or right
    is_same = len(left.lines) == len(right.lines) and set(left.lines) <= set(
        right.lines
    )
    return left if is_same else None


def _write(session: ImageSession, tree: FileSystem, file: BinaryIO) -> None:
    lines = list_image(
        tree, skip_fields=session.settings.skip_fields, matcher=_matcher(session)
    )
    file.writelines(line + b"\n" for line in lines)


def _matcher(session: ImageSession) -> Matcher | None:
    filter_ = load_filter(session.settings.filter_file)
    return None if filter_ is None else Matcher(filter_.lines)


def _print(session: ImageSession, left: FileSystem, right: FileSystem) -> None:
    matcher = _matcher(session)
    found = [
        difference
        for difference in find_differences(left, right)
        if matcher is None or not matcher.matches(difference.path)
    ]
    if session.talk.as_json:
        session.talk.json([_describe(item) for item in found])
        return
    has_colours = sys.stdout.isatty()
    lines = [_line(item) for item in found]
    session.talk.lines(paint(line) if has_colours else line for line in lines)


def _line(item: Difference) -> str:
    """A line for people, which begins with a sign."""
    aspects = f" ({', '.join(item.aspects)})" if item.aspects else ""
    return f"{_SIGNS[item.change]} {show(item.path)}{aspects}"


def _describe(item: Difference) -> dict[str, object]:
    return {
        "path": item.path,
        "change": item.change.value,
        "aspects": item.aspects,
        "left": item.left and describe(item.path, item.left),
        "right": item.right and describe(item.path, item.right),
    }
