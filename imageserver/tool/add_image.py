"""Commands that make images of other images."""

from __future__ import annotations

from imageserver import gob
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_filter
from imageserver.tool.making import (
    add_image as send_image,
)
from imageserver.tool.making import (
    begin_image,
    compute_files,
    refuse_existing,
)
from imageserver.tool.typed_image import load_image
from imageserver.trees.selecting import apply_filter


async def add_image(
    session: ImageSession, name: str, source: str, filter_file: str, triggers_file: str
) -> int:
    """Make an image of another one, with another filter and other triggers."""
    await refuse_existing(session, name)
    image = await begin_image(session, filter_file, triggers_file)
    older = await load_image(session, source)
    old = older.whole
    tree = await compute_files(session, older.file_system)
    delete_filter = await session.blocking(load_filter, session.settings.delete_filter)
    tree = apply_filter(tree, delete_filter or old.filter)
    tree = apply_filter(tree, image.filter)
    await send_image(session, name, gob.evolve(image, file_system=tree))
    return 0


async def copy(session: ImageSession, name: str, source: str) -> int:
    """Make an image that is the same as another one, but for its expiration."""
    await refuse_existing(session, name)
    await send_image(session, name, (await load_image(session, source)).whole)
    return 0
