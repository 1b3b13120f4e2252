"""Objects: how fast they come and go, and what that takes.

The daemon is a process of its own, with a heartbeat in its reactor; what counts is its
processor time and memory. The client is this process. nginx, if there is one
(``NGINX_PROGRAM=file``), serves the same files to the same kind of client.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import attrs
from dawdlers import client_context
from processes import Certificates, Daemon, wait_until

from bench import nginx
from bench.measure import Row, report
from bench.object_client import ObjectClient, add_stream, check_request
from bench.srpc import Bench
from bench.watched import Spent, Watched, least, row, watched
from imageserver import gob
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of
from imageserver.model.object_messages import AddObjectRequest

_MB, _GB, _MIB = 1e6, 1e9, 1 << 20
_SMALL, _SMALL_BYTES = 40_000, 6_000
_LARGE_BYTES = (*[1_000_000] * 100, *[4_000_000] * 25, 64_000_000)
_ROUNDS = 6
_ADDITIONS = 4
_UPLOADS, _UPLOAD_BYTES = 100, 4_000_000
_STORED = 1_000_000
_CHECKED = 105_000
_HUGE_BYTES = 4 << 30
_STREAMS = 8
_STALLED = 50
_SAMPLES = 200
_MANY = 2_000  # more than sockets take
_PARTS = ("huge", "add", "get", "nginx", "check", "crowd")
_LINKS = 30_000  # a file of ext4 can have some more names


@attrs.frozen
class ObjectBench(Watched):
    """The daemon, and what it has."""

    small: list[bytes]
    large: list[bytes]
    stored: list[bytes]

    def client(self, *, tls: bool) -> ObjectClient:
        """A new connection."""
        return ObjectClient(self.bench.connect(tls=tls))


def large_objects(it: ObjectBench, *, tls: bool) -> Spent:
    """GetObjects of objects of 1 MB and more."""
    client = it.client(tls=tls)
    client.get(it.large)  # until everything is warm
    spent = least(it.spend(lambda: client.get(it.large)) for _ in range(_ROUNDS))
    client.close()
    return spent


def small_objects(it: ObjectBench, *, tls: bool) -> Spent:
    """GetObjects of many small ones."""
    client = it.client(tls=tls)
    client.get(it.small)
    spent = least(it.spend(lambda: client.get(it.small)) for _ in range(_ROUNDS))
    client.close()
    return spent


def add_objects(it: ObjectBench, contents: list[bytes]) -> Spent:
    """AddObjects, until all is acknowledged."""
    stream = add_stream([(hash_of(content), content) for content in contents])
    client = it.client(tls=True)

    def run() -> int:
        client.add(stream, len(contents))
        return len(contents)

    spent = it.spend(run)
    client.close()
    return spent


def check_objects(it: ObjectBench) -> Spent:
    """CheckObjects of many of a million objects."""
    client = it.client(tls=True)
    hashes = random.Random(1).sample(it.stored, _CHECKED - 100)
    hashes += [os.urandom(64) for _ in range(100)]
    request = check_request(hashes)
    client.check(request)
    spent = least(
        it.spend(lambda: sum(map(bool, client.check(request)))) for _ in range(_ROUNDS)
    )
    assert spent.result == _CHECKED - 100
    client.close()
    return spent


def huge_object(it: ObjectBench) -> tuple[Spent, Spent]:
    """One object of 4 GiB in and out again, over TLS."""
    block, digest = os.urandom(_MIB), hashlib.sha512()
    for _ in range(_HUGE_BYTES // _MIB):
        digest.update(block)
    client = it.client(tls=True)

    def stream() -> Iterator[bytes]:
        encoder = gob.Encoder()
        yield encoder.encode(AddObjectRequest(_HUGE_BYTES, digest.digest()))
        yield from itertools.repeat(block, _HUGE_BYTES // _MIB)
        yield encoder.encode(AddObjectRequest())

    def upload() -> int:
        client.add(stream(), 1)
        return _HUGE_BYTES

    sent = it.spend(upload)
    received = it.spend(lambda: client.get([digest.digest()]))
    client.close()
    return sent, received


def stalled_memory(it: ObjectBench, hashes: list[bytes]) -> float:
    """Bytes for each TLS client that has asked for much and reads nothing of it."""
    before, clients = it.bench.resident_bytes(), []
    for _ in range(_STALLED):
        client = it.client(tls=True)
        client.begin_get(hashes)
        clients.append(client)
    time.sleep(1)  # what was sent fills all buffers
    each = (it.bench.resident_bytes() - before) / _STALLED
    for client in clients:
        client.close()
    return each


def read_streams(
    port: int, certificate: Path, hashes: list[bytes], pipe: Connection
) -> None:
    """Read from several connections at a time, until told to end; tell how much."""
    bench = Bench(port, 0, client_context(certificate))
    counts = dict.fromkeys(range(_STREAMS), 0)
    ended = threading.Event()

    def read(number: int) -> None:
        client = ObjectClient(bench.connect(tls=True))
        while not ended.is_set():
            size = client.begin_get(hashes)
            while size and not ended.is_set():
                client.skip(min(size, _MIB))
                size -= min(size, _MIB)
                counts[number] += min(size, _MIB)
        client.close()

    threads = [threading.Thread(target=read, args=(n,)) for n in counts]
    for thread in threads:
        thread.start()
    pipe.send("begun")
    pipe.recv()
    ended.set()
    for thread in threads:
        thread.join()
    pipe.send(list(counts.values()))


def beside_streams(
    it: ObjectBench, certificate: Path
) -> tuple[list[float], list[int], Spent]:
    """How long a small object takes beside streams of large ones; their shares."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (it.bench.port, certificate, it.large, theirs)
    process = context.Process(target=read_streams, args=arguments)
    process.start()
    ours.recv()
    client, times_ms = it.client(tls=True), []

    def run() -> int:
        for hash_ in it.small[:_SAMPLES]:
            began = time.perf_counter()
            client.get([hash_])
            times_ms.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.01)
        return 0

    spent = it.spend(run)
    ours.send("end")
    counts = ours.recv()
    process.join()
    client.close()
    return sorted(times_ms), counts, spent


