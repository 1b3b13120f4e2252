"""Compares the index with the files."""

from __future__ import annotations

from collections.abc import Callable

from imageserver.errors import StoreError
from imageserver.fsck.image_check import Images
from imageserver.fsck.object_check import Objects
from imageserver.fsck.report import Finding, Report
from imageserver.images.records import is_file_of
from imageserver.index.sqlite import SqliteIndex
from imageserver.index.sqlite_file import FOREIGN, NONE

_AT_ONCE = 10_000


def check_index(
    index: SqliteIndex, objects: Objects, images: Images, report: Report
) -> None:
    """Compare what the index knows with what is there.

    That there is no index, or that it does not know something, is no damage: the
    daemon finds all of it.

    Args:
        index: the index; not open.
        objects: the objects that are there.
        images: the images that are there.
        report: gets what is found.

    Raises:
        ConfigError: the index cannot be read.
    """
    reason = index.inspect()
    if reason:
        harmless = reason in (NONE, FOREIGN)
        kind = Finding.UNINDEXED if harmless else Finding.WRONG_INDEX
        report.add(kind, "everything", reason)
        return
    index.open()
    try:
        for compare in (_compare_objects, _compare_counts, _compare_images):
            compare(index, objects, images, report.add)
    except StoreError as error:
        report.add(Finding.WRONG_INDEX, "everything", str(error))
    finally:
        index.close()


_Add = Callable[[Finding, str, str], None]


def _compare_objects(
    index: SqliteIndex, objects: Objects, _: Images, add: _Add
) -> None:
    damaged = {"".join(path.parts[-3:]) for path in objects.damaged}
    last, known = b"", 0
    while some := index.objects_after(last, _AT_ONCE):
        for hash_, size in some.items():
            known += hash_ in objects.sizes
            there = objects.sizes.get(hash_)
            if there is None and hash_.hex() not in damaged:
                add(Finding.WRONG_INDEX, f"object {hash_.hex()}", "it is not there")
            elif there not in (None, size):
                text = f"{size} bytes instead of {there}"
                add(Finding.WRONG_INDEX, f"object {hash_.hex()}", text)
        last = max(some)
    if known < len(objects.sizes):
        add(Finding.UNINDEXED, f"{len(objects.sizes) - known} objects", "")


def _compare_counts(index: SqliteIndex, _: Objects, images: Images, add: _Add) -> None:
    if sorted(index.image_names()) != sorted(images.files):
        return  # then the references are of other images, too
    counted = dict(index.reference_counts())
    for hash_ in counted.keys() | images.references.keys():
        count, right = counted.get(hash_, 0), images.references[hash_]
        if count != right:
            text = f"{count} references instead of {right}"
            add(Finding.WRONG_INDEX, f"object {hash_.hex()}", text)


def _compare_images(index: SqliteIndex, _: Objects, images: Images, add: _Add) -> None:
    records = {record.name: record for record in index.images()}
    for name, record in records.items():
        if not is_file_of(images.files.get(name), record):
            add(Finding.WRONG_INDEX, f"image {name}", "its file is another one")
    for name in sorted(images.files.keys() - records.keys()):
        add(Finding.UNINDEXED, f"image {name}", "")
    if index.directories() != images.owner_groups:
        add(Finding.UNINDEXED, "owner groups of directories", "")
