"""``imagetool get``: an image becomes a tree."""

from __future__ import annotations

import time

import attrs

from imageserver.client.getting import get_tree
from imageserver.model.file_system import FileSystem
from imageserver.model.image import Image
from imageserver.model.tree import check_tree, show
from imageserver.tool.computed_root import fill_computed_files
from imageserver.tool.fetching import Fetcher
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.name_file import INITIAL_IMAGE, write_name
from imageserver.tool.progress import ProgressBar
from imageserver.tool.terminal import tell
from imageserver.tool.typed_image import load_image
from imageserver.tool.units import show_bytes, show_rate, show_seconds
from imageserver.trees.tree import Content


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
        tell(f"left out: {show(item.path)}: {item.reason}")
    await session.blocking(write_name, INITIAL_IMAGE, source.name, target)
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
        image: all of it; ``None`` if it is only a tree.
    """

    file_system: FileSystem
    name: str
    fetcher: Fetcher
    image: Image | None


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
    fetcher = Fetcher(session, contents)
    return Source(tree, image.name or name, fetcher, image.image)
