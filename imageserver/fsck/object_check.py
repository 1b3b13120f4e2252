"""Reads all objects."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from imageserver.fsck.report import Finding, Report
from imageserver.objects.store import INCOMING
from imageserver.objects.walk import PIECES, Found, walk_objects
from imageserver.quarantine import Quarantine

_READ_BYTES = 1 << 20
_THREADS = 8


@attrs.define
class Objects:
    """What is there.

    Attributes:
        sizes: the good objects and their sizes.
        damaged: files of damaged objects, and what is wrong with them.
        temporary: what was left by unfinished writes.
    """

    sizes: dict[bytes, int] = attrs.field(factory=dict)
    damaged: dict[Path, str] = attrs.field(factory=dict)
    temporary: list[Path] = attrs.field(factory=list)


def check_objects(
    root: Path,
    quarantine: Quarantine,
    report: Report,
    advance: Callable[[int, int], None],
) -> Objects:
    """Read all objects, and compare them with their names.

    Args:
        root: the directory of objects.
        quarantine: where damaged ones were put before.
        report: gets what is found.
        advance: told how many more objects and bytes were read.
    """
    objects = Objects()
    for path in _incoming(root):
        objects.temporary.append(path)
        report.add(Finding.TEMPORARY, str(path))
    for name in sorted(quarantine.names()):
        report.add(Finding.IN_QUARANTINE, f"object {name}")
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for number in range(PIECES):
            try:
                found = list(walk_objects(root, number))
            except OSError as error:
                _report_unreadable(report, error)
                continue
            for each, fault in zip(found, pool.map(_read, found), strict=True):
                _sort(each, fault, objects, report)
                advance(1, each.status.st_size if each.status else 0)
    return objects


def _incoming(root: Path) -> Iterable[Path]:
    directory = root / INCOMING
    return sorted(directory.iterdir()) if directory.is_dir() else ()


def _sort(found: Found, fault: str, objects: Objects, report: Report) -> None:
    if found.is_temporary:
        objects.temporary.append(found.path)
        report.add(Finding.TEMPORARY, str(found.path))
    elif found.hash_ is None or found.status is None:
        report.add(Finding.FOREIGN, str(found.path))
    elif fault:
        objects.damaged[found.path] = fault
        report.add(Finding.DAMAGED_OBJECT, found.hash_.hex(), fault)
    else:
        objects.sizes[found.hash_] = found.status.st_size


def _read(found: Found) -> str:
    """What is wrong with an object; empty: nothing, or it is none."""
    if found.hash_ is None:
        return ""
    digest = hashlib.sha512()
    size = 0
    try:
        for piece in _pieces(found.path):
            digest.update(piece)
            size += len(piece)
    except OSError as error:
        return error.strerror or "cannot be read"
    if size == 0:
        return "it is empty"
    if digest.digest() != found.hash_:
        return f"its SHA-512 is {digest.hexdigest()}"
    return ""


def _pieces(path: Path) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while piece := os.read(descriptor, _READ_BYTES):
            yield piece
    finally:
        os.close(descriptor)


def _report_unreadable(report: Report, error: OSError) -> None:
    report.add(Finding.UNREADABLE, str(error.filename), error.strerror or "")
