"""``imagetool diff``: the files of two images, compared."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import BinaryIO, TypeVar

from imageserver.errors import ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter, Matcher
from imageserver.model.tree import show
from imageserver.tool.comparing import BUILT_IN, compare_files, paint, two_files
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_filter
from imageserver.tool.typed_image import Loaded, LoadedFlat, load_flat, load_image
from imageserver.trees.description import describe
from imageserver.trees.differences import Change, Difference, find_differences
from imageserver.trees.listing import list_image
from imageserver.trees.selecting import apply_filter, keep_common

T = TypeVar("T")

_MUCH_LARGER = 16
_SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.CHANGED: "@"}


async def diff(session: ImageSession, tool: str, left: str, right: str) -> int:
    """Compare the files of two images.

    Raises:
        ImageServerError: one of them is not to be had, or the tool cannot be run.
    """
    if tool == BUILT_IN:
        return await _compare(session, left, right)
    loaded = await _load_both(load_image, session, left, right)
    try:
        trees = await session.blocking(_filter_both, session, *loaded)
        with two_files() as files:
            for tree, file in zip(trees, files, strict=True):
                await session.blocking(_write, session, tree, file)
            return await compare_files(session, tool, *files)
    except ImageServerError as error:
        raise ImageServerError(f"error diffing images: {error}") from error


async def _load_both(
    load: Callable[[ImageSession, str], Awaitable[T]],
    session: ImageSession,
    *names: str,
) -> list[T]:
    loaded = []
    for side, name in zip(("left", "right"), names, strict=True):
        try:
            loaded.append(await load(session, name))
        except ImageServerError as error:
            text = f"error getting {side} image: {error}"
            raise ImageServerError(text) from error
    return loaded


async def _compare(session: ImageSession, *names: str) -> int:
    """Tell what differs, without a program of the user."""
    left, right = await _load_both(load_flat, session, *names)
    found = await session.blocking(find_differences, left.tree, right.tree)
    is_left_out = await session.blocking(_filter_for, session, left, right)
    shown = [item for item in found if not is_left_out(item)]
    if session.talk.as_json:
        session.talk.json([_describe(item) for item in shown])
        return 0
    has_colours = sys.stdout.isatty()
    lines = [_line(item) for item in shown]
    session.talk.lines(paint(line) if has_colours else line for line in lines)
    return 0


def _filter_for(
    session: ImageSession, left: LoadedFlat, right: LoadedFlat
) -> Callable[[Difference], bool]:
    """Whether a difference makes no sense to tell; see :func:`_filter_both`."""
    tests = []
    own = load_filter(session.settings.filter_file)
    if own is not None:
        tests.append(_matches_somewhere(Matcher(own.lines)))
    if session.settings.ignore_filters:
        return lambda item: any(test(item.path) for test in tests)
    filter_ = _common_filter(left.filter, right.filter)
    if filter_ is not None:
        filter_ = load_filter(session.settings.delete_filter) or filter_
        tests.append(_matches_somewhere(Matcher(filter_.lines)))
    extra = None
    if left.filter is None and right.filter is None:
        counts = left.tree.regular_count, right.tree.regular_count
        if counts[0] // _MUCH_LARGER > counts[1]:
            extra = Change.REMOVED
        elif counts[1] // _MUCH_LARGER > counts[0]:
            extra = Change.ADDED
    return lambda item: item.change is extra or any(test(item.path) for test in tests)


def _matches_somewhere(matcher: Matcher) -> Callable[[bytes], bool]:
    """Whether a path, or a directory on the way to it, matches."""
    known: dict[bytes, bool] = {b"": False}

    def test(path: bytes) -> bool:
        if path not in known:
            known[path] = test(path.rpartition(b"/")[0]) or matcher.matches(path)
        return known[path]

    return test


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
