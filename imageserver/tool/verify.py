"""``imagetool verify``: is everything there, and as it should be?"""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict

from imageserver.client.saved_image import objects_of
from imageserver.errors import CallError
from imageserver.model.inode import RegularInode
from imageserver.model.paths import walk
from imageserver.model.tree import check_tree
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.progress import ProgressBar
from imageserver.tool.terminal import RED, paint
from imageserver.tool.typed_image import load_image
from imageserver.tool.units import show_bytes, show_rate, show_seconds

_BAD = 1
_BATCH = 1_000


class _Hashing:
    """Hashes an object and forgets it; a ``Writer``."""

    def __init__(self, hash_: bytes, damaged: set[bytes]) -> None:
        self._hash = hash_
        self._damaged = damaged
        self._hasher = hashlib.sha512()

    def write(self, data: bytes) -> None:
        self._hasher.update(data)

    def finish(self) -> None:
        if self._hasher.digest() != self._hash:
            self._damaged.add(self._hash)


async def verify(session: ImageSession, name: str) -> int:
    """Fetch all objects of an image and check them; 1 if something is wrong.

    Raises:
        ImageServerError: the image is not to be had, or contradicts itself.
    """
    loaded = await load_image(session, name)
    image, tree = loaded.whole, loaded.file_system
    await session.blocking(check_tree, tree)
    hashes = [hash_ for hash_, _ in objects_of(image)]
    objects = await session.objects()
    sizes = dict(zip(hashes, await objects.check_objects(hashes), strict=True))
    missing = {hash_ for hash_, size in sizes.items() if not size}
    there = [hash_ for hash_ in hashes if hash_ not in missing]
    damaged: set[bytes] = set()
    total = sum(sizes.values())
    began_s = time.monotonic()
    with ProgressBar("Verifying", total, session.talk.is_quiet) as bar:
        for start in range(0, len(there), _BATCH):
            batch = there[start : start + _BATCH]
            await _check(session, batch, damaged, missing, bar)
    took_s = time.monotonic() - began_s
    users: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for node in walk(tree):
        if isinstance(node.inode, RegularInode) and node.inode.size:
            users[node.inode.hash_].append(node.path)
            known = sizes[node.inode.hash_]
            if known and known != node.inode.size:
                damaged.add(node.inode.hash_)
    _tell(session, {"missing": missing, "damaged": damaged}, users)
    if not (missing or damaged):
        session.talk.summary(
            f"{name}: {len(hashes)} objects, {show_bytes(total)}, all good,"
            f" in {show_seconds(took_s)} ({show_rate(total, took_s)})"
        )
    return _BAD if missing or damaged else 0


async def _check(
    session: ImageSession,
    batch: list[bytes],
    damaged: set[bytes],
    missing: set[bytes],
    bar: ProgressBar,
) -> None:
    """Fetch some objects; one by one, if the server does not give them all."""
    objects = await session.objects()

    def receive(hash_: bytes) -> _Hashing:
        return _Hashing(hash_, damaged)

    try:
        await objects.get_objects(batch, receive, bar.advance)
    except CallError:
        if len(batch) == 1:
            missing.add(batch[0])
            return
        for hash_ in batch:
            await _check(session, [hash_], damaged, missing, bar)


def _tell(
    session: ImageSession,
    found: dict[str, set[bytes]],
    users: dict[bytes, list[bytes]],
) -> None:
    rows = [
        {"state": state, "object": hash_.hex(), "paths": users.get(hash_, [])}
        for state, hashes in found.items()
        for hash_ in sorted(hashes)
    ]
    if session.talk.as_json:
        session.talk.json(rows)
        return
    for state, hashes in found.items():
        for hash_ in sorted(hashes):
            paths = users.get(hash_) or [b"(build log or release notes)"]
            session.talk.lines(
                (f"{state}: {hash_.hex()} {os.fsdecode(path)}" for path in paths),
                lambda line: paint(line, RED),
            )
