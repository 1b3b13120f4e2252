"""The pages, asked for in memory."""

from __future__ import annotations

import datetime
import json

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from web.serving import Server

from imageserver.index.base import ImageRecord
from imageserver.objects.scrub import ScrubPass
from imageserver.srpc.access import Policy
from imageserver.srpc.credential_files import Credentials
from imageserver.srpc.expiry import Expiry


def test_calm(server: Server) -> None:
    """With nothing wrong the page says so, and carries the security headers."""
    status, headers, body = server.get("/")
    assert status == "HTTP/1.1 200 OK"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Nothing needs attention" in body
    assert body.startswith("<!DOCTYPE html>")


def test_attention(server: Server) -> None:
    """Insecure mode, damaged files, crashes and loading are named, worst first."""
    server.calls.policy = Policy(insecure=True)
    (server.objects.directory / ".quarantine").mkdir()
    for name in "abc":
        (server.objects.directory / ".quarantine" / name).write_bytes(b"1234")
    server.calls.accounting.methods["S.Open"].crashed = 2
    server.progress.finished = False
    server.progress.total = 7
    body = server.get("/")[2]
    texts = ["insecure mode", "3 damaged files", "2 calls ended", "loaded: 0 of 7"]
    places = [body.index(text) for text in texts]
    assert places == sorted(places)
    assert "Nothing needs attention" not in body
    assert 'in quarantine <b class="num">12 B</b>' in body


def test_no_check_yet(server: Server) -> None:
    """Before objects were checked the page says so."""
    body = server.get("/")[2]
    assert "none yet" in body
    assert "waiting" in body


def test_health_of_objects(server: Server) -> None:
    """The page tells how far the check of the objects is, and what it has found."""
    server.scrub.last = ScrubPass(0, 86_400 * 10**9, "", 12_345, 1, damaged=3)
    server.scrub.current = ScrubPass(0, position="80" * 64, objects=7, damaged=1)
    server.collection.total.objects = 17
    body = server.get("/")[2]
    for text in ("1970-01-02 00:00", "12\u202f345 objects, 3 damaged", "50.2 %"):
        assert text in body
    values = json.loads(server.get("/?output=json")[2])["health"]
    assert values["last_pass"]["damaged"] == 3
    assert values["current_pass"]["objects"] == 7
    assert (values["foreign_files"], values["collected_objects"]) == (7, 17)


def test_missing_objects(server: Server) -> None:
    """Missing objects are named with their images, which are no markup."""
    hash_ = b"\xab" * 64
    record = dict.fromkeys((field.name for field in attrs.fields(ImageRecord)), "")
    numbers = ("count", "bytes", "offset", "ns", "inode")
    record |= {name: 1 for name in record if name.endswith(numbers)}
    record |= {"owner_users": (), "owner_groups": (), "tags": {}}
    server.index.add_image(ImageRecord(**record), {hash_: 1})
    names = ("<b>", *(f"image{n}" for n in range(11)))
    server.missing.images = {hash_: names}
    body = server.get("/")[2]
    assert "1 objects that images need are missing" in body
    assert "&lt;b&gt;</a>" in body
    assert "image0</a>" in body
    assert "and 2 more" in body
    found = json.loads(server.get("/?output=json")[2])["health"]["missing"]
    assert found == [{"hash_hex": hash_.hex(), "images": list(names)}]


def test_troubled_objects(server: Server) -> None:
    """What keeps objects from being checked or removed is told."""
    server.scrub.halted = True
    server.obstacles.append("there is a war")
    body = server.get("/")[2]
    assert "reading them was given up" in body
    assert "cannot be removed: there is a war" in body


def test_certificates(server: Server) -> None:
    """Certificates that end soon or cannot be used are named, but no path is."""
    day = datetime.timedelta(days=1)
    now = datetime.datetime.fromtimestamp(0, datetime.UTC)  # the clock's time
    lifetimes = {"ended": -1, "ending": 6, "lasting": 200}
    server.credentials.current = Credentials(
        None,
        None,
        tuple(
            Expiry("CA", "/etc/x/CA.pem", f"CN={name}", now - 300 * day, now + n * day)
            for name, n in lifetimes.items()
        ),
    )
    server.credentials.problem = "/etc/x/key.pem is missing"
    body = server.get("/")[2]
    texts = ["certificate files cannot be used", "CN=ended has", "CN=ending expires"]
    places = [body.index(text) for text in texts]
    assert places == sorted(places)
    for text in ("CN=lasting expires", "CN=lasting has"):
        assert text not in body
    json_body = server.get("/?output=json")[2]
    values = json.loads(json_body)
    assert values["certificates"][1]["ends"] == "1970-01-07T00:00:00+00:00"
    assert values["certificates"][1]["file"] == "CA.pem"
    assert values["certificates_outdated"]
    assert "/etc/x" not in body + json_body


def test_health_agent(server: Server) -> None:
    """There is a link to the health agent of the same machine, by its name."""
    _, _, body = server.fetch("/", host="images.example.com:6971")
    assert b'href="http://images.example.com:6910/"' in body
    _, _, body = server.fetch("/", host='"><script>:1')
    assert b"<script>" not in body.replace(b'<script src="/static', b"")


