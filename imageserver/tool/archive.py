"""Commands that save an image with all its objects, and bring it back."""

from __future__ import annotations

import os
import time
from typing import BinaryIO

from imageserver.client.object_sinks import VerifiedSink
from imageserver.client.saved_image import (
    SavedImageReader,
    SavedImageWriter,
    objects_of,
    read_archive,
    still_expires_in_ns,
)
from imageserver.client.uploading import upload
from imageserver.errors import ImageServerError
from imageserver.flags import MINUTE
from imageserver.gob import Time
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.progress import ProgressBar
from imageserver.tool.units import show_nanoseconds
from imageserver.tool.whole_file import output
from imageserver.trees.tree import Content, Section, SharedFile, explained

_SHORTEST_NS = 15 * MINUTE


async def save(session: ImageSession, name: str, target: str = "") -> int:
    """Save an image with all its objects.

    Raises:
        ImageServerError: there is none, or the server follows another one.
    """
    response = await (await session.master()).images.get_archive(name)
    if response.replication_master:
        raise _elsewhere(response.replication_master)
    archive = await session.blocking(read_archive, response.archive_data)
    objects = (await session.server()).objects
    sizes = dict(objects_of(archive.image))
    unknown = [hash_ for hash_, size in sizes.items() if size is None]
    if unknown:
        sizes |= zip(unknown, await objects.check_objects(unknown), strict=True)
    known = {hash_: size or 0 for hash_, size in sizes.items()}
    with output(target) as file:
        writer = SavedImageWriter(file, response.archive_data)

        def receive(hash_: bytes) -> VerifiedSink:
            writer.begin(hash_, known[hash_])
            return VerifiedSink(hash_, file.write)

        with ProgressBar("Saving", sum(known.values()), session.talk.is_quiet) as bar:
            await objects.get_objects(list(known), receive, bar.advance)
    return 0


async def restore(session: ImageSession, path: str) -> int:
    """Bring an image back that was saved.

    Raises:
        ImageServerError: the file is damaged, or the server refuses.
    """
    master = await session.master()
    file = await session.blocking(_open, path)
    with file:
        reader = SavedImageReader(file)
        data = await session.blocking(reader.read_archive)
        archive = await session.blocking(read_archive, data)
        name = archive.image_name
        if await master.images.check_image(name):
            raise ImageServerError(f"{name} already exists")
        left_ns = still_expires_in_ns(archive, time.time_ns())
        if left_ns is not None:
            raise ImageServerError(f"cannot restore for: {show_nanoseconds(left_ns)}")
        contents = await session.blocking(_find_objects, reader, file)
    server = await session.server()
    with ProgressBar(
        "Uploading", sum(c.size for c in contents), session.talk.is_quiet
    ) as bar:
        streams = session.settings.streams
        await upload(server, session.reactor, contents, bar.advance, streams)
    expires_in_ns = session.settings.expires_in or _SHORTEST_NS
    expires_at = Time.from_nanoseconds(time.time_ns() + expires_in_ns)
    elsewhere = await master.images.restore_archive(data, expires_at)
    if elsewhere:
        raise _elsewhere(elsewhere)
    session.talk.log(f"restored image: {name}")
    return 0


def _elsewhere(master: str) -> ImageServerError:
    return ImageServerError(f"please specify replication master: {master}")


def _open(path: str) -> BinaryIO:
    with explained("cannot read", os.fsencode(path)):
        return open(path, "rb")


def _find_objects(reader: SavedImageReader, file: BinaryIO) -> list[Content]:
    """The objects of a saved image, where they are in its file."""
    shared = SharedFile(os.dup(file.fileno()))
    contents: list[Content] = []

    def take(hash_: bytes, length: int, position: int) -> None:
        section = Section(shared, position, length)
        contents.append(Content(hash_, length, section.open))

    reader.read_objects(take)
    return contents
