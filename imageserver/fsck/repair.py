"""Puts right what a check has found."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

from imageserver.disk import Disk
from imageserver.fsck.image_check import Images
from imageserver.fsck.object_check import Objects
from imageserver.fsck.report import Finding, Report
from imageserver.images.database import ImageDatabase
from imageserver.images.loading import Loading
from imageserver.index.sqlite import INDEX_FILE, SqliteIndex
from imageserver.objects.reconciliation import Reconciliation
from imageserver.objects.store import ObjectStore
from imageserver.quarantine import Quarantine


def repair(
    image_directory: Path,
    object_directory: Path,
    objects: Objects,
    images: Images,
    report: Report,
) -> Iterator[str]:
    """Repair what can be repaired.

    Damaged files go into quarantine, what is unfinished goes away, and the index is
    made anew if anything in it is wrong, or was changed by this. Missing objects have
    to be uploaded again, which no repair can do.

    Args:
        image_directory: where the images are.
        object_directory: where the objects are.
        objects: what was found of them.
        images: likewise.
        report: all findings.

    Yields:
        What was done.

    Raises:
        OSError: a file cannot be moved or removed.
        ImageServerError: the index cannot be made.
    """
    disk = Disk()
    for path, reason in objects.damaged.items():
        Quarantine(object_directory, disk).put(path, reason, separator="")
    for path, reason in images.damaged.items():
        Quarantine(image_directory, disk).put(path, reason)
    aside = len(objects.damaged) + len(images.damaged)
    if aside:
        yield f"{aside} damaged files were put into quarantine"
    temporary = objects.temporary + images.temporary
    for path in temporary:
        disk.remove(path)
    if temporary:
        yield f"{len(temporary)} unfinished files were removed"
    if aside or report.counts[Finding.WRONG_INDEX]:
        yield from _rebuild_index(image_directory, object_directory, disk)


def _rebuild_index(
    image_directory: Path, object_directory: Path, disk: Disk
) -> Iterator[str]:
    index = SqliteIndex(image_directory / INDEX_FILE, object_directory, image_directory)
    index.remove()
    index.open()
    try:
        store = ObjectStore(object_directory, index, disk, time.time_ns)
        store.open()
        database = ImageDatabase(image_directory, index, store, disk, time.time_ns)
        loading = Loading(database)
        loading.run()
        reconciliation = Reconciliation(store, started_s=math.inf)
        for number in range(Reconciliation.PIECES):
            reconciliation.run_piece(number)
    finally:
        index.close()
    yield "the index was made anew"
    for name in sorted(loading.progress.left_out):
        yield f"it has nothing of {name!r}, which cannot be loaded"
    unread = reconciliation.findings.unread
    if unread:
        yield f"it has nothing of {unread} of 256 parts of the objects"
