"""What all answers have in common: compression, conditions, requests."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gallery import files_of, image_of_build
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from web.serving import Server, make_server

from imageserver import gob
from imageserver.web.flat_text import flatten
from imageserver.web.query import Query
from imageserver.web.search_words import parse_search
from imageserver.web.units import shorten, show_exact_moment, show_relative
from imageserver.web.visit import change_address


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages over one image."""
    path: Path = tmp_path_factory.mktemp("answers")
    server = make_server(path)
    image = image_of_build(1, 1)
    image = gob.evolve(image, release_notes=None, build_log=None)
    server.add("base/1", image, files_of(1).values())
    yield server
    server.index.close()


@pytest.mark.parametrize(
    "address",
    [
        "/listImage?base/1&output=text",
        "/listPackages?base/1&output=json",
        "/static/style.css",
    ],
)
def test_compression(server: Server, address: str) -> None:
    """Who takes compressed answers gets the same in fewer bytes."""
    _, headers, plain = server.fetch(address)
    assert "Content-Encoding" not in headers
    for accepted in ("gzip", "br, gzip;q=0.5", "GZIP"):
        _, headers, body = server.fetch(address, accept_encoding=accepted)
        assert headers["Content-Encoding"] == "gzip"
        assert headers["Vary"] == "Accept-Encoding"
        assert gzip.decompress(body) == plain
        assert len(body) < len(plain) / 2
    for refused in ("br", "gzip;q=0", "identity", "x-gzip-like"):
        assert server.fetch(address, accept_encoding=refused)[2] == plain


def test_small_answers(server: Server) -> None:
    """What is small already stays as it is."""
    _, headers, body = server.fetch("/healthz", accept_encoding="gzip")
    assert (body, "Content-Encoding" in headers) == (b"OK", False)


def test_conditions(server: Server) -> None:
    """What the browser has is not sent again until it has changed."""
    address = "/listPackages?base/1&output=json"
    _, headers, _ = server.fetch(address)
    code, again, body = server.fetch(address, if_none_match=headers["ETag"])
    assert (code, body, again["ETag"]) == (304, b"", headers["ETag"])
    other = server.fetch("/listImages?output=json")[1]["ETag"]
    assert server.fetch(address, if_none_match=other)[0] == 200


def test_head(server: Server) -> None:
    """HEAD has the headers of GET."""
    for address in ("/", "/listImage?base/1", "/showImage?nothing"):
        code, headers, body = server.fetch(address, "HEAD")
        assert (code, body) == (404 if "nothing" in address else 200, b"")
        assert "Content-Security-Policy" in headers


def test_errors_in_each_format(server: Server) -> None:
    """An error has the form that was asked for."""
    code, headers, body = server.fetch("/listImages?sort=x&output=json")
    assert (code, headers["Content-Type"]) == (400, "application/json")
    assert set(json.loads(body)) == {"error", "advice"}
    code, headers, body = server.fetch("/listImages?sort=x&output=text")
    assert (code, body) == (400, b"Images cannot be sorted by x.\n")


def test_damaged_image(server: Server) -> None:
    """A damaged image is an error of the server, and the log has more."""
    path = server.database.path("base/1")
    data = path.read_bytes()
    path.unlink()
    try:
        code, _, body = server.fetch("/showImage?base/1")
        assert code == 500
        assert b"corrupt image" in body
        assert str(path.parent).encode() not in body
    finally:
        path.write_bytes(data)


class Stuck:
    """A worker that never gets anything done."""

    def run(self, function: object, *args: object, **kwargs: object) -> Deferred:
        """See ``Worker``."""
        return Deferred()


def test_too_many_requests(tmp_path: Path) -> None:
    """So many wait for slow pages, and no more; quick ones go on."""
    server = make_server(tmp_path, slow=Stuck())
    for _ in range(20):
        assert server.exchange(b"GET /findPath HTTP/1.0\r\n\r\n").value() == b""
    transport = server.exchange(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert b" 200 OK" in transport.value()
    protocols = []
    for _ in range(21):
        protocol = server.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET /findPath HTTP/1.0\r\n\r\n")
        protocols.append(protocol)
        server.clock.advance(0)
    assert b" 503 " in transport.value().splitlines()[0]
    assert b"Retry-After: 5" in transport.value()
    for protocol in protocols:
        protocol.connectionLost(Failure(ConnectionDone()))
    server.index.close()


@pytest.mark.parametrize(
    ("raw", "names", "parameters"),
    [
        (b"base/1", ("base/1",), ()),
        (b"base%2F1&output=json", ("base%2F1", "base/1"), (("output", "json"),)),
        (b"a+b&x", ("a+b",), (("x", None),)),
        (b"%C3%A4&p=%FF+%26", ("%C3%A4", "ä"), (("p", "\udcff &"),)),
        (b"&&a=1=2&=", ("",), (("a", "1=2"), ("", ""))),
    ],
)
def test_queries(raw: bytes, names: tuple, parameters: tuple) -> None:
    """Names are as they were sent, and decoded; parameters follow."""
    query = Query.parse(raw, has_subject=True)
    assert (query.names, query.parameters) == (names, parameters)


def test_addresses_again() -> None:
    """An address with other parameters leads to the same thing."""
    query = Query.parse(b"a%26b%20c&x=%26&page=3&flag", has_subject=True)
    address = change_address("/showImage", query, {"page": 4, "x": None})
    assert address == "/showImage?a%26b%20c&flag&page=4"
    again = Query.parse(address.partition("?")[2].encode(), has_subject=True)
    assert again.names[-1] == "a&b c"
    assert again.get("page") == "4"
    assert Query.parse(b"a&" * 5000, has_subject=False).parameters[100:] == ()


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("a  B", "words", ("a", "B")),
        ('"a b" c', "words", ("a b", "c")),
        ("by:alice", "created_by", "alice"),
        ('by:"al ice"', "created_by", "al ice"),
        ("by:", "words", ("by:",)),
        ("what:ever", "words", ("what:ever",)),
        ("tag:a=b=c tag:d", "tags", (("a", "b=c"), ("d", None))),
        ("commit:1", "commit", "1"),
        ("has:p", "package", "p"),
        ("owner:g", "owner", "g"),
        ('"', "words", ()),
    ],
)
def test_search_words(text: str, field: str, value: object) -> None:
    """Words with a colon mean something special, if they are known."""
    assert getattr(parse_search(text).query, field) == value


def test_many_words() -> None:
    """More words than anybody needs are told of, and left out."""
    found = parse_search("x " * 50)
    assert len(found.query.words) == 20
    assert "only the first 20" in found.problem


def test_flat_text() -> None:
    """Values become lines, which nothing in them can break."""
    values = {"a": {"b": [1, None]}, "c": True, "d": "x\ny\\"}
    assert flatten(values) == "a.b.0 1\na.b.1 -\nc true\nd x\\ny\\\\\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "now"),
        (59, "59 s ago"),
        (-61, "in 1 min"),
        (7_300, "2 h ago"),
        (86_400 * 400, "1 y ago"),
    ],
)
def test_relative_times(seconds: float, text: str) -> None:
    """Times are told by their largest unit."""
    assert show_relative(seconds) == text


def test_odd_times_and_names() -> None:
    """No time is too far off to be told, and no name too long."""
    assert show_exact_moment(0) == "1970-01-01 00:00:00 UTC"
    assert show_exact_moment(1e30).endswith("s since 1970")
    assert shorten("a" * 17) == "a" * 17
    assert shorten("abcdefghij" * 10) == "abcdefgh…cdefghij"
