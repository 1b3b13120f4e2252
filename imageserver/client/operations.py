"""What programs do most: list, fetch, add, unpack and compare images, read objects.

Each function takes a :class:`~imageserver.client.server.Server`; ``docs/api.md`` has
examples. All raise ``ConnectionFailed`` if the server is not to be reached,
``CallError`` if it refuses, and ``ProtocolError`` if the connection breaks.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from imageserver import gob
from imageserver.client.adding import add_tree
from imageserver.client.getting import get_tree
from imageserver.client.object_sinks import VerifiedSink
from imageserver.client.receiving import Progress
from imageserver.client.server import Server
from imageserver.client.uploading import upload
from imageserver.errors import ImageExists, ImageNotFound
from imageserver.model.file_system import FileSystem
from imageserver.model.flat_image import FlatTree, GetFlatImageResponse
from imageserver.model.hash import hash_of
from imageserver.model.image import Image
from imageserver.model.image_messages import GetImageRequest, ListSelectedImagesRequest
from imageserver.model.version_sort import version_key
from imageserver.trees.differences import Difference, find_differences
from imageserver.trees.packages import packages_of
from imageserver.trees.tree import Content
from imageserver.trees.unpack import LeftOut


def _nobody_watches(objects: int, size: int) -> None:
    """Progress of which nobody wants to hear."""


async def list_names(
    server: Server,
    directory: str = "",
    tags: Mapping[str, Sequence[str]] | None = None,
    *,
    ignore_expiring: bool = False,
) -> list[str]:
    """The names of images, in order.

    Args:
        server: which one.
        directory: only those below it; with a slash at the end: directly in it.
        tags: only those whose tags have one of these values each.
        ignore_expiring: only those that do not expire.
    """
    wanted = {key: tuple(values) for key, values in (tags or {}).items()}
    request = ListSelectedImagesRequest(directory, ignore_expiring, wanted or None)
    names = await server.images.list_selected_images(request)
    return sorted(names, key=version_key)


async def fetch_image(server: Server, name: str, timeout_s: float = 0.0) -> Image:
    """An image with its file system.

    Args:
        server: which one.
        name: of the image.
        timeout_s: how long to wait for it, if it is not there yet.

    Raises:
        ImageNotFound: there is none.
    """
    request = GetImageRequest(name, timeout_ns=int(timeout_s * 1e9))
    image = await server.images.get_image(request)
    if image is None or image.file_system is None:
        raise ImageNotFound(f"image: {name} not found")
    return image


async def fetch_file_system(server: Server, name: str) -> FileSystem:
    """The file system of an image.

    Raises:
        ImageNotFound: there is none.
    """
    file_system = (await fetch_image(server, name)).file_system
    assert file_system is not None  # noqa: S101 - fetch_image has seen to it
    return file_system


async def add_image(
    server: Server,
    reactor: Any,
    name: str,
    source: str,
    image: Image | None = None,
    progress: Progress = _nobody_watches,
) -> None:
    """Make an image of a directory or a tar file.

    Args:
        server: where to.
        reactor: Twisted's.
        name: of the new image.
        source: the directory or file.
        image: everything that the image has besides files and packages: its filter,
            triggers, tags, expiration and so on.
        progress: told of objects and bytes that were sent, or were there.

    Raises:
        ImageExists: the name is taken.
        ImageServerError: the tree cannot be read.
    """
    if await server.images.check_image(name):
        raise ImageExists(f"image exists: {name}")
    image = image or Image()
    added = await add_tree(server, reactor, source, image.filter, sent=progress)
    packages = await server.worker.run(packages_of, added.tree)
    tree = added.tree.file_system
    await server.images.add_image(
        name, gob.evolve(image, file_system=tree, packages=packages)
    )


async def unpack_image(
    server: Server,
    reactor: Any,
    name: str,
    target: str,
    progress: Progress = _nobody_watches,
) -> tuple[LeftOut, ...]:
    """Unpack an image into a directory that is empty or not there.

    Returns:
        What could not be made for want of privileges.

    Raises:
        ImageNotFound: there is no such image.
        ImageServerError: it cannot be written.
    """
    tree = await fetch_file_system(server, name)
    return await get_tree(server, reactor, tree, target, progress)


async def compare_images(server: Server, left: str, right: str) -> list[Difference]:
    """What differs between two images, path by path.

    Raises:
        ImageNotFound: there is no such image.
    """
    trees = [await _fetch_flat(server, name) for name in (left, right)]
    return await server.worker.run(find_differences, *trees)


async def _fetch_flat(server: Server, name: str) -> FlatTree:
    request = GetImageRequest(name)
    response = await server.call("ImageServer.GetImage", request, GetFlatImageResponse)
    if response.image is None or response.image.file_system is None:
        raise ImageNotFound(f"image: {name} not found")
    return FlatTree(response.image.file_system)


async def add_contents(
    server: Server, reactor: Any, contents: Iterable[bytes]
) -> list[bytes]:
    """Put contents on the server, as objects; their hashes.

    An image has to use them within an hour, else they may be collected.
    """
    items = [(hash_of(content), content) for content in contents]
    objects = [_in_memory(hash_, content) for hash_, content in items]
    await upload(server, reactor, objects, _nobody_watches)
    return [hash_ for hash_, _ in items]


def _in_memory(hash_: bytes, content: bytes) -> Content:
    return Content(hash_, len(content), lambda: io.BytesIO(content))


async def stream_objects(
    server: Server,
    hashes: Sequence[bytes],
    write: Callable[[bytes, bytes], object],
    progress: Progress = _nobody_watches,
) -> None:
    """Fetch objects, in pieces.

    Args:
        server: which one.
        hashes: which objects.
        write: told the hash, and the next piece; called in a thread, one object after
            the other. Only when an object has ended it is known whether it was right.
        progress: told of objects and bytes.

    Raises:
        CallError: the server lacks one of them.
        CorruptObject: what came was another one.
    """

    def receive(hash_: bytes) -> VerifiedSink:
        return VerifiedSink(hash_, lambda data: write(hash_, data))

    await server.objects.get_objects(hashes, receive, progress)
