"""Reads all images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs

from imageserver.errors import CorruptImage, InvalidImage
from imageserver.fsck.report import Finding, Report
from imageserver.images.admission import Admitted, dismiss, measure
from imageserver.images.canonical import read_image_file
from imageserver.images.metadata import FILE_NAME, read_metadata
from imageserver.images.walk import FileKind, Found, walk_images
from imageserver.quarantine import Quarantine


@attrs.define
class Images:
    """What is there.

    Attributes:
        files: the good images, and what the system says of their files.
        owner_groups: the directories, and whose they are.
        references: how often images refer to each object.
        damaged: files that are damaged, and what is wrong with them.
        temporary: what was left by unfinished writes.
    """

    files: dict[str, os.stat_result] = attrs.field(factory=dict)
    owner_groups: dict[str, str] = attrs.field(factory=dict)
    references: Counter[bytes] = attrs.field(factory=Counter)
    damaged: dict[Path, str] = attrs.field(factory=dict)
    temporary: list[Path] = attrs.field(factory=list)


class ImageCheck:
    """Checks the images below one directory."""

    def __init__(
        self, root: Path, objects: dict[bytes, int], quarantine: Quarantine
    ) -> None:
        """Prepare to read.

        Args:
            root: the directory of images.
            objects: the good objects, and their sizes.
            quarantine: where damaged files were put before.
        """
        self.images = Images()
        self.report = Report()
        self._root = root
        self._objects = objects
        self._quarantine = quarantine

    def run(self, report: Report, advance: Callable[[int, int], None]) -> Images:
        """Read all images, and see whether their objects are there.

        Args:
            report: gets what is found.
            advance: told how many more files and bytes were read.

        Raises:
            OSError: the directory itself cannot be read.
        """
        self.report = report
        for name in sorted(self._quarantine.names()):
            report.add(Finding.IN_QUARANTINE, f"image {name}")
        for found in walk_images(self._root):
            self._check(found)
            advance(1, found.status.st_size)
        return self.images

    def _check(self, found: Found) -> None:
        if found.kind is FileKind.DIRECTORY:
            self._check_metadata(found.name)
        elif found.kind is FileKind.IMAGE:
            self._check_image(found)
        elif found.kind is FileKind.TEMPORARY:
            self.images.temporary.append(self._root / found.name)
            self.report.add(Finding.TEMPORARY, str(self._root / found.name))
        elif found.kind is FileKind.MISNAMED:
            self.report.add(Finding.MISNAMED, repr(found.name), found.reason)
        else:
            self.report.add(Finding.UNREADABLE, found.name, found.reason)

    def _check_metadata(self, name: str) -> None:
        path = self._root / name / FILE_NAME
        try:
            metadata = read_metadata(name, self._root / name)
            self.images.owner_groups[name] = metadata.owner_group
        except CorruptImage as error:
            self._report_damage(path, f"{name}/{FILE_NAME}", str(error))
        except OSError as error:
            self.report.add(Finding.UNREADABLE, str(path), error.strerror or "")

    def _check_image(self, found: Found) -> None:
        path = self._root / found.name
        try:
            stored = read_image_file(found.name, path)
            admitted = measure(stored.image)
        except (CorruptImage, InvalidImage) as error:
            self._report_damage(path, found.name, str(error))
            return
        except OSError as error:
            self.report.add(Finding.UNREADABLE, found.name, error.strerror or "")
            return
        if not stored.checksum:
            self.report.add(Finding.NO_CHECKSUM, found.name)
        self._check_references(found.name, admitted)
        self.images.files[found.name] = found.status
        self.images.references.update(admitted.references)
        dismiss(stored.image)

    def _check_references(self, name: str, admitted: Admitted) -> None:
        missing = [h for h in admitted.references if h not in self._objects]
        for hash_ in missing:
            self.report.add(Finding.MISSING_OBJECT, hash_.hex(), f"image {name}")
        for hash_, size in admitted.summary.object_bytes.items():
            stored = self._objects.get(hash_, size)
            if stored != size:
                text = f"{stored} bytes; image {name} says {size}"
                self.report.add(Finding.WRONG_SIZE, hash_.hex(), text)

    def _report_damage(self, path: Path, name: str, reason: str) -> None:
        self.images.damaged[path] = reason
        self.report.add(Finding.DAMAGED_IMAGE, name, reason)
