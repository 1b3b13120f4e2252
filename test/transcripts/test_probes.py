"""Our server answers odd requests as the recorded server did, or better.

Each probe is what a test client sent to the recorded server, step by step, and what
came back.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import recorded
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from transcripts.conversation import ACCEPTED, Stream
from transcripts.memory import CHUNKINGS
from transcripts.replay import Server

from imageserver import gob
from imageserver.srpc.tls import KeyPair, ServerTLS
from imageserver.srpc.trust import Trust

PROBES = {probe["name"]: probe["exchange"] for probe in recorded.load("probes")}

SECURED = {
    "GET on TLS endpoint",
    "TLS endpoint accepted, then garbage instead of ClientHello",
    "listMethods TLS-required server, no cert",
    "unsecured CONNECT, TLS required",
    "unsecured JSON CONNECT, TLS required",
}
"""Probes of a server that requires TLS."""

OPEN_READS = {
    "doNotUseMethodPowers with unauthenticated reads",
    "unsecured CONNECT, TLS required, unauthenticated reads allowed",
}
"""The same, with ``-allowUnauthenticatedReads``."""

PUBLIC_ADD = {"listPublicMethods with -allowPublicAddObjects"}
"""Probes of a server with ``-allowPublicAddObjects``."""

IMAGES = {
    "gob: two calls without request data sent in one segment",
    "method name with spaces and CRLF",
}
"""Probes of a server with the three images :data:`IMAGE_NAMES`."""

IMAGE_NAMES = ("dir/frompython", "dir/exp1", "dir/jexp1")

Check = Callable[[bytes], bool]


def same(answer: bytes) -> Check:
    """The very bytes."""
    return lambda ours: ours == answer


def one_line(ours: bytes) -> bool:
    """An error line; the text is the decoder's."""
    return len(ours) > 1 and ours.endswith(b"\n") and ours.count(b"\n") == 1


def error_response(ours: bytes) -> bool:
    """A response of GetObjects that says what is wrong; the text is the decoder's."""
    stream = Stream(ours)
    response = stream.value(gob.Decoder())
    return list(response) == ["ResponseString"] and stream.rest == b""


def nothing(ours: bytes) -> bool:
    """No answer, since the connection is closed."""
    return ours == b""


Step = tuple[Check, str]
ERROR_AND_CLOSED: Step = (one_line, "closed")
GONE: Step = (nothing, "closed")

_BAD_REQUESTS = (
    "gob: request decoding error (value of a wrong type), then ping",
    "gob: message of length 0 as request, then ping",
    "gob: message length out of range as request, then ping",
    "gob: no field in common; the second message of the request is left in the stream "
    "and taken for a method name",
)
_BAD_GET_OBJECTS = (
    "gob: GetObjects, bad request: error text in the response, connection stays open"
)
_OUT_OF_STEP = [
    name for name in PROBES if name.endswith("is left over and answered like a ping")
]
_LATER = "json: newline of the request in a later segment: answered like a ping"
_PIPELINED = (
    "json: next call in the same segment as the request: its method name is lost"
)
_SYNTAX = "json: syntax error, then ping"
_HASHES = "json: hash in CheckObjects, short and long hex, upper case"
NO_IMAGE = b'\n{"ImageExists":false}'
REFUSED: Step = (one_line, "open")
DIFFERENCES: dict[tuple[str, int], Step] = {
    # Behind a request that cannot be decoded nobody knows where the next call begins:
    # the error is said, and the connection closed.
    **{(name, 2): ERROR_AND_CLOSED for name in _BAD_REQUESTS},
    **{(name, 3): GONE for name in _BAD_REQUESTS},
    (_BAD_GET_OBJECTS, 2): (error_response, "closed"),
    (_BAD_GET_OBJECTS, 3): GONE,
    # The line end behind a value is never answered, and nothing behind it gets lost.
    **{(name, 2): (same(NO_IMAGE), "open") for name in _OUT_OF_STEP},
    (_LATER, 3): (nothing, "open"),
    (_PIPELINED, 2): (same(NO_IMAGE + b"\n"), "open"),
    (_PIPELINED, 3): (same(NO_IMAGE), "open"),
    # As with gob, if what comes is not JSON. If it is, the connection is of use.
    (_SYNTAX, 2): ERROR_AND_CLOSED,
    (_SYNTAX, 3): GONE,
    ("json: wrong type, then ping", 2): REFUSED,
    # Hashes have all their digits.
    **{(_HASHES, number): REFUSED for number in (2, 4, 6)},
}
"""Steps, by probe and number, where our answers are to be others."""


