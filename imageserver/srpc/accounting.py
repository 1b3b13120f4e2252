"""What the server has done so far: counted here, shown by the pages.

The paths of metrics are those that existing tools ask for, and more like them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import attrs

from imageserver.errors import LimitExceeded
from imageserver.srpc.distribution import Distribution
from imageserver.srpc.limit import Limit
from imageserver.srpc.methods import Method
from imageserver.srpc.metric import Metric
from imageserver.srpc.protocol import GOB

PLAIN, TLS, UNIX = "plain", "TLS", "Unix"
_ROOT = "/srpc/server/"


@attrs.frozen
class Way:
    """How calls come in.

    Attributes:
        carrier: :data:`PLAIN`, :data:`TLS` or :data:`UNIX`.
        coder: how values travel: one of the coders of :mod:`imageserver.srpc.protocol`.
    """

    carrier: str = PLAIN
    coder: str = GOB

    def __str__(self) -> str:
        return f"{self.carrier}-{self.coder}".lower()


@attrs.define(eq=False)
class MethodAccount:
    """One method.

    Attributes:
        permitted: calls that were let in.
        denied: calls that were not.
        running: calls that go on.
        crashed: calls that ended in an internal error.
        by_way: permitted calls by how they came.
        successful: durations of whole calls, also of those with an error line.
        failed: durations of calls after which the connection was of no more use.
        replies: durations of making replies; ``None`` for streams.
        failed_replies: the same where the reply was an error line.
    """

    permitted: int = 0
    denied: int = 0
    running: int = 0
    crashed: int = 0
    by_way: Counter[Way] = attrs.field(factory=Counter)
    successful: Distribution = attrs.field(factory=Distribution)
    failed: Distribution = attrs.field(factory=Distribution)
    replies: Distribution | None = None
    failed_replies: Distribution | None = None

    def begin(self, way: Way) -> None:
        """A call was let in."""
        self.permitted += 1
        self.running += 1
        self.by_way[way] += 1

    def end(self, duration_ms: float, *, usable: bool) -> None:
        """It is over; whether the connection is good for another one."""
        self.running -= 1
        (self.successful if usable else self.failed).add(duration_ms)

    def reply(self, duration_ms: float, *, is_error: bool) -> None:
        """Its reply was made, or there is none but an error."""
        durations = self.failed_replies if is_error else self.replies
        if durations is not None:
            durations.add(duration_ms)

    def metrics(self) -> Iterator[tuple[str, int | Distribution, str]]:
        """Names, values and descriptions."""
        yield "num-permitted-calls", self.permitted, "calls that were let in"
        yield "num-denied-calls", self.denied, "calls that were not"
        yield "num-running-calls", self.running, "calls that go on"
        yield "num-crashed-calls", self.crashed, "calls with an internal error"
        for way, count in sorted(self.by_way.items(), key=str):
            yield f"num-{way}-calls", count, f"calls over {way}"
        yield "successful-call-durations", self.successful, "whole calls"
        yield "failed-call-durations", self.failed, "calls that broke the connection"
        if self.replies is not None and self.failed_replies is not None:
            what = "request-reply-call-durations"
            yield f"successful-{what}", self.replies, "making replies"
            yield f"failed-{what}", self.failed_replies, "until an error line"


class Accounting:
    """All of the server.

    Attributes:
        methods: what can be called, by ``Service.Method``.
        accepted: connections of any kind so far.
        open_raw: those that are open.
        rejected: connections that were refused.
        connections: connections for calls so far.
        open_connections: those that are open, of peers that said who they are.
        by_way: connections for calls so far, by how calls come in.
        open_by_way: those that are open, of peers that said who they are.
        pages: connections for pages so far.
        sent_bytes: sent on connections for calls that have ended.
        received_bytes: received on them.
        limits: how often which limit was exceeded.
    """

    def __init__(self, methods: Iterable[Method]) -> None:
        self.methods = {
            method.full_name: MethodAccount()
            if method.reply is None
            else MethodAccount(replies=Distribution(), failed_replies=Distribution())
            for method in methods
        }
        self.accepted = self.open_raw = self.rejected = self.pages = 0
        self.connections = self.open_connections = 0
        self.sent_bytes = self.received_bytes = 0
        self.by_way: Counter[Way] = Counter()
        self.open_by_way: Counter[Way] = Counter()
        self.limits: Counter[Limit] = Counter()

    def note(self, error: Exception) -> None:
        """A connection or a call ended by ``error``, perhaps by a limit."""
        if isinstance(error, LimitExceeded):
            self.limits[Limit(error.limit)] += 1

    @property
    def calls(self) -> int:
        """Calls so far."""
        return sum(account.permitted for account in self.methods.values())

    @property
    def running_calls(self) -> int:
        """Calls that go on."""
        return sum(account.running for account in self.methods.values())

    def running_of(self, names: Iterable[str]) -> int:
        """Calls of some methods that go on."""
        return sum(self.methods[n].running for n in names if n in self.methods)

    @property
    def denied_calls(self) -> int:
        """Calls that were not let in."""
        return sum(account.denied for account in self.methods.values())

    @property
    def crashed_calls(self) -> int:
        """Calls that ended in an internal error."""
        return sum(account.crashed for account in self.methods.values())

    def attempted(self, way: Way) -> None:
        """A connection for calls has begun."""
        self.connections += 1
        self.by_way[way] += 1

    def connected(self, way: Way) -> None:
        """It is known whose it is."""
        self.open_connections += 1
        self.open_by_way[way] += 1

    def disconnected(self, way: Way) -> None:
        """It has ended, after it was known."""
        self.open_connections -= 1
        self.open_by_way[way] -= 1

    def metrics(self) -> Iterator[Metric]:
        """Everything that is counted."""
        totals = (
            ("num-connections", self.connections, "connections for calls so far"),
            ("num-open-connections", self.open_connections, "those that are open"),
            ("num-raw-connections", self.accepted, "connections of any kind so far"),
            ("num-open-raw-connections", self.open_raw, "those that are open"),
            ("num-page-connections", self.pages, "connections for pages so far"),
            ("num-rejected-connections", self.rejected, "connections refused"),
            ("num-running-methods", self.running_calls, "calls that go on"),
        )
        for name, value, description in totals:
            yield Metric(_ROOT + name, value, description)
        for way in sorted(self.by_way, key=str):
            place = f"{_ROOT}connections/{way}/"
            yield Metric(f"{place}num-connections", self.by_way[way], "so far")
            yield Metric(f"{place}num-open-connections", self.open_by_way[way], "open")
        for limit in Limit:
            count = self.limits[limit]
            yield Metric(f"{_ROOT}limits/{limit}", count, "how often exceeded")
        for full_name, account in self.methods.items():
            place = _ROOT + full_name.lstrip(".").replace(".", "/") + "/"
            for name, number, description in account.metrics():
                yield Metric(place + name, number, description)
