"""``imagetool add``: a tree becomes an image on the server."""

from __future__ import annotations

import time

from imageserver import gob
from imageserver.client.adding import Added, add_tree
from imageserver.model.filter import Filter
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.making import (
    add_image,
    begin_image,
    compute_files,
    refuse_existing,
)
from imageserver.tool.progress import ProgressBar
from imageserver.tool.typed_image import load_image
from imageserver.tool.units import show_bytes, show_rate, show_seconds
from imageserver.trees.packages import packages_of
from imageserver.trees.selecting import copy_mtimes


async def add(
    session: ImageSession, name: str, source: str, filter_file: str, triggers_file: str
) -> int:
    """Add an image; the exit code.

    Args:
        session: what to work with.
        name: the name of the new image.
        source: a directory, or a tar file, perhaps compressed.
        filter_file: a filter file; empty: a sparse image.
        triggers_file: a triggers file; empty: no triggers.

    Raises:
        ImageServerError: it cannot be added.
    """
    await refuse_existing(session, name)
    image = await begin_image(session, filter_file, triggers_file)
    added = await send_tree(session, source, image.filter)
    tree = await compute_files(session, added.tree.file_system)
    if session.settings.copy_mtimes_from:
        older = await load_image(session, session.settings.copy_mtimes_from)
        tree = copy_mtimes(older.file_system, tree)
    packages = ()
    if session.settings.packages:
        packages = await session.blocking(packages_of, added.tree)
    image = gob.evolve(image, file_system=tree, packages=packages)
    await add_image(session, name, image)
    sent = added.sent
    session.talk.summary(
        f"{name}: {len(tree.inodes or {})} inodes, {show_bytes(tree.data_bytes)};"
        f" sent {sent.objects} objects ({show_bytes(sent.bytes_)}),"
        f" {sent.known} were there"
    )
    return 0


async def send_tree(
    session: ImageSession, source: str, filter_: Filter | None
) -> Added:
    """Scan a tree, and send what the server lacks of it.

    Raises:
        ImageServerError: it cannot be read, or sent.
    """
    server = await session.server()
    began_s = time.monotonic()
    with ProgressBar("Adding", None, session.talk.is_quiet) as bar:
        added = await add_tree(
            server,
            session.reactor,
            source,
            filter_,
            scanned=lambda files, size: bar.expect(size),
            sent=bar.advance,
            streams=session.settings.streams,
        )
    took_s = time.monotonic() - began_s
    sent = added.sent
    session.debug(
        f"Scanned file-system and uploaded {sent.objects} objects"
        f" ({show_bytes(sent.bytes_)}) in {show_seconds(took_s)}"
        f" ({show_rate(added.tree.file_system.data_bytes, took_s)})"
    )
    return added
