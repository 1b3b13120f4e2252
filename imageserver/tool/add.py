"""``imagetool add``: a tree becomes an image on the server."""

from __future__ import annotations

import time
from pathlib import Path

from imageserver.client.object_server import ObjectServerClient
from imageserver.errors import ImageServerError, MethodDenied
from imageserver.gob import Time
from imageserver.model.filter import Filter, Matcher, parse_filter
from imageserver.model.image import Image
from imageserver.model.triggers import Triggers, parse_triggers
from imageserver.tool.progress import ProgressBar
from imageserver.tool.session import Session
from imageserver.tool.units import show_bytes, show_rate, show_seconds
from imageserver.trees.required_paths import check_required_paths
from imageserver.trees.tar import scan_source
from imageserver.trees.tree import Content, Tree


async def add(
    session: Session, name: str, source: str, filter_file: str, triggers_file: str
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
    filter_ = _load_filter(filter_file)
    triggers = _load_triggers(triggers_file)
    images = await session.images()
    if await images.check_image(name):
        raise ImageServerError("image exists")
    began_s = time.monotonic()
    tree = await _scan(session, source, filter_)
    if filter_ is not None:
        check_required_paths(tree.file_system, session.settings.required_paths)
    sent = await upload(session, await session.objects(), tree)
    took_s = time.monotonic() - began_s
    session.debug(
        f"Scanned file-system and uploaded {len(sent)} objects"
        f" ({show_bytes(sum(content.size for content in sent))}) in"
        f" {show_seconds(took_s)}"
        f" ({show_rate(tree.file_system.data_bytes, took_s)})"
    )
    expires_at = Time.ZERO
    if session.settings.expires_in:
        expires_at = Time.from_nanoseconds(time.time_ns() + session.settings.expires_in)
    image = Image(
        filter=filter_,
        triggers=triggers,
        file_system=tree.file_system,
        expires_at=expires_at,
    )
    began_s = time.monotonic()
    await images.add_image(name, image)
    session.debug(
        f"Uploaded image: {name} in {show_seconds(time.monotonic() - began_s)}"
    )
    return 0


async def upload(
    session: Session, objects: ObjectServerClient, tree: Tree
) -> list[Content]:
    """Send what the server lacks of a tree.

    Returns:
        What was sent.

    Raises:
        ImageServerError: the server refuses, or a file cannot be read.
    """
    contents = list(tree.contents.values())
    try:
        sizes = await objects.check_objects([content.hash_ for content in contents])
    except MethodDenied:  # then send everything
        sizes = [0] * len(contents)
    missing = [c for c, size in zip(contents, sizes, strict=True) if size == 0]
    if missing:
        with ProgressBar("Uploading", sum(content.size for content in missing)) as bar:
            await objects.add_objects(missing, bar.advance)
    return missing


async def _scan(session: Session, source: str, filter_: Filter | None) -> Tree:
    matcher = None if filter_ is None else Matcher(filter_.lines)
    with ProgressBar("Scanning") as bar:
        tree: Tree = await session.blocking(scan_source, source, matcher, bar.reach)
    return tree


def _load_filter(path: str) -> Filter | None:
    return parse_filter(_read(path)) if path else None


def _load_triggers(path: str) -> Triggers | None:
    return parse_triggers(_read(path)) if path else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ImageServerError(f"{path}: {error.strerror}") from error
