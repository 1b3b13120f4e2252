"""Calls of our client on one connection, over real sockets."""

from __future__ import annotations

import socket
from typing import Any

from srpc.clients import REQUEST, ClientCase, until
from srpc.peers import authority, server_tls, user_pair
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

from imageserver.errors import (
    CallError,
    GobDecodeError,
    MethodDenied,
    PeerClosed,
    ProtocolError,
)
from imageserver.model.image_messages import CheckImageRequest, CheckImageResponse
from imageserver.srpc.access import Policy
from imageserver.srpc.channel import Deadlines
from imageserver.srpc.protocol import ACCEPTED
from imageserver.srpc.tls import ClientTLS
from imageserver.worker import PoolWorker


class Calls(ClientCase):
    """Calls on one connection."""

    async def test_calls(self):
        """Pings, calls and streams follow each other."""
        self.serve()
        await self.assertCalls(await self.connect())

    async def test_tls(self):
        """The same over TLS; the certificate says who calls."""
        self.serve(tls=server_tls())
        trusting = ClientTLS(user_pair("alice", "*.*"), [authority().certificate])
        connection = await self.connect(trusting)
        answer = await connection.call("Test.Check", REQUEST, CheckImageResponse)
        self.assertTrue(answer.image_exists)
        powerless = await self.connect(ClientTLS(user_pair()))
        with self.assertRaises(MethodDenied):
            await powerless.call("Test.Check", REQUEST, CheckImageResponse)
        await powerless.ping()

    async def test_error_line(self):
        """An error of a call leaves the connection as it is."""
        self.serve()
        connection = await self.connect()
        with self.assertRaisesRegex(CallError, "^no such image$"):
            await connection.call(
                "Test.Check", CheckImageRequest("no such"), CheckImageResponse
            )
        with self.assertRaisesRegex(CallError, "^unknown service: No$"):
            await connection.call("No.Check", REQUEST, CheckImageResponse)
        await connection.ping()
        self.assertFalse(connection.closed)

    async def test_denied(self):
        """A denial is an error of its own, with the text that is known."""
        self.serve(policy=Policy())
        connection = await self.connect()
        with self.assertRaisesRegex(MethodDenied, "^access to method denied$"):
            await connection.call("Test.Check", REQUEST, CheckImageResponse)
        await connection.ping()

    async def test_one_call_at_a_time(self):
        """Calls that are begun at the same time are made one after the other."""
        self.serve()
        connection = await self.connect()
        self.gates["a"] = Deferred()
        calls = [
            Deferred.fromCoroutine(
                connection.call("Test.Check", CheckImageRequest(n), CheckImageResponse)
            )
            for n in ("a", "b", "c")
        ]
        await until(lambda: self.order)
        await deferLater(reactor, 0.01)
        self.assertEqual(self.order, ["begin a"])
        self.gates["a"].callback(None)
        await gatherResults(calls)
        self.assertEqual(
            self.order, ["begin a", "end a", "begin b", "end b", "begin c", "end c"]
        )

    async def test_abandoned_call(self):
        """After a call that did not end, no other call gets the rest of its answer."""
        self.serve()
        connection = await self.connect()
        queued: list[Deferred[Any]] = []
        with self.assertRaisesRegex(ValueError, "enough"):
            async with connection.begin("Test.Stream") as call:
                await call.receive_line(100)
                queued.append(Deferred.fromCoroutine(connection.ping()))
                raise ValueError("enough")
        self.assertTrue(connection.closed)
        with self.assertRaises(PeerClosed):
            await queued[0]
        with self.assertRaises(PeerClosed):
            await connection.ping()

    async def test_call_left_early(self):
        """The same if the block is just left."""
        self.serve()
        connection = await self.connect()
        async with connection.begin("Test.Stream") as call:
            await call.receive_line(100)
        self.assertTrue(connection.closed)

    async def test_cancelled_call(self):
        """A call that is cancelled ends its connection."""
        self.serve()
        connection = await self.connect()
        self.gates["a"] = Deferred()
        call = Deferred.fromCoroutine(
            connection.call("Test.Check", CheckImageRequest("a"), CheckImageResponse)
        )
        await until(lambda: self.order)
        call.cancel()
        with self.assertRaises(CancelledError):
            await call
        self.assertTrue(connection.closed)
        self.gates["a"].callback(None)

    async def test_wrong_response(self):
        """What is no response ends the connection."""
        self.serve()
        connection = await self.connect()
        with self.assertRaises((GobDecodeError, ProtocolError)):
            async with connection.begin("Test.Stream") as call:
                await call.receive(CheckImageResponse)
        self.assertTrue(connection.closed)

    async def test_server_goes(self):
        """A server that goes ends the call that is going on, and the next ones."""
        self.serve()
        connection = await self.connect()
        self.gates["a"] = Deferred()
        call = Deferred.fromCoroutine(
            connection.call("Test.Check", CheckImageRequest("a"), CheckImageResponse)
        )
        await until(lambda: self.order)
        stopping = Deferred.fromCoroutine(self.server.stop())
        with self.assertRaises(PeerClosed):
            await call
        with self.assertRaisesRegex(PeerClosed, "the connection is closed"):
            await connection.ping()
        self.gates["a"].callback(None)
        await stopping

    async def test_slow_server(self):
        """A server that does not answer in time is given up."""
        self.serve()
        connection = await self.connect(deadlines=Deadlines(body_s=0.05))
        self.gates["a"] = Deferred()
        with self.assertRaises(ProtocolError):
            await connection.call(
                "Test.Check", CheckImageRequest("a"), CheckImageResponse
            )
        self.assertTrue(connection.closed)
        self.gates["a"].callback(None)

    async def test_error_while_sending(self):
        """The error line arrives although much of the request was never read."""
        self.serve()
        connection = await self.connect()
        with self.assertRaises(CallError):
            async with connection.begin("Test.Check") as call:
                call.write(b"\xfc\x7f\xff\xff\xff" + bytes(30 << 20))
                await connection._accepted()

    async def test_error_for_who_reads_late(self):
        """A client that reads only when it has sent everything gets it, too."""
        self.serve()
        number = self.port.getHost().port

        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", number), 10) as client:
                client.sendall(b"CONNECT /_goSRPC_/ HTTP/1.0\n\nTest.Check\n")
                client.sendall(b"\xfc\x7f\xff\xff\xff" + bytes(20 << 20))
                data = b""
                while piece := client.recv(1000):
                    data += piece
                return data

        pool = PoolWorker(reactor, "client", 1)
        pool.startService()
        self.addCleanup(pool.stopService)
        answer = await pool.run(talk)
        self.assertTrue(answer.startswith(ACCEPTED + b"\n"))
        self.assertRegex(answer[len(ACCEPTED) :], rb"\A\n[^\n]+\n\Z")

    async def test_socket_options(self):
        """Both sides notice when the other one is gone for good."""
        self.serve()
        connection = await self.connect()
        served = next(iter(self.server._open))
        for channel in (connection._channel, served):
            handle = channel.transport.getHandle()
            for option, value in (
                (socket.TCP_KEEPIDLE, 300),
                (socket.TCP_KEEPINTVL, 300),
                (socket.TCP_NODELAY, 1),
            ):
                self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, option), value)
