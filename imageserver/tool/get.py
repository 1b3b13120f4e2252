"""``imagetool get``: an image becomes a tree."""

from __future__ import annotations

import contextlib
import os
import sys
import time

import attrs

from imageserver.client.getting import get_tree
from imageserver.model.file_system import FileSystem
from imageserver.model.tree import check_tree, show
from imageserver.tool.computed_root import fill_computed_files
from imageserver.tool.fetching import Fetcher
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.progress import ProgressBar
from imageserver.tool.typed_image import load_image
from imageserver.tool.units import show_bytes, show_rate, show_seconds
from imageserver.trees.tree import Content

_INITIAL_IMAGE_DIRECTORY = ("var", "lib")
_INITIAL_IMAGE = "initial-image"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


async def get(session: ImageSession, name: str, target: str) -> int:
    """Unpack an image into a directory that is empty or not there; the exit code.

    Raises:
        ImageServerError: it cannot be fetched or written.
    """
    source = await prepare(session, name)
    summary = await session.blocking(check_tree, source.file_system)
    began_s = time.monotonic()
    size = sum(summary.object_bytes.values())
    server = await session.server()
    with ProgressBar("Downloading", size, session.talk.is_quiet) as bar:
        left_out = await get_tree(
            server,
            session.reactor,
            source.file_system,
            target,
            bar.advance,
            source.fetcher.fetch,
        )
    took_s = time.monotonic() - began_s
    session.debug(
        f"downloaded {show_bytes(size)} ({len(summary.object_bytes)} objects) in"
        f" {show_seconds(took_s)} ({show_rate(size, took_s)})"
    )
    for item in left_out:
        print(f"left out: {show(item.path)}: {item.reason}", file=sys.stderr)
    await session.blocking(_write_initial_image, source.name, target)
    session.talk.summary(
        f"{target}: {len(source.file_system.inodes or {})} inodes, {show_bytes(size)}"
        f" in {show_seconds(took_s)}"
    )
    return 0


@attrs.frozen
class Source:
    """An image to unpack.

    Attributes:
        file_system: its tree.
        name: its name.
        fetcher: fetches its objects.
    """

    file_system: FileSystem
    name: str
    fetcher: Fetcher


async def prepare(session: ImageSession, name: str) -> Source:
    """An image to unpack, with contents for its computed files if there are any.

    Raises:
        ImageServerError: there is none.
    """
    image = await load_image(session, name)
    tree, root = image.file_system, session.settings.computed_files_root
    contents: dict[bytes, Content] = {}
    if root:
        filled = await session.blocking(fill_computed_files, tree, root)
        tree, contents = filled.file_system, filled.contents
    return Source(tree, image.name or name, Fetcher(session, contents))


def _write_initial_image(name: str, target: str) -> None:
    """Leave the image's name where the machine looks for it.

    What the image has in that place may be a link to anywhere: none is followed.
    """
    directory = os.open(target, _DIRECTORY)
    try:
        for component in _INITIAL_IMAGE_DIRECTORY:
            with contextlib.suppress(FileExistsError):
                os.mkdir(component, 0o755, dir_fd=directory)
            below = os.open(component, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = below
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_INITIAL_IMAGE, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(
            os.open(_INITIAL_IMAGE, flags, 0o644, dir_fd=directory), "wb"
        ) as file:
            file.write(f"{name}\n".encode())
    except OSError as error:
        print(f"left out: /var/lib/{_INITIAL_IMAGE}: {error.strerror}", file=sys.stderr)
    finally:
        os.close(directory)
