"""Pages: how long they take with 20,000 images, and what people who look cost.

The daemon is a process of its own, with a heartbeat in its reactor.
"""

from __future__ import annotations

import http.client
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from processes import Certificates, Daemon, wait_until

from bench.big_image import make_request
from bench.images import ImageBench, fill_objects, open_index
from bench.measure import Row, report
from bench.object_client import ObjectClient
from bench.watched import Spent, Watched, least, row, watched
from imageserver import gob
from imageserver.model.file_system import FileSystem
from imageserver.model.image import Image
from imageserver.model.inode import DirectoryInode, RegularInode
from imageserver.web.live import INTERVAL_S

_IMAGES = 20_000
_DIRECTORIES = 40
_LOOKERS = 200
_LOOKING_S = 30.0
_ROUNDS = 10
_CHANGED = 500
_STREAMED = 64 << 20
_STREAMS = 5
_REPEATED = {False: 40, True: 10}
_FLAGS = ("-allowUnauthenticatedReads", "-scrubRate=0", "-spaceSurveyInterval=0s")


def _multiply(daemon: Daemon, name: str) -> None:
    """Let the daemon have an image under many names, each described in its own way."""
    with open_index(daemon) as index:
        index._file._writer.execute("PRAGMA synchronous = OFF")
        record = index.image(name)
        for number in range(_IMAGES):
            directory = f"fleet{number % _DIRECTORIES}"
            if number < _DIRECTORIES:
                (daemon.images / directory).mkdir()
                index.add_directory(directory, "")
            new = f"{directory}/web-{number}"
            os.link(daemon.images / name, daemon.images / new)
            copy = attrs.evolve(
                record,
                name=new,
                directory=directory,
                created_on_ns=record.created_on_ns + number,
                created_by=f"user{number % 97}",
                build_commit_id=f"{number * 2654435761 % (1 << 64):040x}",
                tags={"stage": "test" if number % 3 else "production", "team": "web"},
                data_bytes=number * 7919 % (1 << 40),
            )
            names = [f"package{n}" for n in range(300)] + [f"special{number % 50}"]
            index.add_image(copy, {}, names)


def _page_row(
    it: Watched,
    what: str,
    address: str,
    target: str,
    rounds: int = _ROUNDS,
    rest_s: float = 0.05,
) -> Row:
    def fetch() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", it.bench.port)
        connection.request("GET", address)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, (address, response.status, body[:300])
        connection.close()
        return len(body)

    runs = []
    for _ in range(rounds):
        time.sleep(rest_s)
        runs.append(it.spend(fetch))
    spent = least(runs)
    note = f"{spent.result / 1024:.0f} KiB, {spent.cpu_s * 1e3:.0f} ms CPU"
    return row(what, f"{spent.wall_s * 1e3:.1f} ms", target, spent, note)


def _page_rows(it: Watched) -> Iterator[Row]:
    many = f"{_IMAGES:,} images"
    what = f"status page, {many}"
    yield _page_row(it, what, "/", "15 ms")
    # What the page tells is counted anew when it is older than that.
    yield _page_row(it, "... counted anew", "/", "", 4, 4.0)
    yield _page_row(it, f"listImages, {many}: first page", "/listImages", "30 ms")
    sorts = "/listImages?sort=-data"
    yield _page_row(it, "... by data size", sorts, "30 ms")
    yield _page_row(it, "... page 150", "/listImages?page=150", "30 ms")
    for words in (
        "web-1999",
        "tag:stage=production by:user5",
        "commit:00000",
        "has:special7",
        "nothing-like-that",
    ):
        address = f"/listImages?q={words.replace(' ', '+')}"
        yield _page_row(it, f"search for {words}", address, "50 ms")
    yield _page_row(it, "listDirectories", "/listDirectories", "")
    yield _page_row(it, "showImage", "/showImage?base/0", "")
    yield _page_row(it, "metrics for Prometheus", "/metrics/prometheus", "")


def _tree_rows(it: Watched) -> Iterator[Row]:
    what = "folder of 137,000 inodes"
    yield _page_row(it, f"{what}: first time", "/browse?base/0", "", 1)
    yield _page_row(it, f"{what}: then", "/browse?base/0", "30 ms")
    compare = "/compareImages?base/0&with=base/1"
    yield _page_row(it, "comparing two of them: first time", compare, "1.5 s", 1)
    yield _page_row(it, "... then", compare, "1.5 s", 3)
    yield _page_row(it, "imageSpace", "/imageSpace?base/0", "", 2)


