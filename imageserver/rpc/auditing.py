"""Which calls go into the audit log, and with what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from twisted.logger import Logger

from imageserver.audit import AuditLog, Entry
from imageserver.errors import GobTypeError, ImageServerError
from imageserver.gojson import format_time
from imageserver.srpc.access import Caller
from imageserver.srpc.methods import Method, Reply
from imageserver.worker import Worker

Subject = Callable[[Any], str]


def _image(request: Any) -> str:
    return str(request.image_name)


def _directory(request: Any) -> str:
    return str(request.directory_name)


def _expiration(request: Any) -> str:
    time = request.expires_at
    try:
        until = "for ever" if time.is_zero else f"until {format_time(time)}"
    except GobTypeError:
        until = "until some time"  # which no calendar has
    return f"{request.image_name} {until}"


def _owner(request: Any) -> str:
    return f"{request.directory_name} to {request.owner_group or 'nobody'}"


def _unreferenced(request: Any) -> str:
    return f"{request.percentage} % and {request.bytes_} bytes"


def _tree(request: Any) -> str:
    return f"{request.tree_url} into {request.directory_name}"


def _imported(request: Any) -> str:
    return f"{len(request.hashes)} objects from {request.base_remote_url}"


SUBJECTS: dict[str, Subject] = {
    "ImageServer.AddImage": _image,
    "ImageServer.AddImageTrusted": _image,
    "ImageServer.ChangeImageExpiration": _expiration,
    "ImageServer.ChownDirectory": _owner,
    "ImageServer.DeleteDirectory": _directory,
    "ImageServer.DeleteImage": _image,
    "ImageServer.ImportTree": _tree,
    "ImageServer.MakeDirectory": _directory,
    "ImageServer.DeleteUnreferencedObjects": _unreferenced,
    "ImageServer.RestoreImageFromArchive": lambda _: "an archive",
    "ObjectServer.ImportObjects": _imported,
}
"""What the audit log says of the requests of methods that change something."""

_log = Logger()
_LONGEST = 4_096  # characters of what somebody calls an image


def audited(
    methods: Iterable[Method], log: AuditLog, worker: Worker
) -> Iterable[Method]:
    """The same methods; those that change something write into the audit log.

    Args:
        methods: the methods.
        log: where to write.
        worker: writes.
    """
    for method in methods:
        subject = SUBJECTS.get(method.full_name)
        if subject is None or method.reply is None:
            yield method
        else:
            reply = _audited(method.full_name, method.reply, subject, log, worker)
            yield attrs.evolve(method, reply=reply)


def _audited(
    name: str, reply: Reply, subject: Subject, log: AuditLog, worker: Worker
) -> Reply:
    async def reply_and_write(caller: Caller, request: Any) -> Any:
        outcome = "internal error"
        try:
            response = await reply(caller, request)
            outcome = getattr(response, "error", "") or "ok"
        except ImageServerError as error:
            outcome = str(error)
            raise
        finally:
            what = subject(request)[:_LONGEST]
            entry = Entry(caller.user, caller.address, name, what, outcome)
            try:
                await worker.run(log.append, entry)
            except OSError:  # it has been done: nobody is served by saying otherwise
                _log.failure("cannot write the audit log: {entry}", entry=entry)
        return response

    return reply_and_write
