"""Serving calls on connections that have been accepted."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from imageserver.errors import (
    CertificateError,
    GobDecodeError,
    GobTypeError,
    ImageServerError,
    LocalProtocolError,
    PeerClosed,
    ProtocolError,
    RemoteProtocolError,
)
from imageserver.srpc.access import (
    ANONYMOUS,
    Caller,
    Identity,
    Policy,
    has_method_access,
)
from imageserver.srpc.call import Call, SelfSending
from imageserver.srpc.channel import Channel, Deadlines
from imageserver.srpc.methods import SMALL, Method, MethodTable
from imageserver.srpc.protocol import (
    DENIED,
    METHOD_LINE_LIMIT,
    Line,
    error_line,
    split_method,
)
from imageserver.srpc.tls import ServerTLS, peer_identity
from imageserver.worker import Worker


@attrs.define
class Counters:
    """What the server has done so far, for the status page."""

    connections: int = 0
    open_connections: int = 0
    calls: int = 0
    running_calls: int = 0
    denied_calls: int = 0
    crashed_calls: int = 0


class CallServer:
    """Decides on calls and runs them.

    Attributes:
        methods: what can be called.
        policy: who is trusted.
        tls: how TLS endpoints are secured; ``None`` if there are none.
        deadlines: how long peers may take.
        counters: what happened so far.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        methods: MethodTable,
        policy: Policy,
        tls: ServerTLS | None,
        decoding: Worker,
        deadlines: Deadlines,
    ) -> None:
        self.methods = methods
        self.policy = policy
        self.tls = tls
        self.deadlines = deadlines
        self.counters = Counters()
        self.clock = clock
        self._decoding = decoding
        self._open: dict[Channel, Deferred[None]] = {}
        self._before_start: list[Deferred[None]] | None = []

    @property
    def offers_unsecured(self) -> bool:
        """Whether there is anything to call without TLS."""
        return self.policy.insecure or self.methods.any_unauthenticated

    def serve(self, channel: Channel, powers: bool, address: str) -> None:
        """Answer calls until the connection ends.

        On TLS this begins with the handshake, and the peer's certificate says who
        it is.

        Args:
            channel: the connection, after CONNECT was accepted.
            powers: whether the peer wants to use its method powers.
            address: where it comes from.
        """
        serving = Deferred.fromCoroutine(self._serve(channel, powers, address))
        self._open[channel] = serving
        serving.addBoth(self._forget, channel)

    def _forget(self, result: Failure | None, channel: Channel) -> None:
        """A connection has ended."""
        del self._open[channel]
        if result is not None:
            self._log.failure("a connection did not end well", result)

    async def _serve(self, channel: Channel, powers: bool, address: str) -> None:
        self.counters.connections += 1
        self.counters.open_connections += 1
        try:
            identity = await self._identify(channel)
            await self._answer_calls(channel, identity, powers, address)
        except (ProtocolError, CertificateError) as error:
            self._log.info(
                "connection from {address} closed: {error}",
                address=address,
                error=error,
            )
        except Exception:
            self._log.failure("connection from {address} failed", address=address)
        finally:
            channel.close(linger=True)
        await channel.departure()
        self.counters.open_connections -= 1

    def start(self) -> None:
        """Begin to run calls; those that came before have waited."""
        waiting, self._before_start = self._before_start or [], None
        for deferred in waiting:
            deferred.callback(None)

    async def _started(self) -> None:
        if self._before_start is not None:
            deferred: Deferred[None] = Deferred()
            self._before_start.append(deferred)
            await deferred

    async def stop(self) -> None:
        """End all connections at once, and wait until their calls have ended.

        Calls that wait for :meth:`start` do not begin any more.
        """
        for channel in list(self._open):
            channel.abort()
        waiting, self._before_start = self._before_start or [], None
        for deferred in waiting:
            deferred.errback(PeerClosed("the server stops"))
        for serving in list(self._open.values()):
            await serving

    async def _identify(self, channel: Channel) -> Identity:
        """Who is at the other end.

        Raises:
            CertificateError: the certificate does not say.
            RemoteProtocolError: the handshake failed or took too long.
        """
        if not channel.is_tls:
            return ANONYMOUS
        await channel.handshake()
        return peer_identity(channel.transport)

    async def _answer_calls(
        self, channel: Channel, identity: Identity, powers: bool, address: str
    ) -> None:
        line_wanted = Line(METHOD_LINE_LIMIT)
        while True:
            try:
                line = (await channel.take(line_wanted)).strip()
            except PeerClosed:
                return  # between calls: the usual end
            if not line:
                channel.write(b"\n")  # a ping
                await channel.drain()
                continue
            try:
                method = self.methods.find(*split_method(line))
            except (ValueError, LookupError) as error:
                channel.write(error_line(str(error.args[0])))
                await channel.drain()
                continue
            access = self._admit(method, identity, powers, address)
            if access is None:
                channel.write(error_line(DENIED))
                await channel.drain()
                continue
            caller = Caller(identity, access, address, channel.departure)
            if not await self._run(channel, method, caller):
                return

    def _admit(
        self, method: Method, identity: Identity, powers: bool, address: str
    ) -> bool | None:
        """Whether the caller has power over the method; ``None``: not permitted."""
        access = has_method_access(self.policy, identity, powers, method.full_name)
        if access or (method.public and identity.user) or method.unauthenticated:
            return access
        self.counters.denied_calls += 1
        self._log.warn(
            "{method} denied to {user!r} from {address}",
            method=method.full_name,
            user=identity.user,
            address=address,
        )
        return None

    async def _run(self, channel: Channel, method: Method, caller: Caller) -> bool:
        """Run one call; whether the connection is good for another one."""
        self.counters.calls += 1
        self.counters.running_calls += 1
        started_s = self.clock.seconds()
        call = Call(channel, caller, method.limits, self._decoding)
        outcome = "ok"
        try:
            await self._started()
            if method.reply is not None:
                usable, outcome = await self._reply(call, method)
            else:
                usable = True
                await self._stream(call, method)
            await channel.drain()
        except Exception as error:
            usable = False
            outcome = f"failed: {error}"
            if not _is_meant_for_client(error):
                self.counters.crashed_calls += 1
                self._log.failure("{method} crashed", method=method.full_name)
                outcome = "internal error"
        finally:
            self.counters.running_calls -= 1
        self._log.info(
            "{method} by {user!r} from {address}: {outcome} ({duration_ms:.1f} ms)",
            method=method.full_name,
            user=caller.user,
            address=caller.address,
            outcome=outcome,
            duration_ms=(self.clock.seconds() - started_s) * 1000,
        )
        return usable

    async def _stream(self, call: Call, method: Method) -> None:
        assert method.stream is not None  # noqa: S101 - a method is one or the other
        call.write(b"\n")
        call.channel.flush()
        await method.stream(call)

    async def _encode(self, call: Call, method: Method, response: Any) -> bytes:
        """The bytes of a response; long requests are expected to get long ones."""
        if method.limits == SMALL:
            return call.encode(response)
        return await self._decoding.run(call.encode, response)

    async def _reply(self, call: Call, method: Method) -> tuple[bool, str]:
        """Run a request-reply method; whether to go on, and what happened."""
        assert method.request is not None  # noqa: S101 - see above
        assert method.reply is not None  # noqa: S101
        call.write(b"\n")
        call.channel.flush()
        try:
            request: Any = await call.receive(method.request)
        except (GobDecodeError, RemoteProtocolError) as error:
            # What follows cannot be told from a method line: say so, and close.
            call.write(error_line(str(error)))
            return False, str(error)
        try:
            response = await method.reply(call.caller, request)
            self_sending = isinstance(response, SelfSending)
            encoded = (
                b"" if self_sending else await self._encode(call, method, response)
            )
        except Exception as error:
            if not _is_meant_for_client(error):
                call.write(error_line("internal error"))
                raise
            call.write(error_line(str(error)))
            return True, str(error)
        call.write(b"\n" + encoded)
        if self_sending:
            await response.send_to(call)
        return True, "ok"


def _is_meant_for_client(error: Exception) -> bool:
    """Whether an error says what is wrong, and not that this program is."""
    return isinstance(error, ImageServerError) and not isinstance(
        error, GobTypeError | LocalProtocolError
    )
