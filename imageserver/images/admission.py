"""What an image must be like to be taken in."""

from __future__ import annotations

from collections import Counter

import attrs

from imageserver import gob
from imageserver.errors import InvalidImage
from imageserver.model.filter import Matcher
from imageserver.model.image import Image
from imageserver.model.tree import TreeSummary, check_tree
from imageserver.objects.store import ObjectStore


@attrs.frozen
class Admitted:
    """An image that was checked.

    Attributes:
        image: the image, with totals that are right.
        summary: what its tree amounts to.
        references: how often it refers to each object, annotations included.
    """

    image: Image
    summary: TreeSummary
    references: Counter[bytes]


def measure(image: Image) -> Admitted:
    """Check what an image says of itself.

    Raises:
        InvalidImage: it contradicts itself.
    """
    if image.file_system is None:
        raise InvalidImage("nil file-system")
    summary = check_tree(image.file_system)
    file_system = gob.evolve(
        image.file_system,
        regular_count=summary.regular_count,
        data_bytes=summary.data_bytes,
        directory_count=summary.directory_count,
    )
    references = summary.objects.copy()
    for annotation in (image.release_notes, image.build_log):
        if annotation is not None and annotation.object_hash is not None:
            references[annotation.object_hash] += 1
    return Admitted(gob.evolve(image, file_system=file_system), summary, references)


def admit(image: Image, objects: ObjectStore) -> Admitted:
    """Check an image that somebody wants to add.

    Raises:
        InvalidImage: it contradicts itself, or objects are missing.
    """
    admitted = measure(image)
    sizes = objects.sizes(admitted.references)
    missing = [hash_ for hash_ in admitted.references if hash_ not in sizes]
    missing += objects.missing_files(sizes)  # what the index knows may be gone
    if len(missing) == 1:
        raise InvalidImage(f"object: {missing[0].hex()} is not available")
    if missing:
        raise InvalidImage(f"{len(missing)} objects are not available")
    for hash_, size in admitted.summary.object_bytes.items():
        if sizes[hash_] != size:
            raise InvalidImage(
                f"size {size} != {sizes[hash_]} of object: {hash_.hex()}"
            )
    if image.filter is not None:
        Matcher(image.filter.lines)
    if image.triggers is not None:
        for trigger in image.triggers.triggers:
            Matcher(trigger.match_lines)
    return admitted
