"""A daemon with images that have everything in them that pages show."""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections.abc import Iterator, Mapping

from calls import receive_answers, send_objects
from processes import Client, Daemon

from imageserver import gob
from imageserver.gob import Time
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter
from imageserver.model.hash import hash_of
from imageserver.model.image import Annotation, Image, Package
from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
    DeleteImageRequest,
    DeleteImageResponse,
    MakeDirectoryRequest,
    MakeDirectoryResponse,
)
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
)
from imageserver.model.triggers import Trigger, Triggers
from imageserver.testing import make_file_system

_NANOSECONDS = 1_000_000_000
_DAY_S = 86_400
NOTES = b"What is new in this image:\n- openssl 3.0.15\n- the new billing agent\n"
BUILD_LOG = b"".join(b"step %d: done in %d ms\n" % (n, n * 37) for n in range(200))


def picture() -> bytes:
    """A PNG file, 32 by 32, of two colours."""
    rows = b"".join(
        b"\0" + b"".join(bytes([7 * x, 90, 255 - 7 * y]) for x in range(32))
        for y in range(32)
    )
    chunks = (
        (b"IHDR", struct.pack(">LLBBBBB", 32, 32, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data))
        + kind
        + data
        + struct.pack(">L", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def files_of(build: int) -> dict[str, bytes]:
    """The files of one build of an image, by path; some change from build to build."""
    chance = random.Random(1)
    config = [f"option{n} = {n * n}" for n in range(40)]
    config[7] = f"build = {build}"
    files = {
        "etc/hostname": b"web\n",
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
        "etc/billing/agent.conf": "\n".join(config).encode(),
        "etc/empty": b"",
        "usr/bin/agent": chance.randbytes(70_000),
        "usr/share/logo.png": picture(),
        "usr/bin/sh@": b"agent",
        f"usr/lib/release-{build}": b"%d\n" % build,
    }
    for number in range(60):
        files[f"usr/share/doc/package{number}/copyright"] = b"Copyright %d\n" % number
    return files


def file_system_of(files: Mapping[str, bytes], build: int) -> FileSystem:
    """A tree with times, owners, a computed file and a hard link."""
    tree = make_file_system(files)
    inodes: dict[int, Inode] = {}
    assert tree.inodes is not None
    for number, inode in tree.inodes.items():
        inodes[number] = inode
        if isinstance(inode, RegularInode):
            inodes[number] = gob.evolve(inode, mtime_seconds=1_700_000_000 + number)
    last = max(inodes) + 1
    inodes[last] = ComputedRegularInode(0o100644, 0, 0, "config.example.com:6980")
    inodes[last + 1] = DirectoryInode((), 0o41777)
    entries = (
        *tree.root.entries,
        DirectoryEntry(b"resolv.conf", last),
        DirectoryEntry(b"tmp", last + 1),
    )
    return FileSystem(inodes, root=DirectoryInode(entries, 0o40755))


def image_of_build(build: int, created_s: float) -> Image:
    """An image with everything that pages show."""
    packages = [
        Package(f"package{number}", 10_000 * (number + 1), f"1.{number}")
        for number in range(60)
    ]
    packages.append(Package("openssl", 2_300_000, f"3.0.{build}"))
    return Image(
        build_branch="main",
        build_commit_id=f"{build:02x}c0ffee" * 5,
        build_git_url="https://git.example.com/web.git",
        created_by="alice",
        created_for="the web team",
        filter=Filter(("/var/cache/.*", "/var/log/.*", "/etc/ssh/key.*(|[.]pub)$")),
        triggers=Triggers(
            (
                Trigger(("/etc/billing/.*",), "billing", do_reload=True),
                Trigger(("/boot/.*",), "reboot", do_reboot=True, high_impact=True),
            )
        ),
        release_notes=Annotation(object_hash=hash_of(NOTES)),
        build_log=Annotation(object_hash=hash_of(BUILD_LOG)),
        created_on=Time.from_nanoseconds(int(created_s * _NANOSECONDS)),
        owner_groups=("web-team",),
        packages=tuple(packages),
        source_image="base/debian/12" if build else "",
        tags={"stage": "production" if build % 2 else "test", "team": "web"},
        file_system=file_system_of(files_of(build), build),
    )


def upload(client: Client, contents: list[bytes]) -> None:
    """Upload objects."""
    send_objects(client, contents, end=True)
    answers = receive_answers(client, len(contents))
    assert not [answer.error for answer in answers if answer.error]


def add(client: Client, name: str, image: Image, contents: list[bytes]) -> None:
    """Upload objects, and add an image."""
    upload(client, contents)
    found = client.call(
        "ImageServer.AddImage", AddImageRequest(name, image), AddImageResponse
    )
    assert found == AddImageResponse(), found


def make_directories(client: Client, names: Iterator[str] | list[str]) -> None:
    """Make directories, and those above them."""
    for name in names:
        request = MakeDirectoryRequest(name, True)
        found = client.call("ImageServer.MakeDirectory", request, MakeDirectoryResponse)
        assert isinstance(found, MakeDirectoryResponse), found


def fill(daemon: Daemon, builds: int = 3) -> list[str]:
    """Put images in; the names of those that stay."""
    names = []
    with daemon.client() as client:
        make_directories(client, ["base/debian", "base/web", "scratch/old"])
        base = {"etc/debian_version": b"12.7\n", **files_of(0)}
        image = gob.evolve(
            image_of_build(0, time.time() - 90 * _DAY_S),
            file_system=file_system_of(base, 0),
            expires_at=Time.from_nanoseconds(
                int((time.time() + 20 * _DAY_S) * _NANOSECONDS)
            ),
        )
        contents = [c for c in base.values() if c]
        add(client, "base/debian/12", image, [*contents, NOTES, BUILD_LOG])
        names.append("base/debian/12")
        for build in range(1, builds + 1):
            name = f"base/web/{build}"
            image = image_of_build(build, time.time() - (builds - build) * 9 * _DAY_S)
            add(client, name, image, [c for c in files_of(build).values() if c])
            names.append(name)
        add(client, "scratch/old/1", image_of_build(1, time.time() - 3600), [NOTES])
        request = DeleteImageRequest("scratch/old/1")
        client.call("ImageServer.DeleteImage", request, DeleteImageResponse)
    return names


__all__ = ["BUILD_LOG", "NOTES", "add", "fill", "make_directories", "upload"]
