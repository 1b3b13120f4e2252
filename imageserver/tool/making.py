"""What the commands share that make images."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any

from imageserver import gob
from imageserver.client.uploading import upload
from imageserver.errors import CallError, ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.image import Annotation, Image
from imageserver.tool.changes import expiration
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_filter, load_triggers, read_text
from imageserver.tool.units import show_seconds
from imageserver.trees.computed_files import (
    parse_computed_files,
    splice_computed_files,
)
from imageserver.trees.required_paths import check_required_paths
from imageserver.trees.tree import Content, explained

_PIECE_BYTES = 1 << 20


async def refuse_existing(session: ImageSession, name: str) -> None:
    """See to it that there is no such image yet.

    Raises:
        ImageServerError: there is.
    """
    try:
        exists = await (await session.images()).check_image(name)
    except CallError as error:
        text = f"error checking for image existence: {error}"
        raise ImageServerError(text) from error
    if exists:
        raise ImageServerError("image exists")


async def begin_image(
    session: ImageSession, filter_file: str, triggers_file: str
) -> Image:
    """An image with all that the command line says about it, without a tree.

    Raises:
        ImageServerError: a file cannot be read, or sent.
    """
    settings = session.settings
    return Image(
        build_branch=settings.build_branch,
        build_commit_id=settings.build_commit_id,
        build_git_url=settings.build_git_url,
        created_for=settings.created_for,
        filter=await session.blocking(load_filter, filter_file),
        triggers=await session.blocking(load_triggers, triggers_file),
        release_notes=await _annotate(session, settings.release_notes),
        build_log=await _annotate(session, settings.build_log),
        owner_groups=settings.owner_groups,
        owner_users=settings.owner_users,
        source_image=settings.source_image,
        tags=await session.blocking(load_tags, settings.tags) or None,
    )


async def compute_files(session: ImageSession, tree: FileSystem) -> FileSystem:
    """A tree with the computed files that the command line lists.

    Raises:
        ImageServerError: the list cannot be read, or does not fit the tree.
    """
    path = session.settings.computed_files
    if not path:
        return tree
    try:
        text = await session.blocking(read_text, path)
        sources = parse_computed_files(text, is_json=path.endswith(".json"))
    except ImageServerError as error:
        raise ImageServerError(f"cannot load computed files: {error}") from error
    try:
        return splice_computed_files(tree, sources)
    except ImageServerError as error:
        raise ImageServerError(f"cannot splice computed files: {error}") from error


async def add_image(session: ImageSession, name: str, image: Image) -> None:
    """Add an image, whose objects the server has.

    Raises:
        ImageServerError: it lacks required paths, or the server refuses it.
    """
    image = gob.evolve(image, expires_at=expiration(session))
    if image.filter is not None and image.file_system is not None:
        check_required_paths(image.file_system, session.settings.required_paths)
    began_s = time.monotonic()
    try:
        await (await session.images()).add_image(name, image)
    except CallError as error:
        raise ImageServerError(f"remote error: {error}") from error
    took = show_seconds(time.monotonic() - began_s)
    session.debug(f"Uploaded image: {name} in {took}")


def load_tags(items: tuple[str, ...]) -> dict[str, str]:
    """The tags that a command line gives: ``KEY=VALUE``, or ``@FILE`` with JSON.

    Raises:
        ImageServerError: one of them is malformed.
    """
    tags: dict[str, str] = {}
    for item in items:
        if item.startswith("@"):
            tags |= _load_tag_file(item[1:])
        elif item.count("=") == 1:
            key, _, value = item.partition("=")
            tags[key] = value
        else:
            raise ImageServerError(f'malformed tag: "{item}"')
    return tags


def _load_tag_file(path: str) -> dict[str, str]:
    try:
        found: Any = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ImageServerError(f"{path}: {error}") from error
    if not isinstance(found, dict) or not all(
        isinstance(value, str) for value in found.values()
    ):
        raise ImageServerError(f"{path}: not an object of strings")
    return found


async def _annotate(session: ImageSession, name: str) -> Annotation | None:
    """A text: the file of that name is sent; if there is none, it is an address."""
    if not name:
        return None
    content = await session.blocking(hash_file, name)
    if content is None:
        return Annotation(url=name)
    if not content.size:
        raise ImageServerError(f"{name}: the file is empty")
    server = await session.server()
    await upload(server, session.reactor, [content], lambda objects, size: None)
    return Annotation(object_hash=content.hash_)


def hash_file(path: str) -> Content | None:
    """A file as an object; ``None``: there is no such file.

    Raises:
        FileAccessError: it cannot be read.
    """
    if not os.path.exists(path):
        return None
    hasher, size = hashlib.sha512(), 0
    with explained("cannot read", os.fsencode(path)), open(path, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            hasher.update(piece)
            size += len(piece)
    return Content(hasher.digest(), size, lambda: open(path, "rb"))
