"""SRPC without input or output: ``docs/protocol.md``, "SRPC".

::

    C: CONNECT <path> HTTP/1.0 LF LF
    S: HTTP/1.0 200 Connected to Go SRPC LF LF
       (on a TLS path: TLS handshake, the client presents a certificate)
    C: <Service>.<Method> LF            or LF: a ping
    S: LF                               or <error text> LF
       ... the body of the call, as the method defines it ...
    C: <Service>.<Method> LF            and so on

Bodies consist of gob messages, raw bytes and lines, in one buffer, and nobody reads
ahead: a :class:`Receiver` takes from the buffer exactly what is asked for.
"""

from __future__ import annotations

import re
from typing import Protocol, TypeVar
from urllib.parse import unquote_to_bytes

import attrs

from imageserver.errors import (
    GobDecodeError,
    LimitExceeded,
    PeerClosed,
    RemoteProtocolError,
)
from imageserver.gob import parse_message_length
from imageserver.srpc.limit import Limit

GOB, JSON = "gob", "JSON"


@attrs.frozen
class Endpoint:
    """Where calls can be made.

    Attributes:
        path: the target of the request; those for gob have any others below them.
        over_tls: whether calls are secured.
        coder: how values travel: :data:`GOB` or :data:`JSON`.
    """

    path: bytes
    over_tls: bool
    coder: str

    def is_at(self, path: bytes) -> bool:
        """Whether a path leads here."""
        return path.startswith(self.path) if self.coder == GOB else path == self.path


UNSECURED = Endpoint(b"/_goSRPC_/", False, GOB)
SECURED = Endpoint(b"/_go_TLS_SRPC_/", True, GOB)
JSON_UNSECURED = Endpoint(b"/_SRPC_/unsecured/JSON", False, JSON)
JSON_SECURED = Endpoint(b"/_SRPC_/TLS/JSON", True, JSON)
ENDPOINTS = (UNSECURED, SECURED, JSON_UNSECURED, JSON_SECURED)

PLAIN_PAGES = frozenset(
    UNSECURED.path + page
    for page in (b"getHostname", b"listMethods", b"listPublicMethods")
)

ACCEPTED = b"HTTP/1.0 200 Connected to Go SRPC\n\n"
DENIED = "access to method denied"
LONG_MESSAGE_BYTES = 16 << 10
_ANY_LENGTH = 1 << 64

T_co = TypeVar("T_co", covariant=True)


class Want(Protocol[T_co]):
    """Something to take from the front of a buffer."""

    def take(self, buffer: bytearray) -> T_co | None:
        """Remove it from ``buffer`` and return it; ``None`` if it is not all there.

        Raises:
            RemoteProtocolError: it can never come about.
        """


@attrs.frozen
class Line:
    """A line; it is returned without the LF. ``limit`` counts bytes before the LF."""

    limit: int
    name: Limit = Limit.LINE

    def take(self, buffer: bytearray) -> bytes | None:
        """See :class:`Want`."""
        end = buffer.find(b"\n", 0, self.limit + 1)
        if end < 0:
            if len(buffer) > self.limit:
                text = f"line longer than {self.limit} bytes"
                raise LimitExceeded(self.name, text)
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line


@attrs.frozen
class LongMessage:
    """A gob message of which only the length was taken; ``length`` bytes follow.

    Whoever wants it takes them in pieces: copying them all would take too long.
    """

    length: int


@attrs.frozen
class Message:
    """A gob message of at most ``limit`` bytes, returned without its length."""

    limit: int

    def take(self, buffer: bytearray) -> bytes | LongMessage | None:
        """See :class:`Want`; of a message of more than 16 KiB only the length."""
        try:
            found = parse_message_length(buffer[:9], _ANY_LENGTH)
        except GobDecodeError as error:
            raise RemoteProtocolError(str(error)) from error
        if found is None:
            return None
        length, size = found
        if length > self.limit:
            raise LimitExceeded(Limit.MESSAGE, "invalid message length")
        if length > LONG_MESSAGE_BYTES:
            del buffer[:size]
            return LongMessage(length)
        end = size + length
        if len(buffer) < end:
            return None
        message = bytes(buffer[size:end])
        del buffer[:end]
        return message


@attrs.frozen
class Data:
    """Raw bytes: whatever is there, at least one and at most ``limit``."""

    limit: int

    def take(self, buffer: bytearray) -> bytes | None:
        """See :class:`Want`."""
        if not buffer:
            return None
        with memoryview(buffer) as view:
            data = bytes(view[: self.limit])  # copied once
        del buffer[: self.limit]
        return data


@attrs.frozen
class Exactly:
    """So many raw bytes."""

    size: int

    def take(self, buffer: bytearray) -> bytes | None:
        """See :class:`Want`."""
        if len(buffer) < self.size:
            return None
        data = bytes(buffer[: self.size])
        del buffer[: self.size]
        return data


