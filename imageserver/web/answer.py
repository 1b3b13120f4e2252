"""Answers to requests, before they are sent."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from imageserver.errors import RequestError
from imageserver.web.visit import Visit

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
BINARY = "application/octet-stream"

_CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FOREIGN_CONTENT = {
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'"
}
"""For what others have stored: whatever it is, nothing in it is run or loaded."""

_COMPRESSED_TYPES = ("text/", JSON, "image/svg")
_WORTH_COMPRESSING = 1024
_LEVEL = 4
_GZIP = 31


class PageError(RequestError):
    """A page cannot be shown.

    Attributes:
        status: the HTTP status.
        advice: what to try.
    """

    def __init__(self, status: int, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.advice = advice


@attrs.frozen
class Answer:
    """What is sent.

    Attributes:
        body: all of it, or what gives its pieces, which is run in a thread.
        content_type: with the charset.
        status: the HTTP status.
        headers: more headers; they go before the usual ones.
        length: of the body if it comes in pieces; ``None``: nobody knows.
    """

    body: bytes | Iterator[bytes]
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    length: int | None = None

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers to send."""
        headers = _SECURITY_HEADERS | {"Content-Type": self.content_type}
        if isinstance(self.body, bytes):
            headers["Content-Length"] = str(len(self.body))
        elif self.length is not None:
            headers["Content-Length"] = str(self.length)
        return headers | dict(self.headers)


def html(text: str, status: int = 200) -> Answer:
    """A page."""
    return Answer(_encode(text), HTML, status)


def plain(text: str, status: int = 200) -> Answer:
    """Text."""
    return Answer(_encode(text), TEXT, status)


def lines(items: Iterable[str]) -> Answer:
    """Text, a line each."""
    return plain("".join(f"{item}\n" for item in items))


def as_json(value: Any) -> Answer:
    """JSON."""
    return Answer(json.dumps(value, indent=4).encode(), JSON)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def prepare(answer: Answer, visit: Visit) -> Answer:
    """Leave out what the browser has already; compress the rest if it likes that."""
    if not isinstance(answer.body, bytes):
        return _compress_pieces(answer, answer.body, visit)
    if answer.status != 200:
        return answer
    headers = dict(answer.headers)
    if answer.content_type != HTML and "ETag" not in headers:
        digest = hashlib.blake2b(answer.body, digest_size=16).hexdigest()
        headers["ETag"] = f'W/"{digest}"'
    headers.setdefault("Cache-Control", "no-cache")
    if is_known(headers.get("ETag", ""), visit):
        return Answer(b"", answer.content_type, 304, headers)
    body = answer.body
    if answer.content_type.startswith(_COMPRESSED_TYPES):
        headers["Vary"] = "Accept-Encoding"
        if len(body) >= _WORTH_COMPRESSING and accepts_gzip(visit):
            body = gzip.compress(body, _LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
    return attrs.evolve(answer, body=body, headers=headers)


def _compress_pieces(answer: Answer, pieces: Iterator[bytes], visit: Visit) -> Answer:
    """Compress an answer in pieces, if it may have any length."""
    if answer.length is not None or not accepts_gzip(visit):
        return answer
    headers = {"Vary": "Accept-Encoding", "Content-Encoding": "gzip"}
    return attrs.evolve(
        answer, body=_compressed(pieces), headers=headers | dict(answer.headers)
    )


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
    for piece in pieces:
        if compressed := compressor.compress(piece):
            yield compressed
    yield compressor.flush()


def is_known(tag: str, visit: Visit) -> bool:
    """Whether the browser has what goes by that entity tag."""
    known = [
        known.strip().removeprefix("W/")
        for known in visit.headers.get("if-none-match", "").split(",")
    ]
    return bool(tag) and (tag.removeprefix("W/") in known or known == ["*"])


def accepts_gzip(visit: Visit) -> bool:
    """Whether the browser takes compressed answers."""
    for coding in visit.headers.get("accept-encoding", "").split(","):
        name, *parameters = coding.replace(" ", "").lower().split(";")
        if name == "gzip":
            return not any(
                p in ("q=0", "q=0.0", "q=0.00", "q=0.000") for p in parameters
            )
    return False
