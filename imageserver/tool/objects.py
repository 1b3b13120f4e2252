"""Commands about the objects of a server."""

from __future__ import annotations

import time

from imageserver.errors import CallError, ImageServerError
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_lines
from imageserver.tool.units import show_bytes, show_nanoseconds

_UINT8, _UINT64 = 1 << 8, 1 << 64


async def list_unreferenced(session: ImageSession) -> int:
    """Print the hashes of objects that no image uses."""
    found = await (await session.images()).list_unreferenced_objects()
    if session.talk.as_json:
        session.talk.json([item.hash_.hex() for item in found])
    else:
        session.talk.lines(item.hash_.hex() for item in found)
    return 0


async def show_unreferenced(session: ImageSession) -> int:
    """Print hashes and sizes of objects that no image uses."""
    found = await (await session.images()).list_unreferenced_objects()
    if session.talk.as_json:
        session.talk.json([{"hash": o.hash_.hex(), "size": o.size} for o in found])
    else:
        session.talk.lines(f"{item.hash_.hex()} {item.size}" for item in found)
    return 0


async def delete_unreferenced(session: ImageSession, percentage: str, size: str) -> int:
    """Delete so many percent and so many bytes of what no image uses.

    Raises:
        ImageServerError: these are no numbers, or the server refuses.
    """
    images = await session.images()
    numbers = (
        _parse(percentage, _UINT8, "percentage"),
        _parse(size, _UINT64, "bytes"),
    )
    try:
        await images.delete_unreferenced_objects(*numbers)
    except CallError as error:
        text = f"error deleting unreferenced objects: {error}"
        raise ImageServerError(text) from error
    return 0


def _parse(text: str, limit: int, what: str) -> int:
    prefix = f'error parsing {what}: strconv.ParseUint: parsing "{text}":'
    if not (text.isascii() and text.isdigit()):
        raise ImageServerError(f"{prefix} invalid syntax")
    if len(text) > 20 or int(text) >= limit:
        raise ImageServerError(f"{prefix} value out of range")
    return int(text)


async def get_statistics(session: ImageSession, path: str) -> int:
    """Tell what images amount to together."""
    images = await session.images()
    names = await session.blocking(load_lines, path)
    began_ns = time.monotonic_ns()
    found = await images.get_object_statistics(names)
    took_ns = time.monotonic_ns() - began_ns
    if session.talk.as_json:
        session.talk.json(
            {
                "images": found.image_count,
                "files": found.file_inode_count,
                "file_bytes": found.file_inode_bytes,
                "objects": found.object_count,
                "object_bytes": found.object_bytes,
            }
        )
        return 0
    factor = "NaN"
    if found.object_bytes:
        factor = f"{found.file_inode_bytes / found.object_bytes:.3g}"
    duration = f"{show_nanoseconds(took_ns)} duration"
    if found.computation_time_ns > 0:
        computation = show_nanoseconds(found.computation_time_ns)
        duration += f" with {computation} computation time"
    for line in (
        f"{found.image_count} images",
        f"{found.file_inode_count} files using {show_bytes(found.file_inode_bytes)}",
        f"{found.object_count} unique objects using {show_bytes(found.object_bytes)},"
        f" {factor} de-duplication factor",
        duration,
    ):
        session.talk.log(line)
    return 0
