"""What an image must be like to be taken in."""

from __future__ import annotations

from collections import Counter

import attrs

from imageserver.errors import InvalidImage
from imageserver.model.filter import Matcher
from imageserver.model.image import ScannedImage
from imageserver.model.tree import TreeSummary, check_tree
from imageserver.objects.base import ObjectStorage


@attrs.frozen
class Admitted:
    """An image that was checked.

    Attributes:
        image: the image.
        summary: what its tree amounts to.
        references: how often it refers to each object, annotations included.
    """

    image: ScannedImage
    summary: TreeSummary
    references: Counter[bytes]


def measure(image: ScannedImage) -> Admitted:
    """Check what an image says of itself.

    Raises:
        InvalidImage: it contradicts itself.
    """
    if image.file_system is None:
        raise InvalidImage("nil file-system")
    summary = check_tree(image.file_system)
    references = summary.objects.copy()
    for annotation in (image.release_notes, image.build_log):
        if annotation is not None and annotation.object_hash is not None:
            references[annotation.object_hash] += 1
    return Admitted(image, summary, references)


def dismiss(image: ScannedImage | None) -> None:
    """Give up the table of an image that is of no more use."""
    if image is not None and image.file_system is not None:
        if image.file_system.inodes is not None:
            image.file_system.inodes.clear()


def admit(admitted: Admitted, objects: ObjectStorage) -> None:
    """Check an image that somebody wants to add.

    Args:
        admitted: what it says of itself; its objects are in hand.
        objects: where they have to be.

    Raises:
        InvalidImage: objects are missing, or an expression is none.
    """
    image = admitted.image
    sizes = objects.sizes(admitted.references)
    missing = [hash_ for hash_ in admitted.references if hash_ not in sizes]
    missing += objects.missing(sizes)  # what the index knows may be gone
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