def _get_rows(it: ObjectBench) -> Iterator[Row]:
    for tls, target_cpu, target_wall in (
        (True, "1.1 GB", "0.95 GB/s"),
        (False, "3 GB", ""),
    ):
        where = "TLS" if tls else "plain"
        spent = large_objects(it, tls=tls)
        value = f"{spent.result / spent.cpu_s / _GB:.2f} GB"
        yield row(
            f"{where}: objects of 1 MB and more, per CPU second",
            value,
            target_cpu,
            spent,
        )
        value = f"{spent.result / spent.wall_s / _GB:.2f} GB/s"
        yield Row("... on one connection", value, target_wall)
    for tls, target in ((True, "55,000"), (False, "")):
        where = "TLS" if tls else "plain"
        spent = small_objects(it, tls=tls)
        count = len(it.small)
        what = f"{where}: {len(it.small):,} objects of 6 KB, per CPU second"
        note = f"{count / spent.wall_s:,.0f} per second"
        yield row(what, f"{count / spent.cpu_s:,.0f}", target, spent, note)


def _nginx_rows(it: ObjectBench, server: nginx.Nginx) -> Iterator[Row]:
    bench = attrs.evolve(it.bench, pid=server.pid)
    for tls in (True, False):
        where = "nginx, TLS" if tls else "nginx, plain"
        for what, hashes in (("1 MB and more", it.large), ("6 KB", it.small)):
            size = server.get(hashes, tls=tls)
            runs = [
                bench.spend(lambda hashes=hashes, tls=tls: server.get(hashes, tls=tls))
                for _ in range(_ROUNDS)
            ]
            cpu_s = min(spent.cpu_s for spent in runs)
            wall_s = min(spent.wall_s for spent in runs)
            note, value = (
                f"{size / wall_s / _GB:.2f} GB/s",
                f"{size / cpu_s / _GB:.2f} GB",
            )
            if hashes is it.small:
                value = f"{len(hashes) / cpu_s:,.0f}"
                note = f"{len(hashes) / wall_s:,.0f} per second"
            yield Row(f"{where}: objects of {what}, per CPU second", value, "", 0, note)


