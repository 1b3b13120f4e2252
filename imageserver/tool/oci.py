"""Commands that make images of container images, and the other way round."""

from __future__ import annotations

import os
import secrets
import shutil
from functools import partial

from imageserver import gob
from imageserver.client.adding import add_scanned
from imageserver.errors import ImageServerError
from imageserver.gob import Time
from imageserver.gojson import format_time
from imageserver.model.filter import Matcher
from imageserver.model.tree import show
from imageserver.tool.get import prepare
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.making import add_image, begin_image, refuse_existing
from imageserver.tool.progress import ProgressBar
from imageserver.trees.oci_layers import scan_layers
from imageserver.trees.oci_layout import LayoutWriter, OciLayout
from imageserver.trees.packages import packages_of
from imageserver.trees.tar_writing import TarWriter
from imageserver.trees.tree import explained

_EPOCH = Time.from_nanoseconds(0)


async def import_oci(
    session: ImageSession, name: str, layout: str, filter_file: str, triggers_file: str
) -> int:
    """Make an image of an image layout directory.

    Raises:
        ImageServerError: it cannot be read, or the server refuses.
    """
    await refuse_existing(session, name)
    image = await begin_image(session, filter_file, triggers_file)
    path, tag = await session.blocking(_split, layout)
    source = await session.blocking(lambda: OciLayout(path).read(tag))
    matcher = None if image.filter is None else Matcher(image.filter.lines)
    server = await session.server()
    with ProgressBar("Adding", None, session.talk.is_quiet) as bar:
        added = await add_scanned(
            server,
            session.reactor,
            partial(
                scan_layers,
                source.layers,
                matcher,
                lambda files, size: bar.expect(size),
            ),
            bar.advance,
            session.settings.streams,
        )
    packages = ()
    if session.settings.packages:
        packages = await session.blocking(packages_of, added.tree)
    image = gob.evolve(image, file_system=added.tree.file_system, packages=packages)
    await add_image(session, name, image)
    return 0


def _split(text: str) -> tuple[str, str]:
    """The path of a layout, and the tag behind it, if there is one."""
    path, colon, tag = text.rpartition(":")
    if os.path.isdir(text) or not colon or "/" in tag:
        return text, ""
    return path, tag


async def export_oci(session: ImageSession, name: str, target: str) -> int:
    """Write an image as an image layout directory, whole or not at all.

    Raises:
        ImageServerError: it cannot be fetched, or written.
    """
    source = await prepare(session, name)
    temporary = f"{target}.{secrets.token_hex(8)}~"
    await session.blocking(_refuse_existing, target)
    try:
        writer = await session.blocking(LayoutWriter, temporary)
        size = source.file_system.data_bytes
        with writer.layer() as file:
            archive = await session.blocking(TarWriter, source.file_system, file)
            with ProgressBar("Writing", size, session.talk.is_quiet) as bar:
                await source.fetcher.fetch(archive.hashes, archive.receive, bar.advance)
            left_out = await session.blocking(archive.finish)
        image = source.image
        moment = _EPOCH if image is None else image.created_on
        created = format_time(moment if not moment.is_zero else _EPOCH)
        labels = dict((image.tags if image else None) or {})
        tag = source.name.rpartition("/")[2]
        await session.blocking(writer.finish, tag, created, labels)
        await session.blocking(_rename, temporary, target)
    finally:
        await session.blocking(shutil.rmtree, temporary, ignore_errors=True)
    for item in left_out:
        session.talk.warn(f"left out: {show(item.path)}: {item.reason}")
    return 0


def _refuse_existing(target: str) -> None:
    if os.path.lexists(target) and not (
        os.path.isdir(target) and not os.listdir(target)
    ):
        raise ImageServerError(f"it is there already: {target}")


def _rename(temporary: str, target: str) -> None:
    with explained("cannot create", os.fsencode(target)):
        os.rename(temporary, target)
