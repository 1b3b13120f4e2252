"""The framing of SRPC, without input or output."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imageserver.errors import LimitExceeded, PeerClosed, RemoteProtocolError
from imageserver.gob import uint_bytes
from imageserver.srpc.protocol import (
    ACCEPTED,
    JSON_SECURED,
    JSON_UNSECURED,
    LONG_MESSAGE_BYTES,
    SECURED,
    UNSECURED,
    Data,
    Head,
    Line,
    LongMessage,
    Message,
    Receiver,
    Request,
    error_line,
    parse_status_line,
    split_method,
)

HEAD_LIMIT = 1000


def receiver_of(data: bytes) -> Receiver:
    """A receiver that has got ``data``."""
    receiver = Receiver()
    receiver.receive_data(data)
    return receiver


def request_of(target: bytes, method: bytes = b"CONNECT") -> Request:
    """The request for a target."""
    request = receiver_of(method + b" " + target + b" HTTP/1.0\n\n").take(Head(9999))
    assert request is not None
    return request


# --- any chunking -------------------------------------------------------------

lines = st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"_"))
messages = st.binary(min_size=1, max_size=300)
raw = st.binary(min_size=1, max_size=50)
things = st.lists(
    st.one_of(
        st.tuples(st.just("line"), lines),
        st.tuples(st.just("message"), messages),
        st.tuples(st.just("data"), raw),
    ),
    max_size=12,
)


def wire(kind: str, content: bytes) -> bytes:
    """A thing as it is sent."""
    if kind == "line":
        return content + b"\n"
    return uint_bytes(len(content)) + content if kind == "message" else content


def take_data(receiver: Receiver, missing: int) -> bytes | None:
    """Exactly so many raw bytes; nothing is taken if they are not there."""
    if len(receiver) < missing:
        return None
    taken = b""
    while len(taken) < missing:
        piece = receiver.take(Data(min(7, missing - len(taken))))
        assert piece
        taken += piece
    return taken


@settings(max_examples=150, deadline=None)
@given(things, st.data())
def test_any_chunking(conversation: list[tuple[str, bytes]], data: st.DataObject):
    """However the bytes are cut, the same things come out, and nothing is left."""
    stream = ACCEPTED + b"".join(wire(*thing) for thing in conversation)
    marks = st.lists(st.integers(0, len(stream)), max_size=20)
    cuts = sorted({0, len(stream), *data.draw(marks)})
    receiver = Receiver()
    taken = []
    wanted = [("line", ACCEPTED[:-2]), ("line", b""), *conversation]
    for start, end in pairwise(cuts):
        receiver.receive_data(stream[start:end])
        while len(taken) < len(wanted):
            kind, content = wanted[len(taken)]
            if kind == "data":
                thing = take_data(receiver, len(content))
            else:
                thing = receiver.take(Line(100) if kind == "line" else Message(300))
            if thing is None:
                break
            taken.append(thing)
    assert taken == [content for _, content in wanted]
    assert len(receiver) == 0


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"\n", b"\r\n"]),
    st.lists(st.sampled_from([b"Host: x", b"A: b", b"Long: " + b"y" * 50]), max_size=4),
    st.binary(max_size=20),
    st.data(),
)
def test_any_chunking_of_a_head(
    line_end: bytes, headers: list[bytes], rest: bytes, data: st.DataObject
):
    """A head is the same with either line end, however cut; what follows stays."""
    lines_ = [b"CONNECT /_goSRPC_/?a=b HTTP/1.1", *headers]
    stream = b"".join(line + line_end for line in lines_) + line_end
    cut = data.draw(st.integers(0, len(stream)))
    receiver = receiver_of(stream[:cut])
    request = receiver.take(Head(HEAD_LIMIT))
    if cut < len(stream):
        assert request is None
        receiver.receive_data(stream[cut:] + rest)
        request = receiver.take(Head(HEAD_LIMIT))
    else:
        receiver.receive_data(rest)
    assert request is not None
    assert request.head == b"".join(line + b"\r\n" for line in lines_) + b"\r\n"
    assert (request.method, request.path) == (b"CONNECT", UNSECURED.path)
    assert request.query == b"a=b"
    assert receiver.rest() == rest


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 3))
def test_garbage_never_crashes(data: bytes, which: int):
    """Whatever comes, a thing is taken, waited for, or refused."""
    want = (Line(20), Message(20), Data(20), Head(60))[which]
    try:
        receiver_of(data).take(want)
    except RemoteProtocolError:
        pass


# --- limits -------------------------------------------------------------------


def test_line_limit():
    """A line of the limit's length passes; one byte more is refused early."""
    assert receiver_of(b"x" * 10 + b"\nrest").take(Line(10)) == b"x" * 10
    assert receiver_of(b"x" * 10).take(Line(10)) is None
    for data in (b"x" * 11, b"x" * 11 + b"\n"):
        with pytest.raises(RemoteProtocolError, match="longer than 10 bytes"):
            receiver_of(data).take(Line(10))


