"""Sending parts of files."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from srpc.peers import GatedWorker, Outer, Recorder, server_tls, user_pair
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import (
    ClientFactory,
    Factory,
    Protocol,
    connectionDone,
)
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from imageserver.errors import PeerClosed, PeerTooSlow, StoreError
from imageserver.objects.memory import MemoryStorage
from imageserver.rpc import carrier as carrier_module
from imageserver.rpc import streamer as streamer_module
from imageserver.rpc.streamer import FilePart, Streamer
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.tls import ClientTLS, wrap
from imageserver.testing import InlineWorker
from imageserver.worker import PoolWorker

MIB = 1 << 20
DEADLINES = Deadlines(stall_s=5)


class Digest(Protocol):
    """Counts and hashes what it gets, and keeps nothing."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.length = 0
        self.done: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.hash.update(data)
        self.length += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(None)


class SlowReader(Digest):
    """Reads a little, then nothing for a turn of the reactor."""

    def connectionMade(self) -> None:
        handle = self.transport.getHandle()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.transport.bufferSize = 8192

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self.length % 7 == 0:
            self.transport.pauseProducing()
            reactor.callLater(0, self.resume)

    def resume(self) -> None:
        if self.transport.connected:
            self.transport.resumeProducing()


def make_file(case: Any, content: bytes | int) -> int:
    """An open file with some content, or a sparse one of a size."""
    directory = TemporaryDirectory()
    case.addCleanup(directory.cleanup)
    path = Path(directory.name) / "file"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with path.open("wb") as file:
            file.truncate(content)
    descriptor = os.open(path, os.O_RDONLY)
    case.addCleanup(os.close, descriptor)
    return descriptor


class SocketCase(TestCase):
    """Real connections on this machine, plain or with TLS."""

    timeout = 30

    async def connect(
        self, client: Any, *, tls: bool, deadlines: Deadlines = DEADLINES
    ) -> Channel:
        """The server's channel of a connection to ``client``."""
        channel = Channel(reactor, deadlines)
        server = Outer(channel, server_tls()) if tls else channel
        far = Outer(client, ClientTLS(user_pair())) if tls else client
        port = reactor.listenTCP(
            0, Factory.forProtocol(lambda: server), interface="127.0.0.1"
        )
        connector = reactor.connectTCP(
            "127.0.0.1", port.getHost().port, ClientFactory.forProtocol(lambda: far)
        )
        while not (server.transport and far.transport):
            await deferLater(reactor, 0)
        await port.stopListening()
        if tls:
            await channel.handshake()

        async def end() -> None:
            channel.abort()
            connector.disconnect()
            await channel.departure()
            while connector.state != "disconnected":
                await deferLater(reactor, 0)

        self.addCleanup(lambda: Deferred.fromCoroutine(end()))
        return channel

    def tcp(self, channel: Channel) -> Any:
        """The transport that has the socket."""
        return channel.transport.transport if channel.is_tls else channel.transport