@pytest.fixture(scope="module")
def tls() -> ServerTLS:
    """A server's certificate; it is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pair = KeyPair((certificate,), key)
    return ServerTLS(pair, Trust([certificate]))


@pytest.fixture
def serve(tmp_path: Path, tls: ServerTLS) -> Iterator[Callable[[str], Server]]:
    """Start a server that is right for a probe."""
    servers: list[Server] = []

    def start(name: str) -> Server:
        server = Server(
            tmp_path,
            tls=tls if name in SECURED | OPEN_READS else None,
            open_reads=name in OPEN_READS,
            public_add=name in PUBLIC_ADD,
        )
        servers.append(server)
        server.make_directories("dir")
        if name in IMAGES:
            server.add_objects()
            for image in IMAGE_NAMES:
                server.add_image(image)
        return server

    yield start
    for server in servers:
        server.stop()


_PATIENCE_S = 0.2
"""How long the recorded client waited for an answer."""


class Prober:
    """A client that sends the bytes of a probe."""

    def __init__(self, server: Server, chunking: str) -> None:
        """Probe ``server`` on a new connection."""
        self._clock = server.clock
        self._transport = server.connect()
        self._chunks = CHUNKINGS[chunking]

    def probe(self, step: dict[str, Any]) -> tuple[bytes, str]:
        """Send the bytes of a step; what comes, and whether the server has closed."""
        before = len(self._transport.sent())
        self._transport.deliver(self._chunks(bytes.fromhex(step["client_hex"])))
        self._transport.pump()
        self._clock.advance(_PATIENCE_S)
        self._transport.pump()
        state = "closed" if self._transport.ended else "open"
        return self._transport.sent()[before:], state


def is_page(step: dict[str, Any]) -> bool:
    """Whether the recorded server has answered with HTTP, and not the acceptance."""
    answer = bytes.fromhex(step["server_hex"])
    return answer.startswith(b"HTTP/") and not answer.startswith(ACCEPTED)


def read_page(answer: bytes) -> tuple[str, str, str]:
    """Status code, content type (if there is content) and content of a page."""
    head, _, content = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    version, code, _ = status.split(" ", 2)
    assert version in ("HTTP/1.0", "HTTP/1.1")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert int(headers.get("content-length", len(content))) == len(content)
    return code, headers["content-type"] if content else "", content.decode()


def sort_names(answer: bytes) -> bytes:
    """Lists of images with their names in order."""
    lists = answer.split(b"\n\n")
    return b"\n\n".join(b"\n".join(sorted(part.split(b"\n"))) for part in lists)


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize(
    "name",
    [name for name in PROBES if not is_page(PROBES[name][0])],
)
def test_connect(serve, name: str, chunking: str) -> None:
    """Each step gets the recorded bytes, and leaves the connection as recorded."""
    server = serve(name)
    prober = Prober(server, chunking)
    for number, step in enumerate(PROBES[name]):
        answer, state = prober.probe(step)
        expected = bytes.fromhex(step["server_hex"])
        if name in IMAGES:
            answer, expected = sort_names(answer), sort_names(expected)
        expected = expected.replace(b"}\n", b"}")  # we send no line end behind JSON
        is_right, after = DIFFERENCES.get(
            (name, number), (same(expected), step["after"])
        )
        assert is_right(answer), (number, answer, expected)
        assert state == after, number
    assert server.calls.accounting.crashed_calls == 0


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize(
    "name",
    [name for name in PROBES if is_page(PROBES[name][0])],
)
def test_page(serve, name: str, chunking: str) -> None:
    """A refusal or a page has the recorded code and content; then it is over."""
    (step,) = PROBES[name]
    answer, state = Prober(serve(name), chunking).probe(step)
    assert read_page(answer) == read_page(bytes.fromhex(step["server_hex"]))
    assert state == step["after"] == "closed"


def test_every_probe_is_used() -> None:
    """Every name in the tables above is that of a probe, and there are seven GETs."""
    assert {*SECURED, *OPEN_READS, *PUBLIC_ADD, *IMAGES} <= PROBES.keys()
    assert {(name, number) for name, number in DIFFERENCES} <= {
        (name, number) for name, steps in PROBES.items() for number in range(len(steps))
    }
    gets = [
        name
        for name, (step, *_) in PROBES.items()
        if step["client_hex"][:6] == "474554"
    ]
    assert len(gets) == 7
