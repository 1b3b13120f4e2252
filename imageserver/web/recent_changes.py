"""The last changes, from the audit log."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import attrs

_READ_BYTES = 64 << 10
_WORDS = {
    "AddImage": "added image",
    "AddImageTrusted": "added image",
    "DeleteImage": "deleted image",
    "ChangeImageExpiration": "changed the expiration of image",
    "MakeDirectory": "made directory",
    "DeleteDirectory": "deleted directory",
    "ChownDirectory": "changed the owner of directory",
    "RestoreImageFromArchive": "restored image",
    "ImportTree": "imported a tree into directory",
    "DeleteUnreferencedObjects": "deleted unreferenced objects",
}
_DIRECTORIES = ("MakeDirectory", "ChownDirectory", "ImportTree")
_GONE = ("DeleteImage", "DeleteDirectory")


@attrs.frozen
class RecentChange:
    """A change, or an attempt at one.

    Attributes:
        time_s: when, in seconds since 1970.
        user: who.
        address: from where.
        what: what was done, in words.
        subject: to what.
        kind: ``image``, ``directory``, or empty if it is not there any more.
        outcome: ``ok``, or what was wrong.
    """

    time_s: float
    user: str
    address: str
    what: str
    subject: str
    kind: str
    outcome: str


def read_recent(path: Path, most: int) -> list[RecentChange]:
    """The last changes in an audit log, newest first; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _READ_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in reversed(lines):
        try:
            values = json.loads(line)
        except ValueError:  # the first line may be cut, the last one unfinished
            continue
        if isinstance(values, dict) and (change := _change(values)):
            found.append(change)
        if len(found) == most:
            break
    return found


def _change(values: dict[str, Any]) -> RecentChange | None:
    fields = {name: str(values.get(name, "")) for name in _FIELDS}
    try:
        time = datetime.datetime.fromisoformat(fields["time"]).timestamp()
    except ValueError:
        return None
    name = fields["method"].rpartition(".")[2]
    kind = "directory" if name in _DIRECTORIES else "image"
    if name in _GONE or fields["outcome"] != "ok" or name not in _WORDS:
        kind = ""
    return RecentChange(
        time,
        fields["user"],
        fields["address"],
        _WORDS.get(name, name),
        fields["subject"],
        kind,
        fields["outcome"],
    )


_FIELDS = ("time", "user", "address", "method", "subject", "outcome")