def test_message_limit():
    """A message that is too long is refused when its length has come."""
    assert receiver_of(b"\x02ab").take(Message(2)) == b"ab"
    with pytest.raises(RemoteProtocolError):
        receiver_of(b"\x03").take(Message(2))


@pytest.mark.parametrize("length", [b"\x00", b"\xf6", b"\x80", b"\xf8" + b"\xff" * 8])
def test_impossible_message_lengths(length: bytes):
    """A length that is no length is the peer's fault, not a crash."""
    with pytest.raises(RemoteProtocolError):
        receiver_of(length).take(Message(100))


def test_message_waits_for_every_byte():
    """A message is not taken before its last byte is there, nor its length."""
    receiver = Receiver()
    for byte in b"\xfe\x01\x00" + b"z" * 255:
        receiver.receive_data(bytes([byte]))
        assert receiver.take(Message(256)) is None
    receiver.receive_data(b"zX")
    assert receiver.take(Message(256)) == b"z" * 256
    assert receiver.rest() == b"X"


def test_long_message():
    """Of a long message only the length is taken, without waiting for the rest."""
    longest = LONG_MESSAGE_BYTES
    short = b"\xfe" + longest.to_bytes(2) + bytes(longest)
    assert receiver_of(short).take(Message(1 << 20)) == bytes(longest)
    receiver = receiver_of(b"\xfe" + (longest + 1).to_bytes(2) + b"begin")
    assert receiver.take(Message(1 << 20)) == LongMessage(longest + 1)
    assert receiver.rest() == b"begin"
    with pytest.raises(LimitExceeded):
        receiver_of(b"\xfe" + (longest + 1).to_bytes(2)).take(Message(longest))


def test_data_limit():
    """Raw bytes come as they are, up to the limit, and none are made up."""
    receiver = receiver_of(b"abcde")
    assert [receiver.take(Data(3)), receiver.take(Data(3))] == [b"abc", b"de"]
    assert receiver.take(Data(3)) is None


def test_head_limit():
    """A head that does not end within the limit is refused."""
    with pytest.raises(RemoteProtocolError, match="longer than 50"):
        receiver_of(b"GET / HTTP/1.0\n" + b"A: b\n" * 20).take(Head(50))
    assert receiver_of(b"GET / HTTP/1.0\n" + b"A" * 34).take(Head(50)) is None


# --- the end ------------------------------------------------------------------


def test_eof():
    """What is complete is still given; then, the end is told from a truncation."""
    receiver = receiver_of(b"line\nrest")
    receiver.receive_eof()
    assert receiver.take(Line(10)) == b"line"
    with pytest.raises(PeerClosed, match=r"^unexpected EOF$"):
        receiver.take(Line(10))
    assert receiver.rest() == b"rest"
    with pytest.raises(PeerClosed, match=r"^EOF$"):
        receiver.take(Data(1))


# --- requests -----------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"CONNECT",
        b"CONNECT /_goSRPC_/",
        b"CONNECT /_goSRPC_/ FTP/1.0",
        b"CONNECT /_goSRPC_/ HTTP/2.0",
        b"CONNECT  HTTP/1.0",
        b"CONNECT /a b HTTP/1.0",
        b" CONNECT /a HTTP/1.0",
    ],
)
def test_malformed_request_lines(line: bytes):
    """Only method, target and HTTP/1.x make a request."""
    with pytest.raises(RemoteProtocolError):
        receiver_of(line + b"\n\n").take(Head(HEAD_LIMIT))


