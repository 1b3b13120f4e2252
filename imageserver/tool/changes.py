"""Commands that change names, directories and expirations."""

from __future__ import annotations

import time

from imageserver.gob import Time
from imageserver.tool.imagetool_session import ImageSession


def expiration(session: ImageSession) -> Time:
    """When what is made now is to expire; a zero time: never."""
    expires_in = session.settings.expires_in
    if not expires_in:
        return Time.ZERO
    return Time.from_nanoseconds(time.time_ns() + expires_in)


async def delete(session: ImageSession, name: str) -> int:
    """Delete an image."""
    await (await session.master()).images.delete_image(name)
    return 0


async def make_directory(session: ImageSession, name: str) -> int:
    """Make a directory."""
    await (await session.master()).images.make_directory(name)
    return 0


async def remove_directory(session: ImageSession, name: str) -> int:
    """Remove an empty directory."""
    await (await session.master()).images.delete_directory(name)
    return 0


async def chown(session: ImageSession, name: str, group: str) -> int:
    """Give a directory to a group."""
    await (await session.images()).chown_directory(name, group)
    return 0


async def change_expiration(session: ImageSession, name: str) -> int:
    """Let an image expire later, or never."""
    images = (await session.master()).images
    await images.change_expiration(name, expiration(session))
    return 0
