"""Replication: how fast a second site gets what the first one has.

Master and replica are processes on this machine, and speak TLS over loopback.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
from processes import Certificates, Daemon, wait_until
from replicas import OVER_TCP, add_image, list_names

from bench.measure import Row, report
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.file_system import FileSystem
from imageserver.model.image import Image
from imageserver.model.image_messages import AddImageRequest, AddImageResponse
from imageserver.model.inode import (
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
)
from imageserver.tool.authority import REPLICA_METHODS

_MB, _MIB = 1e6, 1 << 20
_REPLICATED = re.compile(rb"Replicated all .* in ([0-9.]+) s: (\d+) objects, (\d+) b")
_LARGE, _LARGE_BYTES = 100_000, 100_000
_SMALL, _SMALL_BYTES = 40_000, 6_000
_IN_IMAGE = 1_000
_UNCHANGED = 2_000
_NEW_OBJECTS, _NEW_BYTES = 50, 1_000_000
_PARTS = ("large", "small", "new", "unchanged")
_WAIT_S = 1_200


@attrs.frozen
class Taken:
    """What a process has taken so far."""

    cpu_s: float
    peak_bytes: int

    @classmethod
    def by(cls, daemon: Daemon) -> Taken:
        """Ask the system."""
        assert daemon.process is not None
        folder = Path("/proc") / str(daemon.process.pid)
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        peak = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
        assert peak is not None
        return cls(ticks / os.sysconf("SC_CLK_TCK"), int(peak[1]) << 10)


class Sites:
    """A master and a replica; either can be started anew, with nothing."""

    def __init__(self, root: Path) -> None:
        """Start nothing yet."""
        self.certificates = Certificates(root / "certificates")
        self.certificates.issue("replica", methods=REPLICA_METHODS)
        self.master = Daemon(root / "master", self.certificates)
        self.replica = Daemon(root / "replica", self.certificates)

    def start_replica(self) -> float:
        """Start it on what it has; when that was."""
        own = self.certificates.of("replica")
        began_s = time.monotonic()
        self.replica.start(
            OVER_TCP,
            "-imageServerHostname=127.0.0.1",
            f"-imageServerPortNum={self.master.port}",
            f"-certFile={own / 'cert.pem'}",
            f"-keyFile={own / 'key.pem'}",
            "-scrubRate=0",
        )
        return began_s

    def start_master(self) -> None:
        """Start it on what it has."""
        self.master.start(OVER_TCP, "-scrubRate=0")

    def wait(self) -> tuple[float, int, int]:
        """Wait for the replica: seconds from its connection on, objects, bytes."""
        found = wait_until(
            lambda: _REPLICATED.search(self.replica.log_bytes()), _WAIT_S
        )
        return float(found[1]), int(found[2]), int(found[3])

    def stop(self) -> None:
        """Stop both, and forget what they have."""
        for daemon in (self.replica, self.master):
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
            for directory in (daemon.images, daemon.objects):
                shutil.rmtree(directory)
                directory.mkdir()


def fill(daemon: Daemon, count: int, size: int) -> list[bytes]:
    """Put objects where a daemon that does not run has them; their hashes."""
    sizes = {}
    block = os.urandom(size)
    for number in range(count):
        content = number.to_bytes(8, "big") + block[8:]
        hash_ = hashlib.sha512(content).digest()
        name = hash_.hex()
        folder = daemon.objects / name[:2] / name[2:4]
        folder.mkdir(0o700, parents=True, exist_ok=True)
        (folder / name[4:]).write_bytes(content)
        sizes[hash_] = size
    index = SqliteIndex(daemon.images / ".index.sqlite3", daemon.objects, daemon.images)
    index.open()
    index.add_objects(sizes, 0)
    index.close()
    return list(sizes)


def image_of(hashes: list[bytes], size: int) -> Image:
    """An image with a file for each object."""
    inodes: dict[int, Inode] = {
        number: RegularInode(0o100644, size=size, hash_=hash_)
        for number, hash_ in enumerate(hashes, 1)
    }
    names = tuple(DirectoryEntry(b"file%d" % number, number) for number in inodes)
    return Image(file_system=FileSystem(inodes, root=DirectoryInode(names, 0o40755)))


def add_images(daemon: Daemon, hashes: list[bytes], size: int) -> None:
    """Make images of objects that are there, a thousand in each."""
    with daemon.client() as client:
        for first in range(0, len(hashes), _IN_IMAGE):
            some = hashes[first : first + _IN_IMAGE]
            request = AddImageRequest(f"image{first}", image_of(some, size))
            reply = client.call("ImageServer.AddImage", request, AddImageResponse)
            assert reply == AddImageResponse(), reply


def copy_rows(sites: Sites, count: int, size: int, target: str) -> Iterator[Row]:
    """Copy objects of one size."""
    hashes = fill(sites.master, count, size)
    sites.start_master()
    add_images(sites.master, hashes, size)
    os.sync()
    before = Taken.by(sites.master)
    sites.start_replica()
    seconds, objects, received = sites.wait()
    assert objects == count
    theirs, ours = Taken.by(sites.master), Taken.by(sites.replica)
    rates = {
        "MB/s": f"{received / seconds / _MB:,.0f} MB/s",
        "objects": f"{objects / seconds:,.0f} objects/s",
    }
    unit = "MB/s" if "MB/s" in target else "objects"
    value = rates.pop(unit)
    (other,) = rates.values()
    note = (
        f"{other}; CPU: replica {ours.cpu_s:.0f} s,"
        f" master {theirs.cpu_s - before.cpu_s:.0f} s"
    )
    what = f"{count:,} objects of {size:,} bytes"
    yield Row(what, value, target, ours.peak_bytes, note)
    sites.stop()


def new_rows(sites: Sites) -> Iterator[Row]:
    """How soon a new image is on the replica."""
    sites.start_master()
    sites.start_replica()
    sites.wait()
    with sites.master.client() as client, sites.replica.client() as other:
        for what, count in (("50 MB", _NEW_OBJECTS), ("one object", 1)):
            contents = [os.urandom(_NEW_BYTES) for _ in range(count)]
            add_image(client, what, contents)
            began_s = time.monotonic()
            while what not in list_names(other):
                time.sleep(0.001)
            took_s = time.monotonic() - began_s
            yield Row(f"a new image of {what} is there after", f"{took_s:.2f} s", "1 s")
    sites.stop()


def unchanged_rows(sites: Sites) -> Iterator[Row]:
    """How soon a replica that has everything is in step again."""
    sites.start_master()
    with sites.master.client() as client:
        for number in range(_UNCHANGED):
            add_image(client, f"image{number}", [b"%d" % number])
    sites.start_replica()
    seconds, *_ = sites.wait()
    yield Row(f"{_UNCHANGED:,} images of one small object", f"{seconds:.1f} s")
    assert sites.replica.stop() == 0
    began_s = sites.start_replica()
    seconds, objects, _ = sites.wait()
    took_s = time.monotonic() - began_s
    assert not objects
    note = f"{seconds:.2f} s of them connected"
    what = f"{_UNCHANGED:,} unchanged images: in step after the start"
    yield Row(what, f"{took_s:.1f} s", "5 s", Taken.by(sites.replica).peak_bytes, note)
    sites.stop()


def _rows(sites: Sites, parts: list[str], share: float) -> Iterator[Row]:
    if "large" in parts:
        count = int(_LARGE * share)
        yield from copy_rows(sites, count, _LARGE_BYTES, "120 MB/s")
    if "small" in parts:
        count = int(_SMALL * share)
        yield from copy_rows(sites, count, _SMALL_BYTES, "3,000 objects/s")
    if "new" in parts:
        yield from new_rows(sites)
    if "unchanged" in parts:
        yield from unchanged_rows(sites)


def main() -> None:
    """Measure, and print a table; arguments: which share of the data, which parts."""
    share = float(sys.argv[1])
    parts = sys.argv[2:] or list(_PARTS)
    assert set(parts) <= set(_PARTS), _PARTS
    with tempfile.TemporaryDirectory() as directory:
        sites = Sites(Path(directory))
        try:
            report("Replication", _rows(sites, parts, share))
        finally:
            sites.stop()


if __name__ == "__main__":
    main()
