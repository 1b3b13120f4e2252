"""Fetches one object from a web server, and goes on where it was cut off.

::

    C: GET <url>                    Range: bytes=<what has come>- after a cut
    S: 200, 206                     a body with the object, or the rest of it

Redirects are not followed: they lead where nobody has allowed us to go.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import RESPONSES
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse

from imageserver.errors import ImageServerError, RequestError

_ATTEMPTS = 5
"""Attempts in a row that bring nothing new."""

_FIRST_PAUSE_S = 1.0
_ANSWER_S = 60.0
_PIECE_S = 60.0
_HIGH_WATER = 256 << 10
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(rb"bytes (\d{1,19})-\d{1,19}/(?:\d{1,19}|\*)")

Sink = Callable[[bytes], Awaitable[None]]


class Stopped(ImageServerError):
    """Nobody wants the object any more."""


class _Cut(ImageServerError):
    """The connection failed, or the server cannot answer now."""


class Download:
    """One object.

    Attributes:
        size: its size, once it is known.
    """

    def __init__(
        self, agent: IAgent, clock: IReactorTime, url: bytes, size: int | None
    ) -> None:
        """Prepare to fetch ``url``.

        Args:
            agent: makes requests.
            clock: for deadlines and pauses.
            url: what to fetch.
            size: what has to come; ``None``: what the server says.
        """
        self.size = size
        self._agent = agent
        self._clock = clock
        self._url = url
        self._received = 0
        self._stopped = False
        self._waiting: Deferred[Any] | None = None

    def stop(self) -> None:
        """Let :meth:`run` end at once, if it waits for the network; else soon."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def run(self, check: Callable[[int], None], sink: Sink) -> None:
        """Fetch it.

        Args:
            check: told the size before anything comes; may raise ``RequestError``.
            sink: takes the content.

        Raises:
            RequestError: the server does not give it.
            Stopped: :meth:`stop` was called.
        """
        failures = 0
        while self.size is None or self._received < self.size:
            before = self._received
            try:
                await self._fetch(check, sink)
            except _Cut as error:
                failures = 1 if self._received > before else failures + 1
                if failures >= _ATTEMPTS:
                    raise RequestError(str(error)) from error
                pause_s = _FIRST_PAUSE_S * 2 ** (failures - 1)
                await self._wait(deferLater(self._clock, pause_s), 2 * pause_s)

    async def _fetch(self, check: Callable[[int], None], sink: Sink) -> None:
        response = await self._ask()
        body = _Body()
        try:
            unwanted = self._position(response)
            if self._received == 0:
                self._learn_size(response)
                check(self.size or 0)
        except ImageServerError:
            body.abandon()
            response.deliverBody(body)  # so that the connection is given up
            raise
        response.deliverBody(body)
        try:
            await self._copy(body, unwanted, sink)
        finally:
            body.abandon()

    async def _ask(self) -> IResponse:
        headers = Headers({b"User-Agent": [b"imageserver"]})
        if self._received:
            headers.addRawHeader(b"Range", b"bytes=%d-" % self._received)
        requested = self._agent.request(b"GET", self._url, headers, None)
        response: IResponse = await self._wait(requested, _ANSWER_S)
        return response

    def _position(self, response: IResponse) -> int:
        """How many bytes of a response we have already."""
        if response.code == 200:
            return self._received  # it knows no ranges
        if response.code == 206 and self._received:
            (text,) = response.headers.getRawHeaders(b"Content-Range", [b""])[:1]
            found = _CONTENT_RANGE.fullmatch(text)
            if found and int(found[1]) == self._received:
                return 0
            raise RequestError("another range than the one asked for")
        phrase = RESPONSES.get(response.code, b"unknown status").decode()
        text = f"{response.code} {phrase}"
        if response.code in _PASSING:
            raise _Cut(text)
        raise RequestError(text)

    def _learn_size(self, response: IResponse) -> None:
        length = response.length
        if length is UNKNOWN_LENGTH:
            if self.size is None:
                raise RequestError("unknown content length")
        elif self.size is None:
            self.size = int(length)
        elif length != self.size:
            raise RequestError(f"size {length} != {self.size}")

    async def _copy(self, body: _Body, unwanted: int, sink: Sink) -> None:
        assert self.size is not None  # noqa: S101 - the response told it
        while self._received < self.size:
            piece = await self._wait(body.take(), _PIECE_S)
            if not piece:
                raise _Cut("it ended early")
            if unwanted:
                skipped = min(unwanted, len(piece))
                unwanted -= skipped
                piece = piece[skipped:]
            if self._received + len(piece) > self.size:
                raise RequestError(f"longer than {self.size} bytes")
            if piece:
                self._received += len(piece)
                await sink(piece)
                self._check_wanted()

    def _check_wanted(self) -> None:
        if self._stopped:
            raise Stopped("stopped")

    async def _wait(self, deferred: Deferred[Any], timeout_s: float) -> Any:
        """Wait for the network.

        Raises:
            Stopped: :meth:`stop` was called.
            _Cut: it did not come, or not in time.
        """
        deferred.addTimeout(timeout_s, self._clock)
        self._waiting = deferred
        try:
            self._check_wanted()
            return await deferred
        except Stopped:
            deferred.addErrback(lambda _: None)
            deferred.cancel()
            raise
        except (TimeoutError, ConnectingCancelledError) as error:
            self._check_wanted()
            raise _Cut(f"nothing for {timeout_s:g} s") from error
        except Exception as error:
            self._check_wanted()
            raise _Cut(_describe(error)) from error
        finally:
            self._waiting = None


class _Body(Protocol):
    """What has come of a body; while there is enough of it, the server has to wait."""

    transport: Any = None

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended: Failure | None = None
        self._wanted: Deferred[bytes] | None = None
        self._paused = False
        self._abandoned = False

    def take(self) -> Deferred[bytes]:
        """What is there, or comes next; nothing at the end."""
        wanted: Deferred[bytes] = Deferred(lambda _: None)
        self._wanted = wanted
        if self._paused and self._ended is None:
            self._paused = False
            self.transport.resumeProducing()
        self._give()
        return wanted

    def abandon(self) -> None:
        """It is of no more use."""
        self._abandoned = True
        if self.transport is not None and self._ended is None:
            self.transport.stopProducing()

    def connectionMade(self) -> None:
        """See ``IProtocol``."""
        if self._abandoned:
            self.transport.stopProducing()

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        if self._abandoned:
            return
        self._data += data
        self._give()
        if len(self._data) >= _HIGH_WATER and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``IProtocol``."""
        self._ended = reason
        self._give()

    def _give(self) -> None:
        wanted = self._wanted
        if wanted is None or wanted.called:
            return
        if self._data:
            self._wanted, data = None, bytes(self._data)
            self._data.clear()
            wanted.callback(data)
        elif self._ended is not None:
            self._wanted = None
            if self._ended.check(ResponseDone):
                wanted.callback(b"")
            else:
                wanted.errback(self._ended)


def _describe(error: Exception) -> str:
    """An error of the network in a few words."""
    reasons = getattr(error, "reasons", None)  # those of a response or a request
    if reasons:
        error = reasons[-1].value
    return str(error) or type(error).__name__