class Content(SocketCase):
    """What arrives is what was sent."""

    async def check_content(self, client: Digest, *, tls: bool, small: bool) -> None:
        """Headers, parts of files and trailers arrive in order and whole."""
        content = os.urandom(3 * MIB + 12345)
        descriptor = make_file(self, content)
        channel = await self.connect(client, tls=tls)
        if small:
            self.tcp(channel).socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, 32768
            )
        streamer = Streamer(InlineWorker())
        expected = hashlib.sha256()
        for number, (start, length) in enumerate(
            [(0, len(content)), (1, 1), (5, 0), (MIB - 1, MIB + 2), (7, 70_000)]
        ):
            header = bytes([number]) * 50_000 * number + b"header"
            channel.write(header)
            await streamer.send(channel, FilePart(descriptor, start, length))
            channel.write(b"trailer")
            expected.update(header + content[start : start + length] + b"trailer")
        await channel.drain()
        channel.close()
        await client.done
        self.assertEqual(client.hash.digest(), expected.digest())

    async def test_plain(self):
        """On a plain connection no file overtakes its header (trap 1)."""
        await self.check_content(Digest(), tls=False, small=False)

    async def test_short_sends(self):
        """Short sends to a slow reader complete (trap 2)."""
        await self.check_content(SlowReader(), tls=False, small=True)

    async def test_tls(self):
        """The same over TLS."""
        await self.check_content(Digest(), tls=True, small=False)

    async def test_tls_small_buffers(self):
        """The same with a socket that takes little at a time."""
        await self.check_content(Digest(), tls=True, small=True)

    async def test_objects_elsewhere(self):
        """Objects that are in no file arrive whole, too, plain and with TLS."""
        content = os.urandom(2 * MIB + 99)
        hash_ = hashlib.sha512(content).digest()
        storage = MemoryStorage()
        storage.contents[hash_] = content
        for tls in (False, True):
            client = Digest()
            channel = await self.connect(client, tls=tls)
            channel.write(b"header")
            reader = storage.reader(hash_, len(content))
            async with Streamer(InlineWorker()).open(channel) as stream:
                await stream.send_object(reader)
            channel.close()
            await client.done
            expected = hashlib.sha256(b"header" + content).digest()
            self.assertEqual(client.hash.digest(), expected)

    async def test_threads(self):
        """Files that are not in memory come from the pool, plain and with TLS."""
        self.patch(streamer_module.os, "preadv", never_resident)
        pool = PoolWorker(reactor, "test", 2)
        pool.startService()
        self.addCleanup(pool.stopService)
        content = os.urandom(2 * MIB + 99)
        descriptor = make_file(self, content)
        for tls in (False, True):
            client = Digest()
            channel = await self.connect(client, tls=tls)
            part = FilePart(descriptor, 0, len(content))
            await Streamer(pool).send(channel, part)
            channel.close()
            await client.done
            self.assertEqual(client.hash.digest(), hashlib.sha256(content).digest())

    async def test_one_connection_many_parts(self):
        """A thousand parts in a row need no stack and lose nothing."""
        content = os.urandom(1000)
        descriptor = make_file(self, content)
        client = Digest()
        channel = await self.connect(client, tls=False)
        streamer = Streamer(InlineWorker())
        for _ in range(1000):
            await streamer.send(channel, FilePart(descriptor, 0, 1000))
        channel.close()
        await client.done
        self.assertEqual(client.hash.digest(), hashlib.sha256(content * 1000).digest())


