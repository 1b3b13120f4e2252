"""``imagetool diff``: the files of two images, compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from imageserver.errors import ImageServerError
from imageserver.model.filter import Filter, Matcher
from imageserver.model.flat_image import FlatTree
from imageserver.model.tree import show
from imageserver.tool.comparing import BUILT_IN, compare_files, paint_sign, two_files
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_filter
from imageserver.tool.typed_image import LoadedFlat, load_flat
from imageserver.trees.description import describe
from imageserver.trees.differences import Change, Difference, find_differences
from imageserver.trees.flat_listing import FlatLister, PathMatcher

_MUCH_LARGER = 16
_SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.CHANGED: "@"}


async def diff(session: ImageSession, tool: str, left: str, right: str) -> int:
    """Compare the files of two images.

    Raises:
        ImageServerError: one of them is not to be had, or the tool cannot be run.
    """
    if tool == BUILT_IN:
        return await _compare(session, left, right)
    left_image, right_image = await _load_both(session, left, right)
    try:
        with two_files() as files:
            await session.blocking(_write_both, session, left_image, right_image, files)
            return await compare_files(session, tool, *files)
    except ImageServerError as error:
        raise ImageServerError(f"error diffing images: {error}") from error


async def _load_both(session: ImageSession, *names: str) -> list[LoadedFlat]:
    loaded = []
    for side, name in zip(("left", "right"), names, strict=True):
        try:
            loaded.append(await load_flat(session, name))
        except ImageServerError as error:
            text = f"error getting {side} image: {error}"
            raise ImageServerError(text) from error
    return loaded


async def _compare(session: ImageSession, *names: str) -> int:
    """Tell what differs, without a program of the user."""
    left, right = await _load_both(session, *names)
    found = await session.blocking(find_differences, left.tree, right.tree)
    is_left_out = await session.blocking(_filter_for, session, left, right)
    shown = [item for item in found if not is_left_out(item)]
    if session.talk.as_json:
        session.talk.json([_describe(item) for item in shown])
        return 0
    session.talk.lines(map(_line, shown), paint_sign)
    return 0


def _filter_for(
    session: ImageSession, left: LoadedFlat, right: LoadedFlat
) -> Callable[[Difference], bool]:
    """Whether a difference makes no sense to tell; see :func:`_write_both`."""
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


class _AnyOf:
    """Matches what one of several matchers matches."""

    def __init__(self, matchers: Sequence[PathMatcher]) -> None:
        self._matchers = matchers

    def matches(self, path: bytes) -> bool:
        """Whether one of them matches."""
        return any(matcher.matches(path) for matcher in self._matchers)


class _Missing:
    """Matches the paths that an image lacks."""

    def __init__(self, tree: FlatTree) -> None:
        self._paths = {path for path, _ in tree.walk()}

    def matches(self, path: bytes) -> bool:
        """Whether there is no such path."""
        return path not in self._paths


def _any_of(matchers: Sequence[PathMatcher]) -> PathMatcher:
    # There is one nearly always, and it is asked for each path.
    return matchers[0] if len(matchers) == 1 else _AnyOf(matchers)


def _write_both(
    session: ImageSession,
    left: LoadedFlat,
    right: LoadedFlat,
    files: tuple[BinaryIO, BinaryIO],
) -> None:
    """List both images, without what makes no sense to compare."""
    settings = session.settings
    matchers: list[PathMatcher] = []
    own = load_filter(settings.filter_file)
    if own is not None:
        matchers.append(Matcher(own.lines))
    missing: list[list[PathMatcher]] = [[], []]
    if not settings.ignore_filters:
        filter_ = _common_filter(left.filter, right.filter)
        if filter_ is not None:
            filter_ = load_filter(settings.delete_filter) or filter_
            matchers.append(Matcher(filter_.lines))
        elif left.filter is None and right.filter is None:
            missing = _missing_paths(left.tree, right.tree)
    lister = FlatLister(skip_fields=settings.skip_fields)
    for image, file, others in zip((left, right), files, missing, strict=True):
        lines = lister.lines(image.tree, _any_of([*matchers, *others]))
        file.writelines(line + b"\n" for line in lines)


def _missing_paths(left: FlatTree, right: FlatTree) -> list[list[PathMatcher]]:
    """What matches paths that one image lacks, if the other one is much larger."""
    if left.regular_count // _MUCH_LARGER > right.regular_count:
        return [[_Missing(right)], []]
    if right.regular_count // _MUCH_LARGER > left.regular_count:
        return [[], [_Missing(left)]]
    return [[], []]


def _common_filter(left: Filter | None, right: Filter | None) -> Filter | None:
    """The filter for both: the only one there is, or the one that both have."""
    if left is None or right is None:
        return left or right
    is_same = len(left.lines) == len(right.lines) and set(left.lines) <= set(
        right.lines
    )
    return left if is_same else None


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
