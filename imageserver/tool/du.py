"""``imagetool du``: what takes how much space."""

from __future__ import annotations

import os
from collections import Counter

from imageserver.errors import ImageServerError
from imageserver.model.filter import Matcher
from imageserver.model.inode import DirectoryInode, RegularInode
from imageserver.model.paths import find, walk
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_filter
from imageserver.tool.queries import select_names
from imageserver.tool.typed_image import load_image
from imageserver.tool.units import show_bytes

_COLUMN = 10


async def du(session: ImageSession, name: str = "", path: str = "/") -> int:
    """Tell which directories of an image take how much, or how much images take."""
    if name:
        return await _measure_directories(session, name, os.fsencode(path))
    return await _measure_images(session)


async def _measure_directories(session: ImageSession, name: str, top: bytes) -> int:
    """A line for each directory, what is below it included; the largest last."""
    tree = (await load_image(session, name)).file_system
    top = b"/" + b"/".join(part for part in top.split(b"/") if part)
    if top != b"/" and find(tree, top) is None:
        raise ImageServerError(f'path: "{os.fsdecode(top)}" not present in image')
    filter_ = await session.blocking(load_filter, session.settings.filter_file)
    matcher = Matcher(()) if filter_ is None else Matcher(filter_.lines)
    sizes: Counter[bytes] = Counter({top: 0})
    seen: set[int] = set()
    prefix = top.rstrip(b"/") + b"/"
    for node in walk(tree):
        if not node.path.startswith(prefix) or matcher.matches(node.path):
            continue
        if isinstance(node.inode, DirectoryInode):
            sizes[node.path] += 0
        if isinstance(node.inode, RegularInode) and node.number not in seen:
            seen.add(node.number)
            parent = node.path
            while parent != top:
                parent = parent.rpartition(b"/")[0] or b"/"
                sizes[parent] += node.inode.size
    ordered = sorted(sizes.items(), key=lambda item: (item[1], item[0]))
    if session.talk.as_json:
        session.talk.json([{"path": path, "bytes": size} for path, size in ordered])
    else:
        session.talk.lines(
            f"{show_bytes(size):>{_COLUMN}}  {os.fsdecode(path)}"
            for path, size in ordered
        )
    return 0


async def _measure_images(session: ImageSession) -> int:
    """A line for each image: its files, its objects, and those only it has."""
    images = await session.images()
    names = await select_names(session)
    rows = []
    total = (await images.get_object_statistics(names)).object_bytes if names else 0
    for name in names:
        own = await images.get_object_statistics([name], ignore_missing=True)
        others = [other for other in names if other != name]
        rest = 0
        if others:
            found = await images.get_object_statistics(others, ignore_missing=True)
            rest = found.object_bytes
        rows.append((name, own.file_inode_bytes, own.object_bytes, total - rest))
    if session.talk.as_json:
        keys = ("name", "file_bytes", "object_bytes", "own_bytes")
        session.talk.json([dict(zip(keys, row, strict=True)) for row in rows])
        return 0
    lines = [f"{'files':>{_COLUMN}}{'objects':>{_COLUMN}}{'its own':>{_COLUMN}}  image"]
    for name, *sizes in rows:
        columns = "".join(f"{show_bytes(size):>{_COLUMN}}" for size in sizes)
        lines.append(f"{columns}  {name}")
    session.talk.lines([*lines, f"{show_bytes(total):>{_COLUMN}} of objects in all"])
    return 0