class Resources(SocketCase):
    """What it costs."""

    async def check_memory(self, *, tls: bool) -> None:
        """Memory does not grow with the file."""
        descriptor = make_file(self, 64 * MIB)
        client = Digest()
        channel = await self.connect(client, tls=tls)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        part = FilePart(descriptor, 0, 64 * MIB)
        await Streamer(InlineWorker()).send(channel, part)
        channel.close()
        await client.done
        peak = tracemalloc.get_traced_memory()[1]
        self.assertEqual(client.length, 64 * MIB)
        self.assertLess(peak, 12 * MIB)

    async def test_memory_plain(self):
        """A few buffers are enough for a plain connection."""
        await self.check_memory(tls=False)

    async def test_memory_tls(self):
        """And for TLS."""
        await self.check_memory(tls=True)

    async def check_stalled(self, *, tls: bool) -> None:
        """A peer that reads nothing costs nothing, and is cut off in time."""
        descriptor = make_file(self, 64 * MIB)
        client = Digest()
        channel = await self.connect(client, tls=tls, deadlines=Deadlines(stall_s=0.4))
        client.transport.pauseProducing()
        calls = self.count_calls("preadv")
        cpu_s = time.process_time()
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1

        self.patch(channel.transport, "write", counted(channel.transport.write, turn))
        with self.assertRaises(PeerTooSlow):
            part = FilePart(descriptor, 0, 64 * MIB)
            await Streamer(InlineWorker()).send(channel, part)
        self.assertLess(time.process_time() - cpu_s, 0.2)
        self.assertLess(len(calls), 200)
        self.assertLess(turns, 20)
        await channel.departure()

    async def test_stalled_plain(self):
        """Plain: dropped at the deadline."""
        await self.check_stalled(tls=False)

    async def test_stalled_tls(self):
        """TLS: dropped at the deadline, without spinning until then (trap 3)."""
        await self.check_stalled(tls=True)

    async def test_pieces(self):
        """TLS encrypts a little at a time, also of what is in memory (trap 4)."""
        content = os.urandom(5 * MIB)
        descriptor = make_file(self, content)
        client = Digest()
        channel = await self.connect(client, tls=True)
        sizes: list[int] = []
        writev = os.writev

        def recording(descriptor: int, buffers: Any) -> int:
            sizes.append(sum(map(len, buffers)))
            return writev(descriptor, buffers)

        self.patch(carrier_module.os, "writev", recording)
        channel.write(b"x" * 50_000)
        async with Streamer(InlineWorker()).open(channel) as stream:
            await stream.send_file(FilePart(descriptor, 0, 5 * MIB))
            await stream.send_bytes(content)
        channel.close()
        await client.done
        self.assertLess(max(sizes), 300_000)
        expected = hashlib.sha256(b"x" * 50_000 + content * 2).digest()
        self.assertEqual(client.hash.digest(), expected)

    def count_calls(self, name: str) -> list[Any]:
        """Every call of a function of the system, from now on."""
        calls: list[Any] = []
        function = getattr(os, name)

        def counting(*args: Any) -> Any:
            calls.append(args)
            return function(*args)

        self.patch(streamer_module.os, name, counting)
        return calls


