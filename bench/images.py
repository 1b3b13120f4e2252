"""Images: how fast large ones come and go, and what very many of them take.

The daemon is a process of its own, with a heartbeat in its reactor. The objects of the
image are files with holes: the server looks at their sizes only.
"""

from __future__ import annotations

import os
import selectors
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from dawdlers import room_for
from processes import Certificates, Daemon, wait_until

from bench.big_image import make_request
from bench.call_client import PIECE_BYTES, CallClient
from bench.measure import Row, report
from bench.watched import Spent, Watched, least, row, watched
from imageserver import gob
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.file_system import FileSystem
from imageserver.model.hash import hash_of
from imageserver.model.image import Image
from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
    FindLatestImageRequest,
    FindLatestImageResponse,
    GetImageRequest,
    ImageUpdate,
)
from imageserver.model.inode import DirectoryEntry, DirectoryInode, RegularInode

_ADDITIONS = 5
_DOWNLOADS = 30
_LARGE_IMAGES = 2_000
_LOOKED_AT = 100
_SMALL_IMAGES = 20_000
_SUBSCRIBERS = 1_000
_ROUNDS = 10
_FLAGS = ("-allowUnauthenticatedReads", "-scrubRate=0")
_CONTENT = b"something"
_MB = 1e6


class ImageClient(CallClient):
    """Calls of ImageServer over one connection."""

    def get_image(self, name: str) -> float:
        """GetImage, without looking at the image; seconds until something came."""
        request = gob.Encoder().encode(GetImageRequest(name))
        began_s = time.perf_counter()
        self.begin("ImageServer.GetImage", request)
        assert self.read(1) == b"\n"
        first_s = time.perf_counter() - began_s
        self.skip_value()
        return first_s

    def list_images(self) -> int:
        """ListImages; how many there are."""
        self.begin("ImageServer.ListImages")
        names = b""
        while not names.endswith(b"\n\n"):
            names += self.socket.recv(PIECE_BYTES)
        return names.count(b"\n") - 1


@attrs.frozen
class ImageBench:
    """A daemon, and one client of it."""

    watched: Watched
    daemon: Daemon

    def client(self, *, tls: bool) -> ImageClient:
        """A new connection."""
        return ImageClient(self.watched.bench.connect(tls=tls))

    def add(self, name: str, image: Image) -> Spent:
        """Add an image, until that is acknowledged."""
        request = gob.Encoder().encode(AddImageRequest(name, image))
        client = self.client(tls=True)

        def run() -> int:
            client.call("ImageServer.AddImage", request, AddImageResponse)
            return 0

        spent = self.watched.spend(run)
        client.close()
        return spent


def _large_rows(it: ImageBench, image: Image) -> Iterator[Row]:
    spent = least(it.add(f"base/{number}", image) for number in range(_ADDITIONS))
    note = f"{spent.cpu_s:.2f} s CPU"
    inodes = len(image.file_system.inodes)
    yield row(
        f"AddImage of {inodes:,} inodes, TLS",
        f"{spent.wall_s:.2f} s",
        "1.5 s, stalls 50 ms",
        spent,
        note,
    )
    for tls, target in ((True, "0.030 s"), (False, "0.015 s")):
        firsts, spent = _download(it, tls=tls)
        where = "TLS" if tls else "plain"
        value = f"{spent.cpu_s / _DOWNLOADS:.3f} s CPU"
        note = f"{spent.wall_s / _DOWNLOADS:.3f} s"
        yield row(f"GetImage of it, {where}", value, target, spent, note)
        value, worst = f"{firsts[len(firsts) // 2] * 1e3:.1f} ms", firsts[-1] * 1e3
        yield Row("... first byte", value, "10 ms", 0, f"worst {worst:.1f} ms")


def _download(it: ImageBench, *, tls: bool) -> tuple[list[float], Spent]:
    """Seconds until the first byte, in order, and what all of it took."""
    client, firsts = it.client(tls=tls), []

    def run() -> int:
        for _ in range(_DOWNLOADS):
            firsts.append(client.get_image("base/0"))
        return 0

    client.get_image("base/0")  # until everything is warm
    firsts.clear()
    spent = it.watched.spend(run)
    client.close()
    return sorted(firsts), spent


def _subscriber_rows(it: ImageBench) -> Iterator[Row]:
    """How long it takes until everybody knows of a new image."""
    count = room_for(_SUBSCRIBERS)
    followers = []
    end = gob.Encoder().encode(ImageUpdate())
    for _ in range(count):
        connection = it.watched.bench.connect(tls=True)
        connection.sendall(b"ImageServer.GetImageUpdates\n")
        received = b""
        while not received.endswith(end[-2:]):
            received += connection.recv(PIECE_BYTES)
        connection.settimeout(0)
        followers.append(connection)
    time.sleep(1)  # whatever is still under way
    times_s, spent = [], []
    client = it.client(tls=True)
    for number in range(_ROUNDS):
        request = _small_request(f"base/told-{number}")

        def run(request: bytes = request) -> int:
            client.call("ImageServer.AddImage", request, AddImageResponse)
            began_s = time.perf_counter()
            _await_all(followers)
            times_s.append(time.perf_counter() - began_s)
            return 0

        _drain(followers)
        spent.append(it.watched.spend(run))
    for connection in followers:
        connection.close()
    client.close()
    yield row(
        f"an image is known to {count:,} followers, TLS",
        f"{sorted(times_s)[_ROUNDS // 2] * 1e3:.0f} ms",
        "200 ms",
        least(spent),
        f"worst {max(times_s) * 1e3:.0f} ms",
    )