@contextmanager
def _looking(it: Watched) -> Iterator[None]:
    """Let many browsers look at the status page."""
    request = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
    sockets = []
    for _ in range(_LOOKERS):
        connection = socket.create_connection(("127.0.0.1", it.bench.port))
        connection.sendall(request)
        sockets.append(connection)
    try:
        yield
        got = []
        for connection in sockets:
            got.append(len(connection.recv(1 << 20)))
        assert min(got) > 100
    finally:
        for connection in sockets:
            connection.close()


def _looker_rows(it: Watched, hashes: list[bytes]) -> Iterator[Row]:
    def wait() -> int:
        time.sleep(_LOOKING_S)
        return 0

    quiet = it.spend(wait)
    with _looking(it):
        time.sleep(INTERVAL_S)
        spent = it.spend(wait)
    share = (spent.cpu_s - quiet.cpu_s) / spent.wall_s
    what = f"{_LOOKERS} browsers with live numbers"
    yield row(what, f"{share * 100:.1f} % of a core", "10 %", spent)
    for tls in (False, True):
        client = ObjectClient(it.bench.connect(tls=tls))
        client.get(hashes)
        alone, beside = [], []
        for _ in range(_STREAMS):  # by turns: the machine is not always as quick
            alone.append(_stream(it, client, hashes, tls))
            with _looking(it):
                time.sleep(0.5)
                beside.append(_stream(it, client, hashes, tls))
        client.close()
        ratio = least(beside).cpu_s / least(alone).cpu_s
        way = "TLS" if tls else "plain"
        value = f"{ratio * 100 - 100:+.1f} % CPU"
        speed = least(alone).result / least(alone).wall_s / 1e9
        note = f"alone {speed:.2f} GB/s"
        yield row(f"streaming beside them, {way}", value, "5 %", least(beside), note)


def _stream(it: Watched, client: ObjectClient, hashes: list[bytes], tls: bool) -> Spent:
    return it.spend(lambda: sum(client.get(hashes) for _ in range(_REPEATED[tls])))


def _other(image: Image) -> Image:
    """The next build of an image: some files are others."""
    tree = image.file_system
    assert tree is not None
    assert tree.inodes is not None
    inodes = dict(tree.inodes)
    numbers = [n for n, it in inodes.items() if isinstance(it, RegularInode)]
    for number in numbers[:_CHANGED]:
        inodes[number] = gob.evolve(inodes[number], mtime_seconds=1)
    root = DirectoryInode(tree.root.entries[1:], tree.root.mode)
    first = tree.root.entries[0].inode_number
    if isinstance(inodes[first], DirectoryInode):  # keep all: no inode without a name
        root = tree.root
    return gob.evolve(image, file_system=FileSystem(inodes, root=root))


def _rows(daemon: Daemon) -> Iterator[Row]:
    image = make_request().image
    fill_objects(daemon, image)
    (daemon.images / "base").mkdir()
    with watched(daemon, *_FLAGS) as it:
        bench = ImageBench(it, daemon)
        bench.add("base/0", image)
        bench.add("base/1", _other(image))
        bench.add("base/small", _small(image))
    _multiply(daemon, "base/small")
    with watched(daemon, *_FLAGS) as it:
        wait_until(lambda: b"looked at all objects" in daemon.log_bytes(), 600)
        yield from _page_rows(it)
        yield from _tree_rows(it)
        hashes = _large_objects(image)
        yield from _looker_rows(it, hashes)


def _small(image: Image) -> Image:
    """An image with one file."""
    tree = image.file_system
    assert tree is not None
    assert tree.inodes is not None
    entries = [
        entry
        for entry in tree.root.entries
        if not isinstance(tree.inodes[entry.inode_number], DirectoryInode)
    ][:1]
    inodes = {entry.inode_number: tree.inodes[entry.inode_number] for entry in entries}
    root = DirectoryInode(tuple(entries), 0o40755)
    return gob.evolve(image, file_system=FileSystem(inodes, root=root))


def _large_objects(image: Image) -> list[bytes]:
    """The largest objects, of some 64 MiB together."""
    tree = image.file_system
    assert tree is not None
    assert tree.inodes is not None
    sizes = {
        it.hash_: it.size for it in tree.inodes.values() if isinstance(it, RegularInode)
    }
    hashes, total = [], 0
    for hash_ in sorted(sizes, key=lambda it: -sizes[it]):
        if total < _STREAMED:
            hashes.append(hash_)
            total += sizes[hash_]
    return hashes


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates(Path(directory))
        report("Pages", _rows(Daemon(Path(directory) / "daemon", certificates)))


if __name__ == "__main__":
    main()
