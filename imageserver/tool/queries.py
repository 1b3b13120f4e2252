"""Commands that ask the server something, and print a name or a few."""

from __future__ import annotations

import datetime
import time

from imageserver.errors import CallError, ImageServerError
from imageserver.gob import Time
from imageserver.gojson import format_time
from imageserver.model.image_messages import (
    FindLatestImageRequest,
    GetImageRequest,
    ListSelectedImagesRequest,
)
from imageserver.model.version_sort import version_key
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.units import show_nanoseconds

_NO = 1


async def check_image(session: ImageSession, name: str) -> int:
    """Whether there is such an image."""
    return _answer(session, await (await session.images()).check_image(name))


async def check_directory(session: ImageSession, name: str) -> int:
    """Whether there is such a directory."""
    return _answer(session, await (await session.images()).check_directory(name))


def _answer(session: ImageSession, exists: bool) -> int:
    if session.talk.as_json:
        session.talk.json({"exists": exists})
    return 0 if exists else _NO


async def find_latest(session: ImageSession, directory: str) -> int:
    """Print the name of the newest image in a directory.

    Raises:
        ImageServerError: there is none.
    """
    settings = session.settings
    request = FindLatestImageRequest(
        settings.build_commit_id,
        directory,
        settings.ignore_expiring,
        settings.tags_to_match or None,
    )
    name = await (await session.images()).find_latest_image(request)
    if not name:
        raise ImageServerError("no image found")
    if session.talk.as_json:
        session.talk.json({"name": name})
    else:
        session.talk.lines([name])
    return 0


async def select_names(session: ImageSession) -> list[str]:
    """The names of the images that the flags ask for, in order."""
    settings = session.settings
    request = ListSelectedImagesRequest(
        "", settings.ignore_expiring, settings.tags_to_match or None
    )
    names = await (await session.images()).list_selected_images(request)
    return sorted(names, key=version_key)


async def list_images(session: ImageSession) -> int:
    """Print the names of images."""
    names = await select_names(session)
    if session.talk.as_json:
        session.talk.json(names)
    else:
        session.talk.lines(names)
    return 0


async def list_directories(session: ImageSession) -> int:
    """Print all directories, with their owner groups."""
    directories = await (await session.images()).list_directories()
    directories.sort(key=lambda directory: version_key(directory.name))
    if session.talk.as_json:
        session.talk.json(
            [
                {"name": item.name, "owner_group": item.metadata.owner_group}
                for item in directories
            ]
        )
        return 0
    width = max((len(directory.name) for directory in directories), default=0)
    lines = []
    for directory in directories:
        group = directory.metadata.owner_group
        owner = f"  OwnerGroup={group}" if group else ""
        name = directory.name.ljust(width) if owner else directory.name
        lines.append(f"{name}{owner}")
    session.talk.lines(lines)
    return 0


async def get_replication_master(session: ImageSession) -> int:
    """Print the server that this one follows."""
    master = await (await session.images()).get_replication_master()
    if session.talk.as_json:
        session.talk.json({"replication_master": master or None})
    elif master:
        session.talk.lines([master])
    return 0


async def get_expiration(session: ImageSession, name: str) -> int:
    """Print when an image expires."""
    expires_at = await (await session.images()).get_expiration(name)
    if session.talk.as_json:
        moment = None if expires_at.is_zero else format_time(expires_at)
        session.talk.json({"name": name, "expires_at": moment})
        return 0
    session.talk.lines([_tell_expiration(expires_at, time.time_ns())])
    return 0


def _tell_expiration(expires_at: Time, now_ns: int) -> str:
    if expires_at.is_zero:
        return "image does not expire"
    left_ns = expires_at.to_nanoseconds() - now_ns
    moment = _show_moment(expires_at)
    if left_ns < 0:
        return f"image expired at {moment} ({show_nanoseconds(-left_ns)} ago)"
    return f"image expires at {moment} (in {show_nanoseconds(left_ns)})"


def _show_moment(moment: Time) -> str:
    """A time with all its decimals, its offset and its zone."""
    seconds = datetime.datetime.fromtimestamp(moment.unix_s, datetime.UTC)
    name = "UTC"
    if moment.offset_s is not None:
        there = datetime.timezone(datetime.timedelta(seconds=moment.offset_s))
        here = seconds.astimezone()
        seconds = seconds.astimezone(there)
        is_same = here.utcoffset() == seconds.utcoffset()
        name = f"{here:%Z}" if is_same else f"{seconds:%z}"
    decimals = f".{moment.nanosecond:09}".rstrip("0").rstrip(".")
    return f"{seconds:%Y-%m-%d %H:%M:%S}{decimals} {seconds:%z} {name}"


async def wait(session: ImageSession, name: str) -> int:
    """Wait for an image; 1 if it does not come in time.

    Raises:
        ImageServerError: the server for changes does not have it.
    """
    settings = session.settings
    if settings.master_image_server_hostname:
        try:
            exists = await (await session.master()).images.check_image(name)
        except CallError as error:
            text = f"error checking image on master: {error}"
            raise ImageServerError(text) from error
        if not exists:
            master = settings.master_image_server_hostname
            raise ImageServerError(f"image not present on master: {master}")
    request = GetImageRequest(
        name, ignore_file_system=True, timeout_ns=settings.timeout
    )
    return _answer(
        session, await (await session.images()).get_image(request) is not None
    )
