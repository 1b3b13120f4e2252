"""Uploads that a process left behind when it died: ``docs/formats.md``, "Objects".

Those that had come whole are good; nobody but their content can tell which these are.
So a replica does not have to fetch them again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imageserver.objects.base import Outcome

if TYPE_CHECKING:
    from imageserver.objects.store import ObjectStore

_NAME = re.compile(r"([0-9]{1,20})-([0-9a-f]{128})")
_READ_BYTES = 1 << 20


def incoming_name(number: int, expected_hash: bytes | None) -> str:
    """The name of the file of an upload that has begun.

    Args:
        number: of the upload.
        expected_hash: which object it has to become; ``None``: nobody knows.
    """
    return f"{number}-{expected_hash.hex()}" if expected_hash else str(number)


def parse_incoming_name(name: str) -> tuple[int, bytes] | None:
    """Number and hash of an upload; ``None``: the name has no hash."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), bytes.fromhex(found[2])) if found else None


def salvage(store: ObjectStore, paths: Iterable[Path]) -> int:
    """Keep what had come whole of uploads, and remove the rest.

    Args:
        store: takes the objects.
        paths: what was left behind.

    Returns:
        How many objects were kept.
    """
    kept = 0
    for path in paths:
        with suppress(OSError):
            kept += not _salvage(store, path).error
        store.disk.discard(str(path))
    return kept


def _salvage(store: ObjectStore, path: Path) -> Outcome:
    """Take in what is in a file, as if it came from a client.

    Raises:
        OSError: it cannot be read.
    """
    parsed = parse_incoming_name(path.name)
    nothing = Outcome(error="there is nothing in it")
    if parsed is None:
        return nothing
    intake = store.intake()
    try:
        with path.open("rb") as file:
            missing = path.stat().st_size
            if not missing:
                return nothing
            intake.begin(missing, parsed[1])
            while missing:
                data = file.read(min(missing, _READ_BYTES))
                if not data:
                    return nothing
                missing -= len(data)
                intake.write(data)
        return intake.commit()[0]
    finally:
        intake.abandon()
