"""A replica that is killed, and whose link is cut, while it copies its master.

After each kill the data directories are checked offline. In the end the replica has to
have everything, and must not have fetched again what was on its disk. ``make cuts``
does it for long.
"""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from calls import send_objects
from processes import Certificates, Client, Daemon, wait_until
from relay import Relay

from imageserver import gob
from imageserver.fsck.command import main as fsck
from imageserver.model.hash import hash_of
from imageserver.model.image_messages import AddImageRequest, AddImageResponse
from imageserver.model.object_messages import (
    AddObjectResponse,
    CheckObjectsRequest,
    CheckObjectsResponse,
)
from imageserver.testing import make_image

IMAGES = 30
OBJECTS = 150
OBJECTS_IN_IMAGE = 12
STREAMS = 4
INSECURE = ("-CAfile=", "-permitInsecureMode", "-srpcUnixSocketPath=")
_REPLICATED = re.compile(rb"Replicated all .*: (\d+) objects, (\d+) bytes")


class Cuts:
    """A master that stays, and one replica after the other."""

    def __init__(self, root: Path, seed: int) -> None:
        """Fill a master.

        Args:
            root: a folder for all of it.
            seed: decides everything.
        """
        self._random = random.Random(seed)
        certificates = Certificates(root / "certificates")
        self.master = Daemon(root / "master", certificates)
        self.replica = Daemon(root / "replica", certificates)
        self.master.start(*INSECURE)
        self.relay = Relay(self.master.port)
        sizes = [int(2 ** self._random.uniform(4, 19)) for _ in range(OBJECTS)]
        self.contents = [self._random.randbytes(size) for size in sizes]
        self.images: dict[str, list[bytes]] = {}
        with closing(Client(self.master.port, None)) as client:
            self._fill(client)
        self.needed = {
            content for contents in self.images.values() for content in contents
        }
        self.total_bytes = sum(map(len, self.needed))
        self.largest = max(map(len, self.needed))

    def _fill(self, client: Client) -> None:
        send_objects(client, self.contents, end=True)
        decoder = gob.Decoder()
        for _ in self.contents:
            assert not client.receive(AddObjectResponse, decoder).error
        for number in range(IMAGES):
            chosen = self._random.sample(self.contents, OBJECTS_IN_IMAGE)
            files = {f"file{n}": content for n, content in enumerate(chosen)}
            request = AddImageRequest(f"image{number}", make_image(files))
            reply = client.call("ImageServer.AddImage", request, AddImageResponse)
            assert reply == AddImageResponse()
            self.images[request.image_name] = chosen

    def close(self) -> None:
        """End everything."""
        self.relay.close()
        for daemon in (self.master, self.replica):
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()

    def start_replica(self) -> None:
        """Start it on what it has."""
        self.replica.start(
            *INSECURE,
            "-imageServerHostname=127.0.0.1",
            f"-imageServerPortNum={self.relay.port}",
            f"-replicationStreams={STREAMS}",
        )

    def forget(self) -> None:
        """Begin with an empty replica again."""
        for directory in (self.replica.images, self.replica.objects):
            shutil.rmtree(directory)
            directory.mkdir()

    def cut_often(self, cuts: int) -> None:
        """Let a new replica copy everything, while the link is cut at random bytes."""
        self.forget()
        self.relay.cut_at(
            [self._random.randrange(self.total_bytes) for _ in range(cuts)]
        )
        before = self.relay.cuts
        self.start_replica()
        self.watch()
        _, received = self.wait()
        again = self.relay.cuts - before
        assert received <= self.total_bytes + again * STREAMS * self.largest
        assert self.replica.stop() == 0
        self.check_files()

    def kill(self) -> None:
        """Let a new replica copy everything, but kill it on the way."""
        self.forget()
        self.start_replica()
        limit = self._random.randrange(self.total_bytes)
        begin = self.relay.passed_bytes
        with suppress(AssertionError):  # the last ones come too late
            wait_until(lambda: self.relay.passed_bytes - begin > limit, 3)
        self.replica.kill()
        there = self.whole_objects()
        self.check_files()
        self.start_replica()
        self.watch()
        fetched, _ = self.wait()
        assert fetched <= len(self.needed) - len(there), (fetched, len(there))
        assert self.replica.stop() == 0
        self.check_files()

    def whole_objects(self) -> set[bytes]:
        """The objects that are on the replica's disk, also where they come in."""
        wanted = {hash_of(content).hex() for content in self.needed}
        found = set()
        for path in self.replica.objects.rglob("*"):
            if path.is_file():
                digest = hashlib.sha512(path.read_bytes()).hexdigest()
                if digest in wanted:
                    found.add(bytes.fromhex(digest))
        return found

    def wait(self) -> tuple[int, int]:
        """Wait until everything is there; objects and bytes that were fetched."""

        def listed() -> set[str]:
            with closing(Client(self.replica.port, None)) as client:
                return _names(client)

        found = wait_until(lambda: _REPLICATED.search(self.replica.log_bytes()), 120)
        assert listed() == self.images.keys()
        return int(found[1]), int(found[2])

    def watch(self) -> None:
        """See that no image is shown that is not complete, until all are."""
        seen: set[str] = set()
        with closing(Client(self.replica.port, None)) as client:
            while True:
                is_done = _REPLICATED.search(self.replica.log_bytes())
                for name in _names(client) - seen:
                    seen.add(name)
                    hashes = tuple(map(hash_of, self.images[name]))
                    response = client.call(
                        "ObjectServer.CheckObjects",
                        CheckObjectsRequest(hashes),
                        CheckObjectsResponse,
                    )
                    assert all(response.object_sizes), f"{name} is incomplete"
                if is_done:
                    return
                time.sleep(0.02)

    def check_files(self) -> None:
        """Check the replica's directories offline."""
        flags = [f"-imageDir={self.replica.images}"]
        assert fsck([*flags, f"-objectDir={self.replica.objects}"]) == 0


def _names(client: Client) -> set[str]:
    assert client.begin("ImageServer.ListImages") == ""
    names = set()
    while line := client.line():
        names.add(line)
    return names


def main() -> None:
    """Kill, and cut, so many times, with a given seed."""
    rounds, seed = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as directory:
        cuts = Cuts(Path(directory), seed)
        try:
            for _ in range(rounds):
                cuts.kill()
            before = cuts.relay.cuts
            while cuts.relay.cuts - before < rounds:
                cuts.cut_often(10)
            count = cuts.relay.cuts - before
        finally:
            cuts.close()
    print(f"{rounds} kills, {count} cuts: everything came, nothing twice")


if __name__ == "__main__":
    main()
