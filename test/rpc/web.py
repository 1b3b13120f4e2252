"""A web server that does what a test says, as an agent sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from zope.interface import implementer

PIECE = 1000


@implementer(IResponse)
class Response:
    """One answer; its body comes when it is asked for, a piece at a time.

    Attributes:
        code: the status.
        length: what the server says of the body.
        headers: likewise.
        protocol: takes the body.
        paused: whether it wants no more now.
        stopped: whether it wants no more at all.
    """

    def __init__(
        self,
        code: int,
        body: bytes = b"",
        *,
        length: Any = None,
        headers: dict[bytes, list[bytes]] | None = None,
        cut_at: int | None = None,
        hold: bool = False,
    ) -> None:
        """Make an answer.

        Args:
            code: the status.
            body: what is to be sent.
            length: the announced length, if it is not that of the body.
            headers: those of interest.
            cut_at: where the connection is lost.
            hold: whether nothing is sent before :meth:`go_on`.
        """
        self.code = code
        self.length = len(body) if length is None else length
        self.headers = Headers(headers or {})
        self.paused = self.stopped = self.ended = False
        self.sent = 0
        self.protocol: Protocol | None = None
        self._body = body
        self._cut_at = cut_at
        self._hold = hold

    def deliverBody(self, protocol: Protocol) -> None:
        """See ``IResponse``."""
        self.protocol = protocol
        protocol.makeConnection(self)
        self.go_on(force=False)

    def go_on(self, *, force: bool = True) -> None:
        """Send as much as is wanted."""
        if force:
            self._hold = False
        assert self.protocol is not None
        end = len(self._body) if self._cut_at is None else self._cut_at
        while not (self._hold or self.paused or self.stopped or self.ended):
            if self.sent < end:
                piece = self._body[self.sent : min(self.sent + PIECE, end)]
                self.sent += len(piece)
                self.protocol.dataReceived(piece)
            else:
                self._end(ResponseDone() if self._cut_at is None else lost())

    def _end(self, reason: Exception) -> None:
        self.ended = True
        assert self.protocol is not None
        self.protocol.connectionLost(Failure(reason))

    def pauseProducing(self) -> None:
        """The reader wants nothing now."""
        self.paused = True

    def resumeProducing(self) -> None:
        """The reader wants more."""
        self.paused = False
        self.go_on(force=False)

    def stopProducing(self) -> None:
        """The reader wants nothing more."""
        assert not self.ended
        self.stopped = True
        self._end(lost())


def lost() -> ResponseFailed:
    """How a connection ends that is cut."""
    return ResponseFailed([Failure(ConnectionLost())])


Answer = Callable[[bytes, Headers], Any]


@implementer(IAgent)
class Web:
    """Web servers.

    Attributes:
        answer: from URL and headers to a response, an exception, or a ``Deferred``.
        asked: URLs and wanted ranges so far.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, bytes | None]] = []

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: Any = None,
    ) -> Deferred[Any]:
        """See ``IAgent``."""
        assert method == b"GET"
        assert headers is not None
        self.asked.append((uri, headers.getRawHeaders(b"Range", [None])[0]))
        result = self.answer(uri, headers)
        if isinstance(result, Deferred):
            return result
        if isinstance(result, Exception):
            deferred: Deferred[Any] = Deferred()
            deferred.errback(result)
            return deferred
        return succeed(result)


def refused(*_: Any) -> Exception:
    """Nobody is there."""
    return ConnectionRefusedError()


def range_start(headers: Headers) -> int:
    """Where the wanted range begins; 0: everything is wanted."""
    (text,) = headers.getRawHeaders(b"Range", [b"bytes=0-"])
    found = re.fullmatch(rb"bytes=(\d+)-", text)
    assert found
    return int(found[1])


def serve(contents: dict[bytes, bytes], **options: Any) -> Answer:
    """Answers as a server that has these files, by the ends of their URLs."""

    def answer(uri: bytes, headers: Headers) -> Response:
        content = contents.get(uri.rpartition(b"/")[2])
        if content is None:
            return Response(404, b"no such thing")
        return partial_response(content, range_start(headers), **options)

    return answer


def partial_response(content: bytes, start: int, **options: Any) -> Response:
    """A file from a place on."""
    if not start:
        return Response(200, content, **options)
    where = b"bytes %d-%d/%d" % (start, len(content) - 1, len(content))
    return Response(
        206, content[start:], headers={b"Content-Range": [where]}, **options
    )


__all__ = [
    "UNKNOWN_LENGTH",
    "Response",
    "Web",
    "partial_response",
    "range_start",
    "refused",
    "serve",
]