def test_json(server: Server) -> None:
    """The same page as JSON."""
    status, headers, body = server.get("/?output=json")
    assert (status, headers["Content-Type"]) == ("HTTP/1.1 200 OK", "application/json")
    values = json.loads(body)
    assert (values["images"], values["slots"], values["ready"]) == (0, 100, True)


def test_health(server: Server) -> None:
    """The process is healthy while it loads, but not ready."""
    server.progress.finished = False
    assert server.get("/healthz")[2] == "OK"
    assert server.get("/readiness")[0] == "HTTP/1.1 503 Service Unavailable"
    server.progress.finished = True
    assert server.get("/readiness")[2] == "OK"


def test_methods(server: Server) -> None:
    """Both lists of methods are sorted, one a line."""
    assert server.get("/_goSRPC_/listMethods")[2] == "S.Closed\nS.Open\n"
    assert server.get("/_goSRPC_/listPublicMethods")[2] == "S.Open\n"


def test_style_sheet(server: Server) -> None:
    """The style sheet is small, cached, and all there is below its path."""
    _, headers, body = server.get("/static/style.css")
    assert headers["Content-Type"] == "text/css; charset=utf-8"
    assert "max-age" in headers["Cache-Control"]
    assert len(body) < 20_000
    for path in ("/static/", "/static/page.html", "/static/../site.py", "/nothing"):
        assert server.get(path)[0] == "HTTP/1.1 404 Not Found"


def test_host_is_escaped(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that comes from outside becomes markup."""
    monkeypatch.setattr("socket.getfqdn", lambda: "<script>alert(1)</script>")
    body = server.get("/")[2]
    assert "<script>" not in body
    assert "&lt;script&gt;" in body


@pytest.mark.parametrize("length", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_no_bodies(server: Server, length: str) -> None:
    """A request with a body is refused before any of it is kept."""
    head = f"POST / HTTP/1.1\r\n{length}\r\n\r\n".encode()
    transport = server.exchange(head, b"12345")
    assert transport.value().startswith(b"HTTP/1.1 413 Content Too Large\r\n")
    assert transport.value().count(b"HTTP/1.1") == 1
    assert transport.disconnecting


def test_no_text(server: Server) -> None:
    """What is no text is refused, and is not logged as an error of ours."""
    for head in (b"GET /%ff HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"):
        transport = server.exchange(head)
        assert transport.value().startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert transport.value().count(b"HTTP/1.1") == 1


def test_nothing_after_a_refusal(server: Server) -> None:
    """Behind a request that was refused nothing is looked at."""
    request = b"GET /healthz HTTP/1.1\r\n\r\n"
    transport = server.exchange(b"GET /healthz HTTP/7\r\n", b"\r\n", request, request)
    assert transport.value().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert transport.value().count(b"HTTP/1.1") == 1
    assert transport.disconnecting


def turn(clock: Clock) -> None:
    """Call what waits, and not what comes to it meanwhile, as a reactor does."""
    for call in [call for call in clock.calls if call.getTime() <= clock.seconds()]:
        function, arguments = call.func, call.args
        call.cancel()
        function(*arguments)


def test_one_request_a_turn(server: Server) -> None:
    """Many requests that come at once are answered one after the other."""
    protocol = server.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"GET /healthz HTTP/1.1\r\n\r\n" * 5)
    for answers in range(6):
        assert transport.value().count(b"HTTP/1.1 200") == answers
        turn(server.clock)
    protocol.dataReceived(b"GET /healthz HTTP/1.1\r\n\r\n")
    protocol.connectionLost(Failure(ConnectionDone()))
    turn(server.clock)
    assert transport.value().count(b"HTTP/1.1 200") == 5
    assert not server.clock.calls


def test_long_lines_in_the_log(server: Server) -> None:
    """A peer cannot make lines of the log as long as it likes."""
    with capturedLogs() as events:
        server.get("/" + "x" * 9_000)
    (line,) = [formatEvent(event) for event in events]
    assert line.startswith("GET /xxx")
    assert line.endswith(": 404")
    assert len(line) < 400


def test_files_of_pages_in_the_log(server: Server) -> None:
    """Style sheets and the like are not logged, unless something is wrong with them."""
    with capturedLogs() as events:
        server.get("/static/style.css")
        server.get("/static/nothing")
    (line,) = [formatEvent(event) for event in events]
    assert line.startswith("GET /static/nothing")


def test_reading_only(server: Server) -> None:
    """Pages are read; HEAD leaves the content out, other verbs are not allowed."""
    for verb, status in (("HEAD", b"200 OK"), ("DELETE", b"405 Method Not Allowed")):
        transport = server.exchange(f"{verb} /healthz HTTP/1.0\r\n\r\n".encode())
        assert status in transport.value().splitlines()[0]
        if verb == "HEAD":
            assert transport.value().endswith(b"\r\n\r\n")


def test_host_name_is_found_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking the name up may take long, so nobody can have it done again and again."""
    asked = []
    monkeypatch.setattr("socket.getfqdn", lambda: asked.append(1) or "host")
    for _ in range(3):
        assert server.get("/_goSRPC_/getHostname")[2] == "host\n"
    assert asked == [1]