class Receiver:
    """What has arrived and was not asked for yet.

    Attributes:
        skips_newline: whether a line end would not count if it came next.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ended = False
        self._reason = ""
        self.skips_newline = False

    def __len__(self) -> int:
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._buffer += data
        if self.skips_newline:
            self._skip_newline()

    def receive_eof(self, reason: str = "") -> None:
        """Nothing more will arrive; ``reason`` says why, if that is known."""
        self._ended = True
        self._reason = f": {reason}" if reason else ""

    def take(self, want: Want[T_co]) -> T_co | None:
        """The next thing, or ``None`` if it has to be waited for.

        Raises:
            RemoteProtocolError: the peer broke a rule or a limit.
            PeerClosed: the thing is not complete, and nothing more will arrive.
        """
        is_undecided = self.skips_newline and self._buffer == b"\r"
        thing = None if is_undecided else want.take(self._buffer)
        if thing is None and self._ended:
            what = "unexpected EOF" if self._buffer else "EOF"
            raise PeerClosed(what + self._reason)
        return thing

    def skip_newline(self) -> None:
        """Drop a line end that comes next, now or later, if one does."""
        self.skips_newline = True
        self._skip_newline()

    def _skip_newline(self) -> None:
        if not self._buffer or self._buffer == b"\r":
            return  # nobody knows yet
        self.skips_newline = False
        for newline in (b"\n", b"\r\n"):
            if self._buffer.startswith(newline):
                del self._buffer[: len(newline)]
                return

    def rest(self) -> bytes:
        """Everything that is there, for whoever takes over."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


class Anything:
    """At least one byte, which is left where it is."""

    def take(self, buffer: bytearray) -> bool | None:
        """See :class:`Want`."""
        return True if buffer else None


@attrs.frozen
class Request:
    """The head of an HTTP request.

    Attributes:
        method: for example ``CONNECT``.
        path: the target without its query.
        query: the query, raw.
        head: the whole head, with CRLF line ends.
    """

    method: bytes
    path: bytes
    query: bytes
    head: bytes

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint that the path belongs to, if any."""
        if self.path in PLAIN_PAGES:
            return None
        found = (endpoint for endpoint in ENDPOINTS if endpoint.is_at(self.path))
        return next(found, None)

    @property
    def is_query_well_formed(self) -> bool:
        """Whether all escapes are complete, and no semicolon stands for ``&``."""
        return not re.search(rb"%(?![0-9a-fA-F]{2})|;", self.query)

    @property
    def method_powers(self) -> bool:
        """Whether the caller wants to use its method powers."""
        for pair in self.query.split(b"&"):
            name, _, value = pair.partition(b"=")
            if unquote_to_bytes(name) == b"doNotUseMethodPowers":
                return unquote_to_bytes(value) != b"true"  # the first one counts
        return True


@attrs.frozen
class Head:
    """The head of an HTTP request of up to ``limit`` bytes; lines end in LF or CRLF."""

    limit: int

    def take(self, buffer: bytearray) -> Request | None:
        """See :class:`Want`."""
        if buffer and not buffer[:1].isalpha():
            raise RemoteProtocolError("not HTTP")  # no need to wait for the rest
        ends = [
            end + len(mark)
            for mark in (b"\n\n", b"\n\r\n")
            if (end := buffer.find(mark, 0, self.limit)) >= 0
        ]
        if not ends:
            if len(buffer) >= self.limit:
                text = f"head longer than {self.limit} bytes"
                raise LimitExceeded(Limit.HEADER, text)
            return None
        lines = [line.rstrip(b"\r") for line in bytes(buffer[: min(ends)]).split(b"\n")]
        del buffer[: min(ends)]
        parts = lines[0].split(b" ")
        if len(parts) != 3 or not all(parts) or not parts[2].startswith(b"HTTP/1."):
            raise RemoteProtocolError("malformed request line")
        path, _, query = parts[1].partition(b"?")
        return Request(parts[0], path, query, b"\r\n".join(lines[:-1]) + b"\r\n")


def split_method(line: bytes) -> tuple[str, str]:
    """Service and method of a method line.

    Raises:
        ValueError: it has not exactly one dot; the text is for the client.
    """
    text = line.decode("utf-8", "backslashreplace")
    service, dot, method = text.partition(".")
    if not dot or "." in method:
        raise ValueError(f"malformed Service.Method: {text}")
    return service, method


def error_line(text: str) -> bytes:
    """An error as a line; line ends inside would break the framing."""
    flat = text.strip("\r\n").replace("\r", " ").replace("\n", " ")
    if not flat.strip():
        flat = "unknown error"  # white space alone would mean success to some
    return flat.encode("utf-8", "backslashreplace") + b"\n"


def parse_status_line(line: bytes) -> tuple[int, str]:
    """Code and text of the answer to CONNECT.

    Raises:
        RemoteProtocolError: it is not HTTP.
    """
    version, _, rest = line.rstrip(b"\r").partition(b" ")
    code, _, _ = rest.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not re.fullmatch(rb"\d{3}", code):
        raise RemoteProtocolError(f"malformed HTTP response {line[:100]!r}")
    return int(code), rest.decode("latin-1")
