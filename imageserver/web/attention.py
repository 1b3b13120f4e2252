"""What needs somebody."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from imageserver.web.status import Status

_NEARLY_FULL_PERCENT = 95
_BEHIND_S = 600.0
BAD, WARN = "bad", "warn"


@attrs.frozen
class Attention:
    """Something that needs somebody.

    Attributes:
        level: :data:`BAD` or :data:`WARN`.
        text: what is the matter.
        advice: what to do.
        address: the page that has more.
    """

    level: str
    text: str
    advice: str
    address: str = ""


def find_attention(status: Status, now_s: float) -> tuple[Attention, ...]:
    """Everything that needs somebody, worst first."""
    found = [
        *_server(status),
        *_objects(status),
        *_certificates(status, now_s),
        *_replication(status),
    ]
    found.sort(key=lambda attention: attention.level)  # "bad" comes before "warn"
    return tuple(found)


def _server(status: Status) -> Iterator[Attention]:
    if status.insecure:
        yield Attention(
            BAD,
            "This server runs in insecure mode: everybody may do everything.",
            "Give it a CA file (-CAfile) and certificates.",
        )
    if status.quarantined:
        yield Attention(
            BAD,
            f"{status.quarantined} damaged files were put aside.",
            "Look at .quarantine in the data directories and at the log.",
            "/objects",
        )
    used = status.capacity_bytes - status.free_bytes
    percent = used * 100 / max(status.capacity_bytes, 1)
    if percent >= _NEARLY_FULL_PERCENT:
        yield Attention(
            BAD,
            "The objects' file system is nearly full.",
            "Delete images that nobody needs, or add space.",
            "/space",
        )
    elif percent >= status.cleanup_start_percent:
        yield Attention(
            WARN,
            f"The objects' file system is {percent:.0f} % full: unreferenced objects"
            " are being removed.",
            "Delete images that nobody needs, or add space.",
            "/space",
        )
    if status.refuses_uploads:
        yield Attention(
            BAD,
            "Uploads are refused: there is less space than is to be left free.",
            "Delete images that nobody needs, add space, or see -minimumFreeSpace.",
            "/space",
        )
    if status.crashed_calls:
        yield Attention(
            WARN,
            f"{status.crashed_calls} calls ended in an internal error.",
            "The log has the details; please report them.",
            "/logs",
        )
    if status.crashed_before:
        yield Attention(
            WARN,
            "The run before this one ended in a crash.",
            "Its log is kept; please report it.",
            "/logs/showPreviousPanic",
        )
    if not status.ready:
        yield Attention(
            WARN,
            f"Images are being loaded: {status.images_loaded} of"
            f" {status.images_to_load}.",
            "Each is there once it is read or asked for; some calls wait for all.",
        )


def _objects(status: Status) -> Iterator[Attention]:
    """What is the matter with objects."""
    health = status.health
    if status.incomplete:
        yield Attention(
            BAD,
            f"{status.incomplete} images are incomplete.",
            "Upload the missing objects again, or delete these images.",
            "/objects",
        )
    if health is None:
        return
    if health.missing_objects:
        yield Attention(
            BAD,
            f"{health.missing_objects} objects that images need are missing.",
            "Upload them again, or delete these images.",
            "/objects",
        )
    if health.halted:
        yield Attention(
            BAD,
            "So many objects in a row are damaged that reading them was given up.",
            "Look after disk and memory of this machine, then restart.",
            "/objects",
        )
    if health.obstacle and status.ready:
        yield Attention(
            WARN,
            f"Unreferenced objects cannot be removed: {health.obstacle}.",
            "The log names the files.",
            "/logs",
        )


def _certificates(status: Status, now_s: float) -> Iterator[Attention]:
    """What the matter is with certificates; no file is named, anybody may look."""
    if status.certificates_outdated:
        yield Attention(
            BAD,
            "Changed certificate files cannot be used; the old ones still are.",
            "The log says why.",
            "/logs",
        )
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    for expiry in status.certificates:
        stage = expiry.stage(now)
        if stage is not None:
            verb = "expires" if stage else "has expired"
            yield Attention(
                WARN if stage else BAD,
                f"The {expiry.kind} {expiry.subject} {verb}"
                f" at {expiry.ends:%Y-%m-%d %H:%M} UTC.",
                "Renew it; the files are read again by themselves.",
            )


def _replication(status: Status) -> Iterator[Attention]:
    """What keeps this server from being as its master is."""
    state = status.replication
    if not state:
        return
    problem = state.get("problem")
    if problem:
        yield Attention(
            BAD,
            f"The replication master cannot be followed: {problem}.",
            "It is tried again by itself; look after network and master.",
            "/replication",
        )
    failures = state.get("failures") or ()
    if failures:
        yield Attention(
            WARN,
            f"{len(failures)} things could not be replicated.",
            "They are tried again; the page says why.",
            "/replication",
        )
    lag_s = state.get("lag_s") or 0.0
    if lag_s >= _BEHIND_S and not problem:
        yield Attention(
            WARN,
            f"This server is {lag_s / 60:.0f} minutes behind its master.",
            "Look at the rate, and at the master's load.",
            "/replication",
        )