class Losses(SocketCase):
    """The end in the middle."""

    async def check_truncated(self, *, tls: bool) -> None:
        """A file that is too short is an error, and nothing is put in its place."""
        content = os.urandom(MIB + MIB // 2)
        descriptor = make_file(self, content)
        client = Digest()
        channel = await self.connect(client, tls=tls)
        with self.assertRaisesRegex(StoreError, "a file ended early"):
            part = FilePart(descriptor, 0, 2 * MIB)
            await Streamer(InlineWorker()).send(channel, part)
        channel.close()
        await client.done
        self.assertEqual(client.hash.digest(), hashlib.sha256(content).digest())

    async def test_truncated_plain(self):
        """Plain: the client gets less, and can tell."""
        await self.check_truncated(tls=False)

    async def test_truncated_tls(self):
        """TLS: the same."""
        await self.check_truncated(tls=True)

    async def check_lost(self, *, tls: bool) -> None:
        """A peer that goes ends the sending at once; nothing stays behind."""
        descriptor = make_file(self, 64 * MIB)
        client = Digest()
        channel = await self.connect(client, tls=tls)
        part = FilePart(descriptor, 0, 64 * MIB)
        streamer = Streamer(InlineWorker())
        sending = Deferred.fromCoroutine(streamer.send(channel, part))
        while not client.length:
            await deferLater(reactor, 0)
        client.transport.abortConnection()
        with self.assertRaises(PeerClosed):
            await sending
        await channel.departure()
        with self.assertRaises(PeerClosed):
            await streamer.send(channel, part)

    async def test_lost_plain(self):
        """Plain."""
        await self.check_lost(tls=False)

    async def test_lost_tls(self):
        """TLS."""
        await self.check_lost(tls=True)


def counted(function: Any, count: Any) -> Any:
    """A function, and ``count`` before each call."""

    def call(*args: Any) -> Any:
        count()
        return function(*args)

    return call


def never_resident(
    descriptor: int, buffers: Any, offset: int, flags: int = 0, _read: Any = os.preadv
) -> int:
    """Reads from a file that is never in memory, so far as can be seen."""
    if flags & os.RWF_NOWAIT:
        raise BlockingIOError
    return _read(descriptor, buffers, offset)


def always_resident(
    descriptor: int, buffers: Any, offset: int, flags: int = 0, _read: Any = os.preadv
) -> int:
    """Reads from a file that is in memory; some file systems could not tell."""
    return _read(descriptor, buffers, offset)


class PullTransport:
    """A socket whose writability is decided by the test, with Twisted's rules."""

    def __init__(self, case: Any, channel: Channel) -> None:
        self.socket, self.far = socket.socketpair()
        self.far.setblocking(False)
        self.socket.setblocking(False)
        for end in (self.socket, self.far):
            case.addCleanup(end.close)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.fileno = self.socket.fileno
        self.buffer = b""
        self.producer: Any = None
        self.streaming = True
        self.writing = False
        self.aborted = False
        self.channel = channel

    def write(self, data: bytes) -> None:
        self.buffer += data
        self.writing = True

    def startWriting(self) -> None:
        self.writing = True

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None
        self.producer, self.streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def abortConnection(self) -> None:
        self.aborted = True

    def lose(self) -> None:
        """As Twisted does it: first the producer is told, then the protocol."""
        if self.producer is not None:
            self.producer.stopProducing()
            self.producer = None
        self.channel.connectionLost(Failure(ConnectionLost()))

    def turn(self) -> bool:
        """The socket is writable; whether anybody cares."""
        if not self.writing:
            return False
        if self.buffer:
            with contextlib.suppress(BlockingIOError):
                sent = self.socket.send(self.buffer[:1000])
                self.buffer = self.buffer[sent:]
        if not self.buffer:
            self.writing = False
            if self.producer is not None and not self.streaming:
                self.producer.resumeProducing()
        return True

    def read(self) -> bytes:
        """What has arrived at the other end."""
        data = b""
        try:
            while piece := self.far.recv(1 << 20):
                data += piece
        except BlockingIOError:
            pass
        return data


class Sendfile(SynchronousTestCase):
    """The producer, step by step."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.channel = Channel(self.clock, DEADLINES)
        self.transport = PullTransport(self, self.channel)
        self.channel.makeConnection(self.transport)
        self.worker = GatedWorker()
        self.sent: list[int] = []
        sendfile = os.sendfile

        def recording(*args: Any) -> int:
            count = sendfile(*args)
            self.sent.append(count)
            return count

        self.patch(streamer_module.os, "sendfile", recording)
        self.patch(streamer_module.os, "preadv", always_resident)

    def send(self, length: int, content: bytes | int | None = None) -> Deferred[Any]:
        """Begin to send a file behind a header."""
        self.descriptor = make_file(self, length if content is None else content)
        self.channel.write(b"header")
        part = FilePart(self.descriptor, 0, length)
        return Deferred.fromCoroutine(Streamer(self.worker).send(self.channel, part))

    def turn(self) -> bytes:
        """Turns until nobody wants to write any more; what arrived."""
        data = b""
        while self.transport.turn():
            data += self.transport.read()
        return data

    def assertFinished(self) -> None:
        """The channel is the producer again, and no timer is left."""
        self.assertIs(self.transport.producer, self.channel)
        self.assertTrue(self.transport.streaming)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_header_first(self):
        """Nothing is sent before the transport's buffer is empty (trap 1)."""
        sending = self.send(10)
        self.assertEqual(self.sent, [])
        self.assertEqual(self.turn(), b"header" + bytes(10))
        self.successResultOf(sending)
        self.assertFinished()

    def test_full_socket(self):
        """A socket that is full is asked again when it is writable (trap 2)."""
        sending = self.send(100_000)
        self.transport.turn()
        for _ in range(5):
            self.assertTrue(self.transport.turn())
        self.assertNoResult(sending)
        arrived = self.transport.read() + self.turn()
        self.assertEqual(arrived, b"header" + bytes(100_000))
        self.successResultOf(sending)
        self.assertFinished()

    def test_cold_file(self):
        """A window that is not in memory is loaded by the worker first (trap 5)."""
        self.patch(streamer_module.os, "preadv", never_resident)
        sending = self.send(MIB + 1)
        self.assertEqual(self.turn(), b"header")
        self.assertEqual((self.sent, self.worker.runs), ([], 1))
        self.assertFalse(self.transport.writing)
        self.worker.release()
        first = self.turn()
        self.assertEqual((len(first), self.worker.runs), (MIB, 2))
        self.assertNoResult(sending)
        self.worker.release()
        self.assertEqual(self.turn(), b"\0")
        self.successResultOf(sending)
        self.assertFinished()

    def test_warm_file(self):
        """What is in memory needs no worker."""
        sending = self.send(2 * MIB, os.urandom(2 * MIB))
        self.turn()
        self.successResultOf(sending)
        self.assertEqual(self.worker.runs, 0)

    def test_cannot_be_read(self):
        """A disk that fails is a failure of ours, not the peer's."""
        self.patch(streamer_module.os, "preadv", never_resident)
        sending = self.send(10)
        self.turn()
        deferred, _ = self.worker.waiting.pop()
        deferred.errback(OSError(5, "Input/output error"))
        self.failureResultOf(sending, StoreError)
        self.assertFinished()

    def test_sendfile_fails(self):
        """The same for ``sendfile``; a broken pipe is the peer's end."""
        for error, kind in (
            (OSError(5, "Input/output error"), StoreError),
            (BrokenPipeError(32, "Broken pipe"), PeerClosed),
        ):

            def fail(*args: Any, error: OSError = error) -> int:
                raise error

            self.patch(streamer_module.os, "sendfile", fail)
            sending = self.send(10)
            self.turn()
            self.failureResultOf(sending, kind)
            self.assertFinished()

    def test_progress_keeps_it_going(self):
        """The deadline is for each bit of progress, not for the whole file."""
        sending = self.send(50_000)
        arrived = 0
        while arrived < 50_006:
            self.clock.advance(DEADLINES.stall_s - 0.1)
            self.assertNoResult(sending)
            self.transport.turn()
            self.transport.turn()
            arrived += len(self.transport.read())
        self.turn()
        self.successResultOf(sending)
        self.assertFinished()

    def test_deadline(self):
        """Without progress the connection is aborted."""
        sending = self.send(100_000)
        self.transport.turn()
        self.transport.turn()
        self.clock.advance(DEADLINES.stall_s + 0.1)
        self.failureResultOf(sending, PeerTooSlow)
        self.assertTrue(self.transport.aborted)
        self.assertFinished()

    def test_slow_disk(self):
        """A disk that is slow does not use up the peer's time."""
        self.patch(streamer_module.os, "preadv", never_resident)
        sending = self.send(100_000)
        self.turn()
        self.clock.advance(DEADLINES.stall_s - 0.1)
        self.worker.release()
        self.clock.advance(DEADLINES.stall_s - 0.1)
        self.assertNoResult(sending)
        self.turn()
        self.successResultOf(sending)

    def test_lost_while_loading(self):
        """The descriptor stays in use until the worker has read (no stray reads)."""
        self.patch(streamer_module.os, "preadv", never_resident)
        sending = self.send(10)
        self.turn()
        self.transport.lose()
        self.assertNoResult(sending)
        self.worker.release()
        self.failureResultOf(sending, PeerClosed)
        self.assertEqual(self.sent, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_at_any_turn(self):
        """The connection may be lost between any two turns."""
        for turns in range(6):
            self.setUp()
            sending = self.send(3 * 4096)
            for _ in range(turns):
                self.transport.turn()
            self.transport.lose()
            if not isinstance(sending.result, Failure):
                self.successResultOf(sending)
                continue
            self.failureResultOf(sending, PeerClosed)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_to_send(self):
        """Nothing is sent at once."""
        self.successResultOf(self.send(0))
        self.assertFinished()

    def test_after_abort(self):
        """Nothing is begun on a connection that was given up."""
        self.channel.abort()
        self.failureResultOf(self.send(10), PeerClosed)


class ClientTransport:
    """The transport of a client whose server is a protocol in the same test."""

    disconnecting = False

    def __init__(self, server: Any) -> None:
        self.server = server

    def write(self, data: bytes) -> None:
        self.server.dataReceived(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass

    def loseConnection(self) -> None:
        pass


class Encrypted(SynchronousTestCase):
    """The producer on TLS, step by step."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.channel = Channel(self.clock, DEADLINES)
        self.transport = PullTransport(self, self.channel)
        server = wrap(self.channel, server_tls(), self.transport)
        self.client = Recorder()
        transport = ClientTransport(server)
        self.peer = wrap(self.client, ClientTLS(user_pair()), transport)
        self.turn()
        self.turn()
        self.assertEqual(self.channel.transport.getPeerCertificate() is None, False)
        self.worker = GatedWorker()
        self.patch(streamer_module.os, "preadv", always_resident)

    def turn(self) -> None:
        """Turns until nobody wants to write any more."""
        while self.transport.turn():
            if data := self.transport.read():
                self.peer.dataReceived(data)

    def send(self, content: bytes, length: int | None = None) -> Deferred[Any]:
        """Begin to send a file behind a header."""
        self.channel.write(b"header")
        part = FilePart(make_file(self, content), 0, length or len(content))
        return Deferred.fromCoroutine(Streamer(self.worker).send(self.channel, part))

    def assertFinished(self) -> None:
        """The channel is the producer again, and no timer is left."""
        self.assertIs(self.channel.transport._producer._producer, self.channel)
        self.assertTrue(self.transport.streaming)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_content(self) -> None:
        """What is in memory needs no worker, and comes behind the header (trap 1)."""
        content = os.urandom(MIB + 5)
        sending = self.send(content)
        self.assertEqual(self.client.data, b"")
        self.turn()
        self.successResultOf(sending)
        self.assertEqual(self.client.data, b"header" + content)
        self.assertEqual(self.worker.runs, 0)
        self.assertFinished()

    def test_cold_file(self) -> None:
        """A window that is not in memory is loaded by the worker first (trap 5)."""
        self.patch(streamer_module.os, "preadv", never_resident)
        content = os.urandom(MIB + 1)
        sending = self.send(content)
        self.turn()
        self.assertEqual((self.client.data, self.worker.runs), (b"header", 1))
        self.assertFalse(self.transport.writing)
        self.worker.release()
        self.turn()
        self.assertEqual((len(self.client.data), self.worker.runs), (6 + MIB, 2))
        self.worker.release()
        self.turn()
        self.successResultOf(sending)
        self.assertEqual(self.client.data, b"header" + content)
        self.assertFinished()

    def test_stalled(self) -> None:
        """A peer that does not read costs one small piece, and is dropped in time."""
        sending = self.send(os.urandom(3 * MIB))
        for _ in range(1000):
            self.transport.turn()
        self.assertLess(len(self.transport.buffer), 70_000)
        self.assertNoResult(sending)
        self.clock.advance(DEADLINES.stall_s + 0.1)
        self.failureResultOf(sending, PeerTooSlow)
        self.assertTrue(self.transport.aborted)

    def test_reads_again(self) -> None:
        """A peer that reads on after a while gets everything, in pieces that grow."""
        content = os.urandom(3 * MIB)
        sending = self.send(content)
        for _ in range(50):
            self.transport.turn()
        self.turn()
        self.successResultOf(sending)
        self.assertEqual(self.client.data, b"header" + content)

    def test_lost_while_loading(self) -> None:
        """The descriptor stays in use until the worker has read."""
        self.patch(streamer_module.os, "preadv", never_resident)
        sending = self.send(b"content")
        self.turn()
        self.transport.lose()
        self.assertNoResult(sending)
        self.worker.release()
        self.failureResultOf(sending, PeerClosed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_and_cannot_be_read(self) -> None:
        """If both go wrong there is one error, and none goes unhandled."""
        self.patch(streamer_module.os, "preadv", never_resident)
        sending = self.send(b"content")
        self.turn()
        self.transport.lose()
        deferred, _ = self.worker.waiting.pop()
        deferred.errback(OSError(5, "Input/output error"))
        self.failureResultOf(sending, PeerClosed)

    def test_cannot_be_read(self) -> None:
        """A disk that fails is a failure of ours, wherever it does."""
        self.patch(streamer_module.os, "preadv", never_resident)
        sending = self.send(b"content")
        self.turn()
        deferred, _ = self.worker.waiting.pop()
        deferred.errback(OSError(5, "Input/output error"))
        self.failureResultOf(sending, StoreError)
        self.assertFinished()

        def fail(*args: Any) -> int:
            raise OSError(5, "Input/output error")

        sending = self.send(b"content")
        self.turn()
        self.patch(streamer_module.os, "preadv", fail)
        self.worker.release()
        self.turn()
        self.failureResultOf(sending, StoreError)
        self.assertFinished()

    def test_too_short(self) -> None:
        """A file that ends early is an error, and nothing is put in its place."""
        sending = self.send(b"content", 100)
        self.turn()
        self.worker.release()
        self.turn()
        self.failureResultOf(sending, StoreError)
        self.assertEqual(self.client.data, b"headercontent")

    def test_session_ended(self) -> None:
        """A peer that has ended the session gets nothing more."""
        sending = self.send(os.urandom(MIB))
        self.transport.turn()
        self.transport.turn()
        self.channel.transport.getHandle().shutdown()
        self.turn()
        self.failureResultOf(sending, PeerClosed)


class Readers(SynchronousTestCase):
    """Objects that have to be read."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.channel = Channel(self.clock, DEADLINES)
        self.transport = PullTransport(self, self.channel)
        self.channel.makeConnection(self.transport)
        self.worker = GatedWorker()
        self.content = os.urandom(MIB)
        storage = MemoryStorage()
        self.hash = hashlib.sha512(self.content).digest()
        storage.contents[self.hash] = self.content
        self.reader = storage.reader(self.hash, MIB)
        self.received = b""

    async def send(self) -> None:
        async with Streamer(self.worker).open(self.channel) as stream:
            await stream.send_object(self.reader)

    def turn(self) -> None:
        """Turns until nobody wants to write any more."""
        while self.transport.turn():
            self.received += self.transport.read()

    def test_one_piece_ahead(self) -> None:
        """While a piece is on its way the next one is read, and no more."""
        sending = Deferred.fromCoroutine(self.send())
        self.assertEqual(self.worker.runs, 1)
        for _ in range(5):
            self.worker.release()
        self.assertEqual(self.worker.runs, 2)
        while not sending.called:
            self.turn()
            self.worker.release()
        self.successResultOf(sending)
        self.assertEqual(self.received, self.content)
        self.assertEqual(self.worker.runs, 4)

    def test_lost_while_reading_ahead(self) -> None:
        """The reader stays in use until the worker has read."""
        sending = Deferred.fromCoroutine(self.send())
        self.worker.release()
        self.transport.lose()
        self.assertNoResult(sending)
        self.worker.release()
        self.failureResultOf(sending, PeerClosed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cannot_be_read(self) -> None:
        """A failure to read is told, also if it was read ahead."""
        for pieces in (0, 2):
            self.setUp()
            sending = Deferred.fromCoroutine(self.send())
            for _ in range(pieces):
                self.worker.release()
                self.turn()
            deferred, _ = self.worker.waiting.pop()
            deferred.errback(OSError(5, "Input/output error"))
            self.turn()
            failure = self.failureResultOf(sending, StoreError)
            self.assertEqual(str(failure.value), "cannot read: Input/output error")

    def test_slow_disk(self) -> None:
        """A disk that is slow does not use up the peer's time."""
        sending = Deferred.fromCoroutine(self.send())
        while not sending.called:
            self.clock.advance(DEADLINES.stall_s * 3)
            self.worker.release()
            self.turn()
        self.successResultOf(sending)
