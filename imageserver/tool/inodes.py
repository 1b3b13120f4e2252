"""Commands about one path of an image."""

from __future__ import annotations

import os

from imageserver.errors import CallError, ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.image_messages import GetImageRequest
from imageserver.model.inode import Inode
from imageserver.model.likeness import compare
from imageserver.model.paths import find, link_counts
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.typed_image import TypedImage, find_name, load_image
from imageserver.trees.description import describe
from imageserver.trees.listing import list_inode


async def show_inode(session: ImageSession, name: str, path: str) -> int:
    """List one path of an image."""
    raw_path = os.fsencode(path)
    found = await _ask_for_inode(session, name, raw_path)
    if found is None:
        loaded = await load_image(session, name)
        found = _find(loaded.file_system, raw_path)
    _print(session, raw_path, *found)
    return 0


async def _ask_for_inode(
    session: ImageSession, text: str, path: bytes
) -> tuple[Inode, int] | None:
    """An inode and the number of its names; ``None`` if that takes the whole image."""
    typed = TypedImage.parse(text)
    if not typed.is_on_server:
        return None
    name = await find_name(session, typed)
    try:
        response = await (await session.images()).get_inodes(name, [path])
    except CallError:  # servers need not have this call
        return None
    if not response.image_exists:
        raise ImageServerError(f"{name}: not found")
    number = (response.inode_numbers or {}).get(path)
    if number is None:
        raise _not_present(path)
    inode = (response.inodes or {}).get(number)
    if inode is None:
        raise ImageServerError(f"inode: {number} not present in image")
    return inode, (response.link_counts or {}).get(number, 0)


def _find(file_system: FileSystem, path: bytes) -> tuple[Inode, int]:
    node = find(file_system, path)
    if node is None:
        raise _not_present(path)
    return node.inode, link_counts(file_system)[node.number]


def _not_present(path: bytes) -> ImageServerError:
    return ImageServerError(f'path: "{os.fsdecode(path)}" not present in image')


def _print(session: ImageSession, path: bytes, inode: Inode, link_count: int) -> None:
    if session.talk.as_json:
        session.talk.json({**describe(path, inode), "links": link_count})
        return
    skip_fields = session.settings.skip_fields
    session.talk.lines([list_inode(path, inode, link_count, skip_fields=skip_fields)])


async def trace_history(session: ImageSession, name: str, path: str) -> int:
    """Tell in which images a path was changed, back to the first.

    Raises:
        ImageServerError: the image does not say which one it was made of.
    """
    raw_path = os.fsencode(path)
    loaded = await load_image(session, name)
    image = loaded.whole
    if not image.source_image:
        text = f"image: {name} has no source: history cannot be traced"
        raise ImageServerError(text)
    last = _find(loaded.file_system, raw_path)
    events: list[tuple[str, str, Inode, int]] = []
    seen = {name}
    while image.source_image and image.source_image not in seen:
        seen.add(image.source_image)
        older = await (await session.images()).get_image(
            GetImageRequest(image.source_image, timeout_ns=session.settings.timeout)
        )
        if older is None or older.file_system is None:
            raise ImageServerError(f"image: {image.source_image} not found")
        node = find(older.file_system, raw_path)
        if node is None:
            break
        if not compare(last[0], node.inode).is_whole:
            events.append(("changed", name, *last))
        name, image = image.source_image, older
        last = node.inode, link_counts(older.file_system)[node.number]
    events.append(("originated", name, *last))
    _tell(session, raw_path, events)
    return 0


def _tell(
    session: ImageSession, path: bytes, events: list[tuple[str, str, Inode, int]]
) -> None:
    if session.talk.as_json:
        session.talk.json(
            [
                {"event": what, "image": name, **describe(path, inode), "links": links}
                for what, name, inode, links in events
            ]
        )
        return
    for what, name, inode, links in events:
        session.talk.lines([f"Inode {what} in: {name}"])
        _print(session, path, inode, links)
