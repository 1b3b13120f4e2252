"""HTTP around the pages: what Twisted's own site lets through, and should not."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.logger import Logger
from twisted.web import server
from twisted.web.http import BAD_REQUEST, HTTPChannel
from twisted.web.http import Request as HTTPRequest

_NO_BODY = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_LONGEST_LOGGED = 256
_STATIC = b"/static/"


class _Channel(HTTPChannel):
    """Speaks HTTP/1.1 only, and listens to nothing behind what it has refused."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        if not self.transport.disconnecting:
            super().dataReceived(data)


class _Request(server.Request):
    """A request without a body: no page takes one, and nobody is to send us any."""

    _refused = False

    def gotLength(self, length: int | None) -> None:
        if length == 0:
            super().gotLength(0)
            return
        self._refused = True
        super().gotLength(0)
        channel: Any = self.channel
        channel.transport.write(_NO_BODY)
        channel.loseConnection()

    def handleContentChunk(self, data: bytes) -> None:
        """Whatever still comes is dropped."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # A thousand may have come at once: others have their turn between them.
        if not self._refused:
            channel: Any = self.channel
            channel.callLater(0, self._begin, command, path, version)

    def _begin(self, command: bytes, path: bytes, version: bytes) -> None:
        if self.channel is not None:  # the peer is still there
            super().requestReceived(command, path, version)

    def process(self) -> None:
        """See ``Request``; what is no text is refused: Klein would log each."""
        if _is_text(unquote_to_bytes(self.path)) and _is_text(
            self.getRequestHostname()
        ):
            super().process()
            return
        self.setResponseCode(BAD_REQUEST)
        self.setHeader("Content-Length", "0")
        self.finish()


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Site(server.Site):
    """Logs requests as calls are logged."""

    noisy = False
    displayTracebacks = False
    protocol: Any = _Channel
    requestFactory = _Request
    _log = Logger()

    def log(self, request: HTTPRequest) -> None:
        """See ``HTTPFactory``; what belongs to pages is not worth a line each time."""
        if request.uri.startswith(_STATIC) and request.code < BAD_REQUEST:
            return
        address = request.getClientAddress()
        self._log.info(
            "{method} {uri} from {host}:{port}: {code}",
            method=_show(request.method),
            uri=_show(request.uri),
            host=getattr(address, "host", ""),
            port=getattr(address, "port", ""),
            code=request.code,
        )


def _show(text: bytes) -> str:
    """What a peer has sent, short enough for a line of the log."""
    return text[:_LONGEST_LOGGED].decode("ascii", "backslashreplace")