def _add_rows(it: ObjectBench) -> Iterator[Row]:
    first, again = [], []
    for _ in range(_ADDITIONS):
        contents = [os.urandom(_SMALL_BYTES) for _ in range(_SMALL // _ADDITIONS)]
        first.append(add_objects(it, contents))
        again.append(add_objects(it, contents))
        it.small.extend(map(hash_of, contents))
    for what, runs, target in (
        (f"AddObjects: {_SMALL // _ADDITIONS:,} of 6 KB", first, "6,000 per second"),
        ("... again", again, ""),
    ):
        spent = least(runs)
        note = f"{spent.result / spent.cpu_s:,.0f} per CPU second"
        value = f"{spent.result / spent.wall_s:,.0f} per second"
        yield row(what, value, target, spent, note)
    runs = []
    for _ in range(_ADDITIONS):
        contents = [os.urandom(_UPLOAD_BYTES) for _ in range(_UPLOADS // _ADDITIONS)]
        runs.append(add_objects(it, contents))
    spent = least(runs)
    size = spent.result * _UPLOAD_BYTES
    value = f"{size / spent.wall_s / _MB:,.0f} MB/s"
    note = f"{size / spent.cpu_s / _MB:,.0f} MB per CPU second"
    what = f"AddObjects: {spent.result} of 4 MB"
    yield row(what, value, "300 MB/s", spent, note)
    contents = [os.urandom(size) for size in _LARGE_BYTES]
    add_objects(it, contents)
    it.large.extend(map(hash_of, contents))


def _check_rows(it: ObjectBench) -> Iterator[Row]:
    spent = check_objects(it)
    what = f"CheckObjects: {_CHECKED:,} of {len(it.stored):,}"
    note = f"{spent.wall_s:.2f} s"
    yield row(what, f"{spent.cpu_s:.2f} s CPU", "0.4 s", spent, note)


def _stalled_rows(it: ObjectBench) -> Iterator[Row]:
    for what, hashes in (("large", it.large), ("small", it.small[:_MANY])):
        each = f"{stalled_memory(it, hashes) / _MIB:.2f} MiB"
        yield Row(f"memory of a TLS client that does not read {what} objects", each)


def _crowd_rows(it: ObjectBench, certificate: Path) -> Iterator[Row]:
    times_ms, counts, spent = beside_streams(it, certificate)
    late = times_ms[len(times_ms) * 99 // 100]
    median = times_ms[len(times_ms) // 2]
    what = f"an object of 6 KB beside {_STREAMS} streams: 99th percentile"
    note = f"median {median:.1f} ms"
    yield row(what, f"{late:.0f} ms", "", spent, note)
    value = f"{min(counts) / max(counts):.2f}"
    yield Row("... least share of a stream / largest", value)


def _huge_rows(it: ObjectBench) -> Iterator[Row]:
    for name, spent in zip(("upload", "download"), huge_object(it), strict=True):
        speed = f"{_HUGE_BYTES / spent.wall_s / _MB:,.0f} MB/s"
        value = f"{spent.peak_bytes / _MB:.0f} MB"
        note = f"{speed}, {spent.cpu_s:.1f} s CPU"
        yield row(f"{name} of 4 GiB: memory", value, "120 MB", spent, note)


def _fill(daemon: Daemon) -> list[bytes]:
    """Let the daemon have a million objects: many names for a few files."""
    hashes = [os.urandom(64) for _ in range(_STORED)]
    index = SqliteIndex(daemon.images / ".index.sqlite3", daemon.objects, daemon.images)
    index.open()
    index.add_objects(dict.fromkeys(hashes, 1), 0)
    index.close()
    root = str(daemon.objects)
    hashes.sort()
    made = set()
    for number, hash_ in enumerate(hashes):
        name = hash_.hex()
        directory = f"{root}/{name[:2]}/{name[2:4]}"
        if directory not in made:
            os.makedirs(directory, 0o700, exist_ok=True)
            made.add(directory)
        path = f"{directory}/{name[4:]}"
        if number % _LINKS == 0:
            first = path
            Path(path).write_bytes(b"x")
        else:
            os.link(first, path)
    return hashes


def _rows(
    it: ObjectBench, certificates: Certificates, daemon: Daemon, parts: list[str]
) -> Iterator[Row]:
    # Memory comes first: what others have left would be used again.
    if "huge" in parts:
        yield from _huge_rows(it)
    rows = list(_add_rows(it))  # the others need these objects
    if "add" in parts:
        yield from rows
    if "crowd" in parts:
        yield from _stalled_rows(it)
    if "get" in parts:
        yield from _get_rows(it)
    program = nginx.find_nginx()
    if "nginx" in parts and program:
        directory = daemon.root / "nginx"
        with nginx.running(program, directory, daemon.objects, certificates) as server:
            yield from _nginx_rows(it, server)
    if "check" in parts:
        yield from _check_rows(it)
    if "crowd" in parts:
        yield from _crowd_rows(it, certificates.of("admin"))


def main() -> None:
    """Measure, and print a table; arguments: of which parts."""
    parts = sys.argv[1:] or list(_PARTS)
    assert set(parts) <= set(_PARTS), _PARTS
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates(Path(directory))
        daemon = Daemon(Path(directory) / "daemon", certificates)
        stored = _fill(daemon) if "check" in parts else []
        # The million objects are none: the scrub would put them aside.
        with watched(daemon, "-allowUnauthenticatedReads", "-scrubRate=0") as it:
            wait_until(lambda: b"looked at all objects" in daemon.log_bytes(), 600)
            objects = ObjectBench(it.bench, it.beats, [], [], stored)
            report("Objects", _rows(objects, certificates, daemon, parts))


if __name__ == "__main__":
    main()
