"""Choosing among the images that the index knows."""

from __future__ import annotations

from collections.abc import Container

from imageserver.errors import RequestError
from imageserver.index.base import ImageIndex
from imageserver.model.image_messages import (
    FindLatestImageRequest,
    ListSelectedImagesRequest,
)
from imageserver.model.names import ROOT
from imageserver.model.tags import tags_match


def find_latest(
    index: ImageIndex, request: FindLatestImageRequest, unfit: Container[str] = ()
) -> str:
    """The newest image directly in a directory that fits; empty: none.

    Args:
        index: the images.
        request: what is asked for.
        unfit: names of images that are not to be found.

    Raises:
        RequestError: there is no such directory.
    """
    if index.owner_group(request.directory_name) is None:
        raise RequestError(f"unknown directory: {request.directory_name}")
    commit = request.build_commit_id
    for record in index.images_in(request.directory_name):
        if record.created_on_ns is None or record.name in unfit:
            continue
        if request.ignore_expiring_images and record.expires:
            continue
        if commit and commit not in (record.build_commit_id, record.build_branch):
            continue
        if tags_match(record.tags, request.tags_to_match):
            return record.name
    return ""


def select(index: ImageIndex, request: ListSelectedImagesRequest) -> list[str]:
    """The names of the images that a request selects.

    A directory ``""`` or ``.`` stands for all of them, ``dir/`` for what is directly
    in it, ``dir`` for everything below.
    """
    wanted = request.directory_name
    if wanted.endswith("/"):
        records = index.images_in(wanted[:-1])
    else:
        prefix = "" if wanted in ("", ROOT) else f"{wanted}/"
        records = (r for r in index.images() if r.name.startswith(prefix))
    return [
        record.name
        for record in records
        if not (request.ignore_expiring_images and record.expires)
        and tags_match(record.tags, request.tags_to_match)
    ]
