"""Commands that print contents: a file of an image, the log of its build."""

from __future__ import annotations

import os
import urllib.request
from functools import partial
from typing import BinaryIO
from urllib.parse import urlsplit

from imageserver.client.object_sinks import into_file
from imageserver.errors import ImageServerError
from imageserver.model.image import Annotation
from imageserver.model.inode import RegularInode
from imageserver.model.paths import find
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.typed_image import TypedImage, load_image, load_metadata
from imageserver.tool.whole_file import output
from imageserver.trees.local_file import open_below

_PIECE_BYTES = 1 << 20
_PATIENCE_S = 60.0
_SCHEMES = ("http", "https")


async def get_file(
    session: ImageSession, name: str, path: str, target: str = ""
) -> int:
    """Print one file of an image, or write it to a file."""
    with output(target) as file:
        await write_content(session, name, path, file)
    return 0


async def get_build_log(session: ImageSession, name: str, target: str = "") -> int:
    """Print the log of an image's build, or write it to a file."""
    with output(target) as file:
        await write_build_log(session, name, file)
    return 0


async def write_content(
    session: ImageSession, name: str, path: str, file: BinaryIO
) -> None:
    """Write the content of one file of an image.

    Raises:
        ImageServerError: there is no such file.
    """
    typed = TypedImage.parse(name)
    raw_path = os.fsencode(path)
    if typed.letter == "d":
        await session.blocking(_copy_local, typed.rest, raw_path, file)
        return
    node = find((await load_image(session, name)).file_system, raw_path)
    if node is None:
        raise ImageServerError(f'file: "{path}" not present in image')
    if not isinstance(node.inode, RegularInode):
        raise ImageServerError(f'file: "{path}" is not a regular file')
    if node.inode.size:
        await write_object(session, node.inode.hash_, file)


def _copy_local(root: str, path: bytes, file: BinaryIO) -> None:
    with open_below(root, path) as source:
        while piece := source.read(_PIECE_BYTES):
            file.write(piece)


async def write_object(session: ImageSession, hash_: bytes, file: BinaryIO) -> None:
    """Write the content of an object.

    Raises:
        ImageServerError: the server does not have it.
    """
    objects = await session.objects()
    await objects.get_objects([hash_], into_file(file), lambda objects, size: None)


async def write_build_log(session: ImageSession, name: str, file: BinaryIO) -> None:
    """Write the log of an image's build.

    Raises:
        ImageServerError: there is none.
    """
    log = (await load_metadata(session, name)).build_log
    await write_annotation(session, log, file)


async def write_annotation(
    session: ImageSession, annotation: Annotation, file: BinaryIO
) -> None:
    """Write the text that an annotation stands for.

    Raises:
        ImageServerError: it cannot be had.
    """
    if annotation.object_hash is not None:
        await write_object(session, annotation.object_hash, file)
    elif annotation.url:
        await session.blocking(partial(_download, annotation.url, file))
    else:
        raise ImageServerError("no build log data")


def _download(url: str, file: BinaryIO) -> None:
    if urlsplit(url).scheme not in _SCHEMES:
        raise ImageServerError(f"not an address of the web: {url}")
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_S) as response:  # noqa: S310 - see above
            while piece := response.read(_PIECE_BYTES):
                file.write(piece)
    except OSError as error:
        raise ImageServerError(f"{url}: {error}") from error