def _drain(connections: list[socket.socket]) -> None:
    """Forget what came."""
    for connection in connections:
        try:
            while connection.recv(PIECE_BYTES):
                pass
        except OSError:  # there is no more
            continue


def _await_all(connections: list[socket.socket]) -> None:
    """Wait until something came on each."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(10):
                try:
                    key.fileobj.recv(PIECE_BYTES)
                except OSError:  # not a whole record
                    continue
                selector.unregister(key.fileobj)


def _small_request(name: str) -> bytes:
    inode = RegularInode(0o100644, size=len(_CONTENT), hash_=hash_of(_CONTENT))
    root = DirectoryInode((DirectoryEntry(b"file", 1),), 0o40755)
    image = Image(file_system=FileSystem({1: inode}, root=root))
    return gob.Encoder().encode(AddImageRequest(name, image))


def _many_rows(it: ImageBench, start_s: float) -> Iterator[Row]:
    """What it takes to have very many large images."""
    client = it.client(tls=True)
    began_s = time.perf_counter()
    client.get_image("large/0")
    start_s += time.perf_counter() - began_s
    resident = it.watched.bench.resident_bytes() / _MB

    def run() -> int:
        for number in range(_LOOKED_AT):
            client.get_image(f"large/{number}")
        return 0

    spent = it.watched.spend(run)
    client.close()
    value = f"{spent.peak_bytes / _MB:.0f} MB"
    note = f"{resident:.0f} MB before {_LOOKED_AT} downloads"
    yield row(
        f"{_LARGE_IMAGES:,} of these images: memory", value, "200 MB", spent, note
    )
    yield Row("... from the start to the first image", f"{start_s:.2f} s", "1 s")


def _names_rows(it: ImageBench) -> Iterator[Row]:
    """What it takes to find an image among very many."""
    client = it.client(tls=True)
    request = gob.Encoder().encode(FindLatestImageRequest(directory_name="small"))
    method = "ImageServer.FindLatestImage"

    def find() -> int:
        found = client.call(method, request, FindLatestImageResponse)
        assert isinstance(found, FindLatestImageResponse)
        assert found.image_name.startswith("small/")
        return 1

    for what, function, target in (
        ("ListImages", client.list_images, "50 ms"),
        ("FindLatestImage", find, "5 ms"),
    ):
        spent = least(it.watched.spend(function) for _ in range(_ROUNDS))
        name = f"{what} of {_SMALL_IMAGES:,} names"
        yield row(name, f"{spent.wall_s * 1e3:.1f} ms", target, spent)
    client.close()


def fill_objects(daemon: Daemon, image: Image) -> None:
    """Let the daemon have what an image needs: files of the right sizes."""
    sizes = {hash_of(_CONTENT): len(_CONTENT)}
    for inode in image.file_system.inodes.values():
        if isinstance(inode, RegularInode):
            sizes[inode.hash_] = inode.size
    for hash_, size in sizes.items():
        name = hash_.hex()
        path = daemon.objects / name[:2] / name[2:4] / name[4:]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, size)
    with open_index(daemon) as index:
        index.add_objects(sizes, time.time_ns())


def _multiply(daemon: Daemon, name: str, directory: str, count: int) -> None:
    """Let the daemon have an image under many names: one file."""
    (daemon.images / directory).mkdir()
    with open_index(daemon) as index:
        record = index.image(name)
        index.add_directory(directory, "")
        for number in range(count):
            new = f"{directory}/{number}"
            os.link(daemon.images / name, daemon.images / new)
            created_on_ns = record.created_on_ns + number
            copy = attrs.evolve(
                record, name=new, directory=directory, created_on_ns=created_on_ns
            )
            index.add_image(copy, {})


@contextmanager
def open_index(daemon: Daemon) -> Iterator[SqliteIndex]:
    """The index of a daemon that is not running."""
    path = daemon.images / ".index.sqlite3"
    index = SqliteIndex(path, daemon.objects, daemon.images)
    index.open()
    try:
        yield index
    finally:
        index.close()


def _rows(daemon: Daemon) -> Iterator[Row]:
    image = make_request().image
    fill_objects(daemon, image)
    (daemon.images / "base").mkdir()
    with watched(daemon, *_FLAGS) as it:
        wait_until(lambda: b"looked at all objects" in daemon.log_bytes(), 600)
        yield from _large_rows(ImageBench(it, daemon), image)
        yield from _subscriber_rows(ImageBench(it, daemon))
    _multiply(daemon, "base/0", "large", _LARGE_IMAGES)
    began_s = time.perf_counter()
    with watched(daemon, *_FLAGS) as it:
        start_s = time.perf_counter() - began_s
        yield from _many_rows(ImageBench(it, daemon), start_s)
    _multiply(daemon, "base/told-0", "small", _SMALL_IMAGES)
    with watched(daemon, *_FLAGS) as it:
        yield from _names_rows(ImageBench(it, daemon))


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates(Path(directory))
        report("Images", _rows(Daemon(Path(directory) / "daemon", certificates)))


if __name__ == "__main__":
    main()
