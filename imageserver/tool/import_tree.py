"""``imagetool import-fs-tree``."""

from __future__ import annotations

from imageserver.errors import ImageServerError
from imageserver.model.image_messages import ImportTreeRequest
from imageserver.tool.changes import expiration
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.units import show_bytes, show_nanoseconds, show_rate

_SECOND_NS = 1_000_000_000


async def import_tree(session: ImageSession, directory: str, url: str) -> int:
    """Let the server make an image of a tree on a web server.

    Raises:
        ImageServerError: no expiration was given, or the server refuses.
    """
    if session.settings.expires_in < 1:
        raise ImageServerError("must specify an expiry time")
    request = ImportTreeRequest(directory, expiration(session), url)
    response = await (await session.images()).import_tree(request)
    if session.talk.as_json:
        session.talk.json({"name": response.image_name})
        return 0
    for what, count, size, took_ns in (
        (
            "tree",
            response.tree_objects_added,
            response.tree_bytes_added,
            response.trees_download_time_ns,
        ),
        (
            "data",
            response.file_objects_added,
            response.file_bytes_added,
            response.files_download_time_ns,
        ),
    ):
        rate = show_rate(size, took_ns / _SECOND_NS)
        session.talk.log(
            f"Imported {count} ({show_bytes(size)}) new {what} objects in:"
            f" {show_nanoseconds(took_ns)} ({rate})"
        )
    session.talk.lines([response.image_name])
    return 0
