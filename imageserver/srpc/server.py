"""Serving calls on connections that have been accepted."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from imageserver.errors import (
    CertificateError,
    LimitExceeded,
    PeerClosed,
    ProtocolError,
)
from imageserver.srpc.access import (
    ANONYMOUS,
    Caller,
    Identity,
    Policy,
    has_method_access,
)
from imageserver.srpc.accounting import (
    PLAIN,
    TLS,
    UNIX,
    Accounting,
    Way,
)
from imageserver.srpc.arrival import Arrival, RunningCall
from imageserver.srpc.call import Call
from imageserver.srpc.call_runner import CallRunner
from imageserver.srpc.channel import Channel
from imageserver.srpc.connection_limits import ConnectionLimits, Gate, Place
from imageserver.srpc.deadlines import Deadlines, Lengths
from imageserver.srpc.limit import Limit
from imageserver.srpc.message_memory import MessageMemory
from imageserver.srpc.methods import Method, MethodTable
from imageserver.srpc.protocol import (
    DENIED,
    Line,
    error_line,
    split_method,
)
from imageserver.srpc.sparing_log import SparingLog
from imageserver.srpc.tls import ServerTLS, peer_identity
from imageserver.worker import Worker


class CallServer:
    """Decides on calls and runs them.

    Attributes:
        methods: what can be called.
        policy: who is trusted.
        tls: how TLS endpoints are secured; ``None`` if there are none.
        requires_tls: whether connections have to be TLS from their first byte.
        deadlines: how long peers may take.
        lengths: how much they may say.
        memory: what long messages take that come in.
        gate: lets connections in.
        accounting: what happened so far.
        sparing_log: for what any peer can cause.
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
        *,
        lengths: Lengths | None = None,
        limits: ConnectionLimits | None = None,
        requires_tls: bool = False,
    ) -> None:
        self.methods = methods
        self.policy = policy
        self.tls = tls
        self.requires_tls = requires_tls
        self.deadlines = deadlines
        self.lengths = lengths or Lengths()
        self.accounting = Accounting(methods)
        self.sparing_log = SparingLog(self._log, clock.seconds)
        self.memory = MessageMemory(self.lengths.all_messages)
        self.gate = Gate(limits or ConnectionLimits(), self._refused)
        self.clock = clock
        self._runner = CallRunner(
            clock, self.accounting, self.memory, decoding, self._started
        )
        self._open: dict[Channel, Deferred[None]] = {}
        self._arrivals: dict[Channel, Arrival] = {}
        self._before_start: list[Deferred[None]] | None = []

    @property
    def running(self) -> set[RunningCall]:
        """The calls that go on."""
        return self._runner.running

    @property
    def offers_unsecured(self) -> bool:
        """Whether there is anything to call without TLS."""
        return self.policy.insecure or self.methods.any_unauthenticated

    @property
    def traffic(self) -> tuple[int, int]:
        """How many bytes calls have sent and received so far."""
        sent, received = self.accounting.sent_bytes, self.accounting.received_bytes
        for channel in list(self._open):
            sent += channel.sent_bytes
            received += channel.received_bytes
        return sent, received

    def exceeded(self, limit: Limit, peer: str) -> None:
        """A peer ran into a limit; its connection is closed."""
        self.accounting.limits[limit] += 1
        self.sparing_log.info(
            limit, "connection from {peer} closed: {limit}", peer=peer, limit=limit
        )

    def note(self, error: Exception, peer: str) -> None:
        """A connection ends because of what the peer did."""
        self.accounting.note(error)
        self.sparing_log.info(
            type(error).__name__,
            "connection from {peer} closed: {error}",
            peer=peer,
            error=error,
        )

    def _refused(self, limit: Limit, host: str) -> None:
        self.accounting.rejected += 1
        self.exceeded(limit, host)

    def serve(
        self,
        channel: Channel,
        powers: bool,
        address: str,
        *,
        way: Way | None = None,
        identity: Identity | None = None,
        place: Place | None = None,
    ) -> None:
        """Answer calls until the connection ends.

        Args:
            channel: the connection, after CONNECT was accepted.
            powers: whether the peer wants to use its method powers.
            address: where it comes from.
            way: how calls come in; found out if left out.
            identity: who the peer is; ``None``: on TLS, a handshake comes first, and
                the peer's certificate says it.
            place: the connection's place among all.
        """
        way = way or Way(TLS if channel.is_tls else PLAIN)
        arrival = Arrival(powers, address, way, identity, place)
        self._arrivals[channel] = arrival
        serving = Deferred.fromCoroutine(self._serve(channel, arrival))
        self._open[channel] = serving
        serving.addBoth(self._forget, channel)

    def move(self, call: Call, channel: Channel) -> None:
        """Let a caller go on over a Unix socket; the connection so far ends.

        Args:
            call: the caller's last one on that connection.
            channel: the new one; it has its place among all already.
        """
        left = call.channel
        arrival = self._arrivals[left]
        self.serve(
            channel,
            arrival.powers,
            arrival.address,
            way=attrs.evolve(arrival.way, carrier=UNIX),
            identity=call.caller.identity,
        )
        left.close(linger=True)

    def _forget(self, result: Failure | None, channel: Channel) -> None:
        """A connection has ended."""
        del self._open[channel], self._arrivals[channel]
        self.accounting.sent_bytes += channel.sent_bytes
        self.accounting.received_bytes += channel.received_bytes
        if result is not None:
            self._log.failure("a connection did not end well", result)

    async def _serve(self, channel: Channel, arrival: Arrival) -> None:
        accounting, way = self.accounting, arrival.way
        accounting.attempted(way)
        is_known = False
        try:
            identity = await self._identify(channel, arrival)
            accounting.connected(way)
            is_known = True
            await self._answer_calls(channel, identity, arrival)
        except (ProtocolError, CertificateError) as error:
            self.note(error, arrival.address)
        except Exception:
            self._log.failure(
                "connection from {address} failed", address=arrival.address
            )
        finally:
            channel.close(linger=True)
            if not is_known:
                accounting.rejected += 1
        await channel.departure()
        if is_known:
            accounting.disconnected(way)

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

    async def _identify(self, channel: Channel, arrival: Arrival) -> Identity:
        """Who is at the other end.

        Raises:
            CertificateError: the certificate does not say.
            RemoteProtocolError: the handshake failed or took too long, or too many
                connections are the user's.
        """
        identity = arrival.identity
        if identity is None and channel.is_tls:
            await channel.handshake()
            identity = peer_identity(channel.transport)
        identity = identity or ANONYMOUS
        place = arrival.place
        if place is not None and not place.identify(identity.user):
            text = f"too many connections of {identity.user!r}"
            raise LimitExceeded(Limit.USER, text)
        return identity

    async def _answer_calls(
        self, channel: Channel, identity: Identity, arrival: Arrival
    ) -> None:
        line_wanted = Line(self.lengths.method_line, Limit.METHOD_LINE)
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
            access = self._admit(method, identity, arrival)
            if access is None:
                channel.write(error_line(DENIED))
                await channel.drain()
                continue
            caller = Caller(identity, access, arrival.address, channel.departure)
            if not await self._runner.run(channel, method, caller, arrival.way):
                return

    def _admit(
        self, method: Method, identity: Identity, arrival: Arrival
    ) -> bool | None:
        """Whether the caller has power over the method; ``None``: not permitted."""
        name, powers = method.full_name, arrival.powers
        access = has_method_access(self.policy, identity, powers, name)
        access = access or (powers and method.is_builtin)
        if access or (method.public and identity.user) or method.unauthenticated:
            return access
        self.accounting.methods[name].denied += 1
        self.sparing_log.warn(
            f"denied to {identity.user!r}",  # the authorities know how many there are
            "{method} denied to {user!r} from {address}",
            method=name,
            user=identity.user,
            address=arrival.address,
        )
        return None
