"""``imagetool get``: an image becomes a tree."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from imageserver.errors import ImageNotFound
from imageserver.model.image import Image
from imageserver.model.image_messages import GetImageRequest
from imageserver.model.tree import show
from imageserver.tool.progress import ProgressBar
from imageserver.tool.session import Session
from imageserver.tool.units import show_bytes, show_rate, show_seconds
from imageserver.trees.unpack import Unpacker

_INITIAL_IMAGE_DIRECTORY = ("var", "lib")
_INITIAL_IMAGE = "initial-image"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


async def fetch_image(session: Session, name: str) -> Image:
    """An image with its file system.

    Raises:
        ImageServerError: there is none.
    """
    images = await session.images()
    image = await images.get_image(
        GetImageRequest(name, timeout_ns=session.settings.timeout)
    )
    if image is None or image.file_system is None:
        raise ImageNotFound(f"image: {name} not found")
    return image


async def get(session: Session, name: str, target: str) -> int:
    """Unpack an image into a directory that is empty or not there; the exit code.

    Raises:
        ImageServerError: it cannot be fetched or written.
    """
    image = await fetch_image(session, name)
    assert image.file_system is not None  # noqa: S101 - fetch_image has seen to it
    objects = await session.objects()
    unpacker = Unpacker(image.file_system, target)
    await session.blocking(unpacker.__enter__)
    try:
        await session.blocking(unpacker.make_skeleton)
        wanted = unpacker.wanted()
        size = sum(size for _, size in wanted)
        began_s = time.monotonic()
        with ProgressBar("Downloading", size) as bar:
            await objects.get_objects(
                [hash_ for hash_, _ in wanted], unpacker.receive, bar.advance
            )
        left_out = await session.blocking(unpacker.finish)
        took_s = time.monotonic() - began_s
    finally:
        await session.blocking(unpacker.__exit__, *sys.exc_info())
    session.debug(
        f"downloaded {show_bytes(size)} ({len(wanted)} objects) in"
        f" {show_seconds(took_s)} ({show_rate(size, took_s)})"
    )
    for item in left_out:
        print(f"left out: {show(item.path)}: {item.reason}", file=sys.stderr)
    await session.blocking(_write_initial_image, name, target)
    return 0


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