@pytest.mark.parametrize("first", [b"\x16\x03\x01", b"\x00", b"\n", b"{", b"\xff"])
def test_what_cannot_be_http_is_refused_at_its_first_byte(first: bytes):
    """Nobody waits for the end of a head that cannot be one."""
    with pytest.raises(RemoteProtocolError, match="not HTTP"):
        receiver_of(first).take(Head(HEAD_LIMIT))


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        (b"/_goSRPC_/", UNSECURED),
        (b"/_goSRPC_/xyz", UNSECURED),
        (b"/_goSRPC_/?doNotUseMethodPowers=true", UNSECURED),
        (b"/_goSRPC_", None),
        (b"/_goSRPC_/getHostname", None),
        (b"/_goSRPC_/listMethods", None),
        (b"/_goSRPC_/listMethods?x", None),
        (b"/_goSRPC_/listPublicMethods", None),
        (b"/_goSRPC_/listPublicMethods/", UNSECURED),
        (b"/_go_TLS_SRPC_/", SECURED),
        (b"/_go_TLS_SRPC_/listMethods", SECURED),
        (b"/_SRPC_/unsecured/JSON", JSON_UNSECURED),
        (b"/_SRPC_/unsecured/JSON/", None),
        (b"/_SRPC_/TLS/JSON", JSON_SECURED),
        (b"/_SRPC_/TLS/JSONx", None),
        (b"/", None),
        (b"host:443", None),
    ],
)
def test_endpoint(target: bytes, endpoint: bytes | None):
    """Gob paths match what is below them, but for the pages; JSON paths exactly."""
    assert request_of(target).endpoint == endpoint


@pytest.mark.parametrize(
    ("query", "powers"),
    [
        (b"", True),
        (b"?", True),
        (b"?doNotUseMethodPowers=true", False),
        (b"?a=b&doNotUseMethodPowers=true", False),
        (b"?doNotUse%4dethodPowers=tru%65", False),
        (b"?doNotUseMethodPowers=True", True),
        (b"?doNotUseMethodPowers=1", True),
        (b"?doNotUseMethodPowers", True),
        (b"?doNotUseMethodPowers=false&doNotUseMethodPowers=true", True),
        (b"?doNotUseMethodPowers=true&doNotUseMethodPowers=false", False),
        (b"?donotusemethodpowers=true", True),
    ],
)
def test_do_not_use_method_powers(query: bytes, powers: bool):
    """Only the exact value ``true`` counts, of the first parameter of that name."""
    assert request_of(UNSECURED.path + query).method_powers is powers


@pytest.mark.parametrize(
    ("query", "well_formed"),
    [
        (b"", True),
        (b"?a=%20&b", True),
        (b"?a=%zz", False),
        (b"?a=%4", False),
        (b"?%", False),
        (b"?a;b", False),
    ],
)
def test_malformed_query(query: bytes, well_formed: bool):
    """Incomplete escapes and semicolons make a query malformed."""
    assert request_of(UNSECURED.path + query).is_query_well_formed is well_formed


# --- texts --------------------------------------------------------------------


def test_split_method():
    """Service and method are what is before and behind the only dot."""
    assert split_method(b"ImageServer.CheckImage") == ("ImageServer", "CheckImage")
    assert split_method(b".LocalUpgradeToUnix") == ("", "LocalUpgradeToUnix")
    assert split_method(b"x.") == ("x", "")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"abc", "malformed Service.Method: abc"),
        (b"a.b.c", "malformed Service.Method: a.b.c"),
        (b"..", "malformed Service.Method: .."),
        (b"\xff\x80", "malformed Service.Method: \\xff\\x80"),
    ],
)
def test_malformed_method(line: bytes, text: str):
    """The text that the client gets names the line."""
    with pytest.raises(ValueError, match="malformed") as caught:
        split_method(line)
    assert str(caught.value) == text


@settings(deadline=None)
@given(st.text(max_size=60))
def test_error_line_is_one_line(text: str):
    """An error is one line, not an empty one, and never looks like success."""
    line = error_line(text)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert b"\r" not in line
    assert line.strip()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no\nsuch\r\nimage\n", b"no such  image\n"),
        ("unknown service: ", b"unknown service: \n"),
        (" \n", b"unknown error\n"),
        ("", b"unknown error\n"),
        ("\udcff", b"\\udcff\n"),
    ],
)
def test_error_line_texts(text: str, line: bytes):
    """Line ends become blanks, and what cannot be encoded is spelled out."""
    assert error_line(text) == line


def test_status_line():
    """Code and text of an answer; the text is compared whole."""
    accepted = ACCEPTED.split(b"\n")[0]
    assert parse_status_line(accepted) == (200, "200 Connected to Go SRPC")
    assert parse_status_line(b"HTTP/1.1 404 Not Found\r") == (404, "404 Not Found")
    assert parse_status_line(b"HTTP/1.1 405") == (405, "405")


@pytest.mark.parametrize(
    "line",
    [b"", b"SSH-2.0", b"HTTP/1.0", b"HTTP/1.0 abc", b"HTTP/1.0 " + b"9" * 5000],
)
def test_malformed_status_line(line: bytes):
    """Anything else is not HTTP, however long."""
    with pytest.raises(RemoteProtocolError, match="malformed HTTP response"):
        parse_status_line(line)
