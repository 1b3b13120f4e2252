"""Commands that make images of other images with some files replaced."""

from __future__ import annotations

import re

from imageserver import gob
from imageserver.tool.add import send_tree
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.making import add_image, compute_files, refuse_existing
from imageserver.tool.terminal import tell
from imageserver.tool.typed_image import load_image
from imageserver.trees.selecting import replace_files

_NUMBER = re.compile(r"[0-9]+")
_LARGEST = (1 << 64) - 1
_SEPARATORS = ("/", ".")


async def add_replaced(
    session: ImageSession, name: str, base: str, *layers: str
) -> int:
    """Make an image of another one, with the files of layers."""
    await refuse_existing(session, name)
    loaded = await load_image(session, base)
    image, tree = loaded.whole, loaded.file_system
    if not image.expires_at.is_zero:
        tell(f"Skipping expiring image: {base}")
        return 0
    for layer in layers:
        added = await send_tree(session, layer, image.filter)
        tree = replace_files(tree, added.tree.file_system)
    tree = await compute_files(session, tree)
    await add_image(session, name, gob.evolve(image, file_system=tree))
    return 0


async def add_all_replaced(session: ImageSession, *layers: str) -> int:
    """Do so for the newest image of each stream, which gets the next number."""
    names = await (await session.images()).list_images()
    for separator in _SEPARATORS:
        for stream, number in sorted(_newest(names, separator).items()):
            older, newer = (f"{stream}{separator}{n}" for n in (number, number + 1))
            await add_replaced(session, newer, older, *layers)
    return 0


def _newest(names: list[str], separator: str) -> dict[str, int]:
    """The highest number of each stream."""
    newest: dict[str, int] = {}
    for name in names:
        stream, found, last = name.rpartition(separator)
        if found and _NUMBER.fullmatch(last) and int(last) <= _LARGEST:
            newest[stream] = max(int(last), newest.get(stream, 0))
    return newest
