"""Go understands the images that we store and send."""

from __future__ import annotations

import pytest

from imageserver import gob
from imageserver.images import canonical
from imageserver.images.admission import measure
from imageserver.model.image import Image
from imageserver.model.image_messages import GetImageResponse
from imageserver.model.inode import RegularInode
from imageserver.testing import scanned

SEEDS = range(1, 200)


def smaller(inode):
    """An inode whose size can be added to that of others."""
    if isinstance(inode, RegularInode):
        return gob.evolve(inode, size=inode.size & 0xFFFF)
    return inode


def images(peer):
    """Images of Go's with inodes of every kind, made so that they can be admitted."""
    for seed in SEEDS:
        image = gob.decode(peer.make("Image", seed), Image).value
        if image.file_system is not None and image.file_system.inodes:
            system = image.file_system
            file_system = gob.evolve(
                system,
                inodes={n: smaller(i) for n, i in system.inodes.items() if i},
                root=gob.evolve(system.root, entries=()),
            )
            yield gob.evolve(image, file_system=file_system)


def stored(image: Image) -> tuple[Image, bytes, canonical.ImageFile]:
    """An image with its totals made right, and the file that we make of it."""
    admitted = measure(scanned(image))
    summary = admitted.summary
    file_system = gob.evolve(
        image.file_system,
        regular_count=summary.regular_count,
        data_bytes=summary.data_bytes,
        directory_count=summary.directory_count,
    )
    file = canonical.make_image_file(admitted)
    return gob.evolve(image, file_system=file_system), b"".join(file.pieces), file


@pytest.mark.parametrize("bare", [False, True], ids=["whole", "bare"])
def test_images(peer, bare) -> None:
    """The file of an image, and the response that is spliced from it, are good gob."""
    count = 0
    for sent in images(peer):
        count += 1
        image, content, file = stored(sent)
        data = content[: -canonical.CHECKSUM_BYTES]
        assert gob.decode(peer.echo("Image", data), Image).value == image
        end = file.value_offset + file.value_bytes
        value = content[file.value_offset : end]
        if bare:
            value = value[: file.file_system_offset] + canonical.VALUE_END
            image = gob.evolve(image, file_system=None)
        end = canonical.response_end()
        response = canonical.response_head(len(value), end) + value + end
        received = gob.decode(
            peer.echo("GetImageResponse", response), GetImageResponse
        ).value
        assert received == GetImageResponse(image)
    assert count > 20
