"""``imagetool test-download-speed``."""

from __future__ import annotations

import time

from imageserver.model.image_messages import FindLatestImageRequest
from imageserver.model.inode import RegularInode
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.typed_image import load_image
from imageserver.tool.units import show_bytes, show_rate, show_seconds


class _Nowhere:
    """Forgets what comes; a ``Writer``."""

    def write(self, data: bytes) -> None:
        """Forget it."""

    def finish(self) -> None:
        """Nothing to do."""


async def test_download(session: ImageSession, name: str) -> int:
    """Fetch an image and its objects, and forget them."""
    images = await session.images()
    if await images.check_directory(name):
        name = await images.find_latest_image(FindLatestImageRequest("", name))
    began_s = time.monotonic()
    image = await load_image(session, name)
    metadata_s = time.monotonic() - began_s
    hashes = [
        inode.hash_
        for inode in (image.file_system.inodes or {}).values()
        if isinstance(inode, RegularInode) and inode.size
    ]
    sizes: list[int] = []
    began_s = time.monotonic()
    await (await session.objects()).get_objects(
        hashes, lambda _: _Nowhere(), lambda _, size: sizes.append(size)
    )
    took_s = time.monotonic() - began_s
    size = sum(sizes)
    if session.talk.as_json:
        session.talk.json(
            {
                "image": image.name,
                "metadata_seconds": metadata_s,
                "objects": len(hashes),
                "bytes": size,
                "seconds": took_s,
            }
        )
        return 0
    session.talk.log(f"downloaded image metadata in {show_seconds(metadata_s)}")
    session.talk.log(
        f"downloaded {show_bytes(size)} ({len(hashes)} objects) in"
        f" {show_seconds(took_s)} ({show_rate(size, took_s)})"
    )
    return 0
