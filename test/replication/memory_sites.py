"""Real servers whose connections are in memory: a master, and a replica of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from srpc.peers import Link, Recorder, make_server
from transcripts.replay import HastyDisk
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.client import Agent

from imageserver.errors import ConnectionFailed
from imageserver.images.database import ImageDatabase
from imageserver.images.replica import ReplicaImages
from imageserver.index.sqlite import SqliteIndex
from imageserver.objects.store import ObjectStore
from imageserver.replication.bandwidth import Schedule, Throttle
from imageserver.replication.forward import Forwarder
from imageserver.replication.replicator import Replicator
from imageserver.replication.rules import Rules
from imageserver.replication.session import Surroundings
from imageserver.rpc.image_server import ImageService
from imageserver.rpc.import_sources import ImportSources
from imageserver.rpc.object_import import ObjectImports
from imageserver.rpc.object_server import ObjectService
from imageserver.rpc.replica import ReplicaMethods
from imageserver.rpc.tree_import import TreeImports
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.client import Connection
from imageserver.srpc.methods import Method
from imageserver.testing import InlineWorker

DEADLINES = Deadlines(body_s=60, stall_s=60)


class Network:
    """Connections between servers, by their addresses.

    Attributes:
        clock: the time of all.
        servers: who answers at which port.
        links: the connections.
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self.clock = Clock()
        self.clock.advance(now_s)
        self.servers: dict[int, Any] = {}
        self.links: list[Link] = []
        self.dialled = 0

    async def dial(self, _host: str, port: int) -> Connection:
        """Connect to a server."""
        if port not in self.servers:
            raise ConnectionFailed(f"127.0.0.1:{port}: connection refused")
        self.dialled += 1
        ours = Channel(self.clock, DEADLINES)
        theirs = Channel(self.clock, DEADLINES)
        self.links.append(Link(self.clock, theirs, ours))
        self.servers[port].serve(theirs, True, "127.0.0.1:1")
        return Connection(ours, InlineWorker())

    def client(self, port: int) -> tuple[Recorder, Link]:
        """A connection whose client says what a test says."""
        recorder, channel = Recorder(), Channel(self.clock, DEADLINES)
        link = Link(self.clock, channel, recorder)
        self.links.append(link)
        self.servers[port].serve(channel, True, "127.0.0.1:2")
        return recorder, link

    def pump(self, seconds: float = 0.0) -> None:
        """Let everything happen, and some time pass."""
        for _ in range(1_000):
            self.clock.advance(0)
            is_quiet = True
            for link in list(self.links):
                while link.left.step() or link.right.step():
                    is_quiet = False
                if link.left.lost and link.right.lost:
                    self.links.remove(link)
            if is_quiet and not self._is_due():
                break
        else:
            raise AssertionError("it never ends")
        if seconds > 0:
            self.clock.advance(min(seconds, 0.5))
            self.pump(seconds - 0.5)

    def _is_due(self) -> bool:
        now_s = self.clock.seconds()
        return any(c.getTime() <= now_s for c in self.clock.getDelayedCalls())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine gives."""
        outcome: list[Any] = []
        deferred = Deferred.fromCoroutine(coroutine)
        deferred.addBoth(outcome.append)
        self.pump()
        assert outcome, "it waits for ever"
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]


class MemorySite:
    """A server at a port of the network."""

    def __init__(self, root: Path, network: Network, port: int) -> None:
        """Open its stores, and serve."""
        images, objects = root / "images", root / "objects"
        images.mkdir(parents=True)
        objects.mkdir()
        self.network, self.port = network, port
        self.index = SqliteIndex(root / "index", objects, images)
        self.index.open()
        self.index.add_directory(".", "")
        self.objects = ObjectStore(objects, self.index, HastyDisk(), self.now_ns)
        self.objects.open()
        self.database = ImageDatabase(
            images, self.index, self.objects, HastyDisk(), self.now_ns
        )
        self.serve(lambda methods: methods)

    def now_ns(self) -> int:
        """The time."""
        return int(self.network.clock.seconds() * 10**9)

    def serve(self, gate: Callable[[Iterable[Method]], Iterable[Method]]) -> None:
        """Answer calls of the port."""
        clock, worker = self.network.clock, InlineWorker()
        imports = ObjectImports(
            self.objects, worker, Agent(clock), clock, ImportSources()
        )
        self.object_service = ObjectService(self.objects, worker, imports, clock)
        trees = TreeImports(
            imports, self.objects, self.database, worker, worker, clock, lambda _: None
        )
        service = ImageService(self.database, worker, clock)
        methods = [
            *service.methods(open_reads=False),
            *trees.methods(),
            *self.object_service.methods(
                public_add=False, public_check=False, public_get=False, open_reads=False
            ),
        ]
        self.calls = make_server(clock, list(gate(methods)), deadlines=DEADLINES)
        self.network.servers[self.port] = self.calls

    def close(self) -> None:
        """Close everything."""
        self.network.servers.pop(self.port, None)
        stopping = Deferred.fromCoroutine(self.calls.stop())
        self.network.pump()
        assert stopping.called
        self.index.close()


class MemoryReplica(MemorySite):
    """A server that follows another one."""

    def __init__(
        self,
        root: Path,
        network: Network,
        port: int,
        master: tuple[str, int],
        rules: Rules | None = None,
    ) -> None:
        """Begin to follow."""
        super().__init__(root, network, port)
        clock, worker, host = network.clock, InlineWorker(), master[0]
        rules = rules or Rules()
        around = Surroundings(
            clock,
            network.dial,
            host,
            master[1],
            ReplicaImages(self.database),
            self.objects,
            worker,
            worker,
            rules,
            2,
            Throttle(Schedule(), clock.seconds, lambda: 0.0),
            lambda: 0.5,
        )
        self.replicator = Replicator(around, f"site{port}")
        self.forwarder = Forwarder(
            clock, network.dial, host, master[1], self.objects, worker
        )
        methods = ReplicaMethods(
            self.replicator,
            self.forwarder,
            self.database,
            worker,
            on_demand=rules.on_demand,
        )
        self.serve(methods.gate)
        self.object_service.begin_passing_on = lambda: (
            self.forwarder.begin_objects().pass_on
        )
        self.replicator.start()

    def close(self) -> None:
        """Follow no more."""
        self.forwarder.stop()
        stopping = Deferred.fromCoroutine(self.replicator.stop())
        self.network.pump(1)
        assert stopping.called
        super().close()
