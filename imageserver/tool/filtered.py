"""Commands about files of this machine that an image's filter matches.

Mount points are not crossed: what is mounted below the directory is not looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial

import attrs

from imageserver.errors import ImageServerError
from imageserver.model.filter import Filter, Matcher
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.typed_image import load_metadata
from imageserver.trees.copying import copy_all
from imageserver.trees.tree import RootDirectory, explained


@attrs.frozen
class Found:
    """A path that the filter matches.

    Attributes:
        path: absolute below the directory.
        status: what the system says about it.
    """

    path: bytes
    status: os.stat_result


async def scan_filtered(session: ImageSession, name: str, directory: str) -> int:
    """List the paths of a directory that an image's filter matches."""
    filter_ = await _filter_of(session, name)
    find = partial(_find, directory, filter_, session.settings.scan_exclude_list)
    found = await session.blocking(lambda: [item.path for item in find()])
    if session.talk.as_json:
        session.talk.json(found)
    else:
        session.talk.lines(found)
    return 0


async def copy_filtered(
    session: ImageSession, name: str, source: str, target: str
) -> int:
    """Copy the files and directories that an image's filter matches."""
    filter_ = await _filter_of(session, name)
    exclude = session.settings.scan_exclude_list

    def copy() -> None:
        found = [(item.path, item.status) for item in _find(source, filter_, exclude)]
        copy_all(os.fsencode(source), os.fsencode(target), found)

    await session.blocking(copy)
    return 0


async def _filter_of(session: ImageSession, name: str) -> Filter:
    filter_ = (await load_metadata(session, name)).filter
    if filter_ is None:
        raise ImageServerError("the image has no filter")
    return filter_


def _find(directory: str, filter_: Filter, exclude: tuple[str, ...]) -> Iterator[Found]:
    """Paths that the filter matches, depth first, by name; no link is followed.

    Raises:
        ImageServerError: something cannot be read.
    """
    matches, excludes = Matcher(filter_.lines).matches, Matcher(exclude).matches
    top = os.fsencode(os.path.abspath(directory))
    with explained("cannot read directory", top), RootDirectory(top) as root:
        device = os.fstat(root.fd).st_dev
        stack: list[bytes] = [b""]
        while stack:
            path = stack.pop()
            status = _status(root, path)
            if path and not excludes(path) and matches(path):
                yield Found(path, status)
            if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
                fd = root.open_directory(path)
                names = sorted(map(os.fsencode, os.listdir(fd)), reverse=True)
                stack += [path + b"/" + name for name in names]


def _status(root: RootDirectory, path: bytes) -> os.stat_result:
    if not path:
        return os.fstat(root.fd)
    parent, _, name = path.rpartition(b"/")
    return os.stat(name, dir_fd=root.open_directory(parent), follow_symlinks=False)
