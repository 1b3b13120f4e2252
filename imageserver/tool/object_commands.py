"""Commands of objecttool that handle objects."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence

from imageserver.client.object_sinks import VerifiedSink, into_file
from imageserver.client.receiving import Writer
from imageserver.client.uploading import upload
from imageserver.errors import CallError, ImageServerError
from imageserver.model.hash import HASH_BYTES
from imageserver.model.object_messages import (
    ImportObjectsRequest,
    ImportObjectsResponse,
)
from imageserver.tool.input_files import read_text
from imageserver.tool.making import hash_file
from imageserver.tool.objecttool_session import ObjectSession
from imageserver.tool.units import show_bytes, show_rate, show_seconds
from imageserver.tool.whole_file import new_file, output
from imageserver.trees.tree import Content, explained

_NO = 1
_FILE_MODE = 0o640
_PRIVATE = 0o700
_STANDARD_OUTPUT = "-"
_IMPORT_PATIENCE_S = 24 * 3600.0


async def add(session: ObjectSession, *paths: str) -> int:
    """Put files on the server."""
    found: list[tuple[str, Content]] = await session.blocking(_hash_all, paths)
    server = await session.server()
    contents = [content for _, content in found]
    await upload(server, session.reactor, contents, lambda objects, size: None)
    if session.talk.as_json:
        session.talk.json(
            [{"path": path, "hash": content.hash_.hex()} for path, content in found]
        )
    elif session.settings.show_hashes:
        session.talk.lines(f"{path}: {content.hash_.hex()}" for path, content in found)
    return 0


def _hash_all(paths: Sequence[str]) -> list[tuple[str, Content]]:
    """The files among some paths that are not empty, as objects."""
    found = []
    for path in paths:
        if not os.path.exists(path):
            raise ImageServerError(f"open {path}: no such file or directory")
        content = hash_file(path) if os.path.isfile(path) else None
        if content is not None and content.size:
            found.append((path, content))
    return found


async def check(session: ObjectSession, text: str) -> int:
    """Whether the server has an object."""
    hash_ = parse_hash(text)
    (size,) = await (await session.objects()).check_objects([hash_])
    if session.talk.as_json:
        session.talk.json({"exists": bool(size), "size": size})
    return 0 if size else _NO


async def get(session: ObjectSession, text: str, base: str) -> int:
    """Write an object to a file, or to standard output."""
    hash_ = parse_hash(text)
    is_output = base == _STANDARD_OUTPUT
    with output("" if is_output else f"{base}.{hash_.hex()}", _FILE_MODE) as file:
        objects = await session.objects()
        await objects.get_objects([hash_], into_file(file), lambda objects, size: None)
    return 0


async def get_many(session: ObjectSession, path: str, target: str) -> int:
    """Write the objects that a file lists to a new directory, all or none.

    Raises:
        ImageServerError: the directory is there, or an object is not.
    """
    lines = (await session.blocking(read_text, path)).splitlines()
    hashes = [parse_hash(line) for line in lines]
    temporary = await session.blocking(_make_temporary, target)
    try:
        objects = await session.objects()
        await objects.get_objects(
            list(dict.fromkeys(hashes)),
            lambda hash_: _ObjectFile(os.path.join(temporary, hash_.hex()), hash_),
            lambda objects, size: None,
        )
        with explained("cannot create", os.fsencode(target)):
            os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return 0


def _make_temporary(target: str) -> str:
    if os.path.lexists(target):
        raise ImageServerError(f"{target}: file exists")
    temporary = f"{target}~"
    with explained("cannot create", os.fsencode(temporary)):
        os.mkdir(temporary, _PRIVATE)
    return temporary


class _ObjectFile(Writer):
    """Writes an object to a file."""

    def __init__(self, path: str, hash_: bytes) -> None:
        self._context = new_file(path, _FILE_MODE)
        self._sink = VerifiedSink(hash_, self._context.__enter__().write)

    def write(self, data: bytes) -> None:
        self._sink.write(data)

    def finish(self) -> None:
        self._sink.finish()
        self._context.__exit__(None, None, None)


async def import_objects(session: ObjectSession, url: str, path: str) -> int:
    """Let the server fetch objects from a web server.

    Raises:
        ImageServerError: it cannot.
    """
    lines = (await session.blocking(read_text, path)).splitlines()
    request = ImportObjectsRequest(url, tuple(parse_hash(line) for line in lines))
    server = await session.server()
    began_s = time.monotonic()
    response = await server.call(
        "ObjectServer.ImportObjects", request, ImportObjectsResponse, _IMPORT_PATIENCE_S
    )
    if response.error:
        raise CallError(response.error)
    took_s = time.monotonic() - began_s
    size = response.bytes_added
    if session.talk.as_json:
        session.talk.json({"objects": response.objects_added, "bytes": size})
        return 0
    session.talk.log(
        f"Imported {response.objects_added} new objects ({show_bytes(size)}) in"
        f" {show_seconds(took_s)} ({show_rate(size, took_s)})"
    )
    return 0


def parse_hash(text: str) -> bytes:
    """A hash from its digits; other characters do not count.

    A short one is filled up with zeros, as the reference does.

    Raises:
        ImageServerError: it has too many digits.
    """
    digits = re.sub("[^0-9a-f]", "", text)
    if len(digits) > 2 * HASH_BYTES:
        raise ImageServerError(f"error parsing hash: {text}")
    return bytes.fromhex(digits[: len(digits) // 2 * 2]).ljust(HASH_BYTES, b"\0")
