"""Kills the real daemon in the middle of its work, again and again.

After each kill the data directories are checked offline, then the next daemon has to
serve everything that was acknowledged. ``make kills`` does it for long.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
from calls import fetch, image_of, send_objects
from processes import Certificates, Client, Daemon, wait_until

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.fsck.command import main as fsck
from imageserver.model.hash import hash_of
from imageserver.model.image_messages import (
    AddImageRequest,
    AddImageResponse,
    CheckImageRequest,
    CheckImageResponse,
    DeleteImageRequest,
    DeleteImageResponse,
    DeleteUnreferencedObjectsRequest,
    DeleteUnreferencedObjectsResponse,
)
from imageserver.model.object_messages import AddObjectResponse

LIFETIME_S = 1.5
UPLOADERS = 2
INSECURE = ("-CAfile=", "-permitInsecureMode")


@attrs.define
class Promises:
    """What the daemon has acknowledged.

    Attributes:
        objects: contents that it has to keep as long as they are leased.
        images: images that are there, and what they consist of.
        deleted: images that are gone.
        uncertain: images that something was asked for without an answer.
    """

    objects: set[bytes] = attrs.field(factory=set)
    images: dict[str, bytes] = attrs.field(factory=dict)
    deleted: set[str] = attrs.field(factory=set)
    uncertain: set[str] = attrs.field(factory=set)


class Kills:
    """One daemon after the other on the same data.

    Every second one leases uploads for a second only, and has had time to look at all
    objects, so that it collects what the one before has left.
    """

    def __init__(self, daemon: Daemon, seed: int) -> None:
        """Kill ``daemon`` at moments that ``seed`` decides."""
        self.promises = Promises()
        self._daemon = daemon
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._next_name = 0
        self._killed = False
        self._faults: list[Exception] = []

    def run(self, rounds: int) -> None:
        """Start, work, kill, check; so many times."""
        for number in range(rounds):
            leased = number % 2 == 0
            lease = "1m" if leased else "1s"
            self._daemon.start(*INSECURE, f"-uploadLease={lease}", "-scrubRate=1GiB")
            if number:
                self._check_promises()
            self.promises.objects.clear()
            if not leased:  # till then nothing is collected
                wait_until(lambda: b"looked at all" in self._daemon.log_bytes())
            self._work_and_kill()
            if not leased:
                self.promises.objects.clear()
            self._check_files()
        self._daemon.start(*INSECURE)
        self._check_promises()
        assert self._daemon.stop() == 0

    def _work_and_kill(self) -> None:
        self._killed = False
        threads = [
            threading.Thread(target=self._until_killed, args=[self._upload])
            for _ in range(UPLOADERS)
        ]
        threads.append(
            threading.Thread(target=self._until_killed, args=[self._collect])
        )
        for thread in threads:
            thread.start()
        time.sleep(self._random.uniform(0, LIFETIME_S))
        self._killed = True
        self._daemon.kill()
        for thread in threads:
            thread.join()
        assert self._faults == []

    def _until_killed(self, work: Callable[[Client], None]) -> None:
        try:
            with closing(Client(self._daemon.port, None)) as client:
                while True:
                    work(client)
        except (OSError, AssertionError, GobDecodeError) as error:
            if not self._killed:  # else this is how it is felt
                self._faults.append(error)

    def _upload(self, client: Client) -> None:
        """Upload some objects, make an image of one, perhaps delete another image."""
        with self._lock:
            sizes = [self._random.randint(1, 40_000) for _ in range(12)]
            contents = [self._random.randbytes(size) for size in sizes]
            name = f"image{self._next_name}"
            self._next_name += 1
            self.promises.uncertain.add(name)
        send_objects(client, contents, end=True)
        decoder = gob.Decoder()
        for content in contents:
            answer = client.receive(AddObjectResponse, decoder)
            assert answer == AddObjectResponse("", hash_of(content), True)
            self.promises.objects.add(content)
        request = AddImageRequest(name, image_of(contents[0]))
        self._call(client, "AddImage", request, AddImageResponse)
        with self._lock:
            self.promises.images[name] = contents[0]
            self.promises.uncertain.discard(name)
            if len(self.promises.images) < 10:
                return
            victim = self._random.choice([*self.promises.images])
            del self.promises.images[victim]
            self.promises.uncertain.add(victim)
        request = DeleteImageRequest(victim)
        self._call(client, "DeleteImage", request, DeleteImageResponse)
        with self._lock:
            self.promises.uncertain.discard(victim)
            self.promises.deleted.add(victim)

    def _collect(self, client: Client) -> None:
        """Collect everything that nobody needs."""
        client.call(
            "ImageServer.DeleteUnreferencedObjects",
            DeleteUnreferencedObjectsRequest(100, 0),
            DeleteUnreferencedObjectsResponse,
        )
        time.sleep(0.01)

    def _call(self, client: Client, name: str, request: object, reply: type) -> None:
        assert client.call(f"ImageServer.{name}", request, reply) == reply()

    def _check_files(self) -> None:
        directories = (self._daemon.images, self._daemon.objects)
        flags = [f"-imageDir={directories[0]}", f"-objectDir={directories[1]}"]
        assert fsck(flags) == 0

    def _check_promises(self) -> None:
        client = Client(self._daemon.port, None)
        names = [(name, True) for name in self.promises.images]
        names += [(name, False) for name in self.promises.deleted]
        for name, expected in names:
            response = client.call(
                "ImageServer.CheckImage", CheckImageRequest(name), CheckImageResponse
            )
            assert response.image_exists is expected, name
        client.close()
        contents = [*self.promises.images.values(), *self.promises.objects]
        assert self._fetch(contents) == b"".join(contents)

    def _fetch(self, contents: list[bytes]) -> bytes:
        return fetch(self._daemon, contents, user=None)


def main() -> None:
    """Kill so many daemons, with a given seed."""
    rounds, seed = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        daemon = Daemon(root / "daemon", Certificates(root / "certificates"))
        kills = Kills(daemon, seed)
        try:
            kills.run(rounds)
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
        images = len(kills.promises.images) + len(kills.promises.deleted)
    print(f"{rounds} kills, {images} images acknowledged, nothing missing")


if __name__ == "__main__":
    main()
