"""The framing of SRPC, as tests see it: what two peers said to each other, by calls.

This reads both directions of a connection side by side. It shares nothing with the
package but the gob decoder, which is used without schemas here: what comes out are
dictionaries with the fields that were really sent.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import recorded

from imageserver import gob

_NOT_COMPARED = ("EntriesByName", "ComputationTime")
_JSON_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)")
ACCEPTED = b"HTTP/1.0 200 Connected to Go SRPC\n\n"
PING = ""
UPGRADE = ".LocalUpgradeToUnix"


class Incomplete(Exception):
    """The bytes end in the middle of something."""


class Stream:
    """The bytes of one direction, read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def rest(self) -> bytes:
        """What was not read yet."""
        return self.data[self.position :]

    def until(self, mark: bytes) -> bytes:
        """Everything up to ``mark``, which is read, too, but not returned."""
        end = self.data.find(mark, self.position)
        if end < 0:
            raise Incomplete
        found = self.data[self.position : end]
        self.position = end + len(mark)
        return found

    def line(self) -> str:
        """A line, without its LF."""
        return self.until(b"\n").decode()

    def raw(self, size: int) -> bytes:
        """So many bytes."""
        if len(self.rest) < size:
            raise Incomplete
        self.position += size
        return self.data[self.position - size : self.position]

    def value(self, decoder: Decoder) -> Any:
        """A value, with all messages it consists of."""
        if isinstance(decoder, Json):
            return self._json_value(decoder)
        while True:
            found = gob.parse_message_length(self.rest[:9], 1 << 30)
            if found is None:
                raise Incomplete
            length, size = found
            message = self.raw(size + length)[size:]
            value = decoder.feed(message)
            if value is not gob.MORE:
                return value

    def _json_value(self, decoder: Json) -> Any:
        """A JSON value, and the line end behind it if there is to be one."""
        text = self.rest.decode("latin-1")  # a character for each byte
        skipped = len(text) - len(text.lstrip())
        try:
            _, end = json.JSONDecoder().raw_decode(text, skipped)
        except json.JSONDecodeError:
            raise Incomplete from None
        value = json.loads(self.raw(end))
        if decoder.ends_lines:
            assert self.raw(1) == b"\n"
        return value


@attrs.frozen
class Json:
    """Takes the place of a decoder where values travel as JSON.

    Attributes:
        ends_lines: whether there is a line end behind each value.
    """

    ends_lines: bool = True


Decoder = gob.Decoder | Json
Decoders = tuple[Callable[[], Decoder], Callable[[], Decoder]]


@attrs.define
class Call:
    """One call, or a ping.

    Attributes:
        method: ``Service.Method``, empty for a ping.
        line: the method line as it was sent.
        acceptance: the server's answer to that line; empty if it accepted.
        requests: what the client sent then: values and raw bytes.
        failure: the error line of a request-reply method, if there was one.
        answers: what the server sent: values, raw bytes and lines.
        sent: the client's bytes behind the method line.
        received: the server's bytes behind the accepting line.
        cut_off: the server closed the connection instead of answering.
        request_decoder: makes what values of the client are read with.
        answer_decoder: makes what values of the server are read with.
    """

    method: str
    line: bytes
    acceptance: str = ""
    requests: list[Any] = attrs.field(factory=list)
    failure: str = ""
    answers: list[Any] = attrs.field(factory=list)
    sent: bytes = b""
    received: bytes = b""
    cut_off: bool = False
    request_decoder: Callable[[], Decoder] = gob.Decoder
    answer_decoder: Callable[[], Decoder] = gob.Decoder

    @property
    def outcome(self) -> tuple[str, str, list[Any]]:
        """What the server said, in a form that can be compared."""
        return self.acceptance, self.failure, settle(self.method, self.answers)

    def request(self, cls: Any) -> Any:
        """The first request, as an instance of ``cls``."""
        return recorded.decode_all(self.sent, cls)[0]

    def response(self, cls: Any) -> Any:
        """The response of a request-reply method, as an instance of ``cls``."""
        assert self.received.startswith(b"\n")
        return recorded.decode_all(self.received[1:], cls)[0]


Read = Callable[[Stream, Decoder], list[Any]]
ReadAnswers = Callable[[Stream, Decoder, list[Any]], list[Any]]


def nothing(stream: Stream, decoder: Decoder) -> list[Any]:
    """The client sends nothing."""
    return []


def one_value(stream: Stream, decoder: Decoder) -> list[Any]:
    """One value."""
    return [stream.value(decoder)]


def uploads(stream: Stream, decoder: Decoder) -> list[Any]:
    """AddObjects: values, each followed by as many bytes as it says."""
    things = []
    while True:
        request = stream.value(decoder)
        things.append(request)
        length = request.get("Length", 0)
        if length == 0:
            return things
        things.append(stream.raw(length))


def bandwidth_chunks(stream: Stream, decoder: Decoder) -> list[Any]:
    """TestBandwidth to the server: chunks, each with a byte that is 0 for the last."""
    things = [stream.value(decoder)]
    assert things[0]["SendToServer"]
    while True:
        chunk = stream.raw(things[0].get("ChunkSize", 0) + 1)
        things.append(chunk)
        if chunk[-1] == 0:
            return things


def lines(stream: Stream, decoder: Decoder, requests: list[Any]) -> list[Any]:
    """Lines up to an empty one."""
    found = []
    while line := stream.line():
        found.append(line)
    return found


def values_until(end: Callable[[Any], bool]) -> ReadAnswers:
    """Values up to the one that is the end mark; that one is left out."""

    def read(stream: Stream, decoder: Decoder, requests: list[Any]) -> list[Any]:
        found = []
        while not end(value := stream.value(decoder)):
            found.append(value)
        return found

    return read


def upload_answers(stream: Stream, decoder: Decoder, requests: list[Any]) -> list[Any]:
    """One value for each object; fewer where the server gave up."""
    objects = [request for request in requests if isinstance(request, bytes)]
    return [stream.value(decoder) for _ in objects if stream.rest]


def contents(stream: Stream, decoder: Decoder, requests: list[Any]) -> list[Any]:
    """GetObjects: a value, then the objects, if there was no error."""
    response = stream.value(decoder)
    if response.get("ResponseString"):
        return [response]
    sizes = response.get("ObjectSizes") or ()
    return [response, *[stream.raw(size) for size in sizes]]


def endless_values(stream: Stream, decoder: Decoder, requests: list[Any]) -> list[Any]:
    """Values as long as there are some."""
    found = []
    while stream.rest:
        found.append(stream.value(decoder))
    return found


def single(stream: Stream, decoder: Decoder, requests: list[Any]) -> list[Any]:
    """One value behind the last request."""
    return [stream.value(decoder)]


@attrs.frozen
class Kind:
    """How the body of a streaming method is read."""

    requests: Read
    answers: ReadAnswers


STREAMING = {
    "ImageServer.GetFilteredImageUpdates": Kind(one_value, endless_values),
    "ImageServer.GetImageUpdates": Kind(nothing, endless_values),
    "ImageServer.ListDirectories": Kind(
        nothing, values_until(lambda v: not v.get("Name"))
    ),
    "ImageServer.ListImages": Kind(nothing, lines),
    "ImageServer.ListSelectedImages": Kind(one_value, lines),
    "ImageServer.ListUnreferencedObjects": Kind(
        nothing, values_until(lambda v: not v.get("Size"))
    ),
    "ObjectServer.AddObjects": Kind(uploads, upload_answers),
    "ObjectServer.GetObjects": Kind(one_value, contents),
    "ObjectServer.TestBandwidth": Kind(bandwidth_chunks, single),
}


def read_body(call: Call, client: Stream) -> None:
    """What the client sends once a call was accepted.

    Raises:
        Incomplete: there is more to come.
    """
    if call.method == PING:
        return
    kind = STREAMING.get(call.method)
    read = kind.requests if kind else one_value
    begin = client.position
    call.requests = read(client, call.request_decoder())
    call.sent = client.data[begin : client.position]


def read_connection(
    client: Stream, server: Stream, *, ends_lines: bool = True
) -> list[Call]:
    """All calls of a connection, after CONNECT, up to where the server gave up.

    Args:
        client: what the client said.
        server: what the server said.
        ends_lines: whether the server sends line ends behind values in JSON.
    """
    head = client.until(b"\n\n")
    assert head.startswith(b"CONNECT ")
    assert server.raw(len(ACCEPTED)) == ACCEPTED
    decoders: Decoders = (gob.Decoder, gob.Decoder)
    if b"JSON" in head:
        decoders = (Json, partial(Json, ends_lines))
    calls = []
    while client.rest and (server.rest or not calls):
        calls.append(_read_call(client, server, decoders))
    assert server.rest == b""
    return calls


def _read_call(client: Stream, server: Stream, decoders: Decoders) -> Call:
    line = client.until(b"\n") + b"\n"
    call = Call(line.strip().decode(), line, server.line())
    call.request_decoder, call.answer_decoder = decoders
    if call.acceptance or call.method == PING:
        return call
    begin = server.position
    if call.method == UPGRADE:
        _read_upgrade(call, client, server)
    else:
        read_body(call, client)
        if not server.rest and call.method not in STREAMING:
            call.cut_off = True
        else:
            _read_answers(call, server)
    call.received = server.data[begin : server.position]
    return call


def _read_answers(call: Call, server: Stream) -> None:
    kind = STREAMING.get(call.method)
    if kind is None:
        call.failure = server.line()
        if call.failure:
            return
    read = kind.answers if kind else single
    call.answers = read(server, call.answer_decoder(), call.requests)


def _read_upgrade(call: Call, client: Stream, server: Stream) -> None:
    begin = client.position
    theirs, ours = call.request_decoder(), call.answer_decoder()
    call.requests.append(client.value(theirs))
    call.answers.append(server.value(ours))
    if not call.answers[0].get("Error"):
        call.requests.append(client.value(theirs))
        call.answers.append(server.value(ours))
    call.sent = client.data[begin : client.position]


UPDATES = ("ImageServer.GetImageUpdates", "ImageServer.GetFilteredImageUpdates")


def end_of_list(updates: list[Any]) -> int:
    """Which of these updates is the one that ends the list of what is there."""
    named = [update.get("Name") or update.get("Directory") for update in updates]
    return named.index(None if None in named else "")


def settle(method: str, answers: list[Any]) -> list[Any]:
    """Answers with everything that may differ between two good servers taken out.

    Times become a mark, and what comes in no particular order is sorted.
    """
    settled = [without_times(answer) for answer in answers]
    if method in ("ImageServer.ListImages", "ImageServer.ListSelectedImages"):
        return sorted(settled)
    if method == "ImageServer.ListDirectories":
        return sorted(settled, key=lambda directory: directory["Name"])
    if method in UPDATES:
        end = end_of_list(settled)
        listed = sorted(settled[:end], key=lambda update: update.get("Name", ""))
        return [*listed, *settled[end:]]
    if method == "ObjectServer.TestBandwidth":  # the time may be zero, and left out
        return [{"ServerDuration": "<duration>"} | answer for answer in settled]
    if method == "ImageServer.ListUnreferencedObjects":
        return sorted(settled, key=lambda found: found["Hash"])
    return settled


def without_times(value: Any) -> Any:
    """A decoded value with a mark in place of each time and duration.

    In JSON, what is null or empty is left out, as is what the recorded server writes
    and nobody reads.
    """
    if isinstance(value, gob.Opaque) and value.type_name == "Time":
        return "<time>"
    if isinstance(value, str) and _JSON_TIME.fullmatch(value):
        return "<time>"
    if isinstance(value, gob.InterfaceValue):
        return gob.InterfaceValue(value.name, without_times(value.value))
    if isinstance(value, dict):
        return {
            name: _SETTLED.get(name, without_times)(field)
            for name, field in value.items()
            if field not in (None, [], "") and name not in _NOT_COMPARED
        }
    if isinstance(value, (tuple, list)):
        return tuple(without_times(item) for item in value)
    return value


def _archive(data: bytes | str) -> Any:
    """What is in an archive, without the signature."""
    archive = base64.b64decode(data) if isinstance(data, str) else data
    return [without_times(value) for value in recorded.decode_all(archive[:-64])]


_SETTLED: dict[str, Callable[[Any], Any]] = {
    "ServerDuration": lambda _: "<duration>",
    "ArchiveData": _archive,
}
"""How fields with these names are settled."""


@attrs.frozen
class Recording:
    """One entry of a file of recordings; each has one connection.

    Attributes:
        name: its name.
        head: the request that opens the connection.
        calls: what was called then.
        client_result: what the program printed that called.
    """

    name: str
    head: bytes
    calls: list[Call]
    client_result: list[str]

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Recording:
        """Take an entry of the file apart."""
        (connection,) = entry["connections"]
        streams = {"client": b"", "server": b""}
        for event in connection["events"]:
            streams[event["from"]] += bytes.fromhex(event.get("hex", ""))
        client = Stream(streams["client"])
        calls = read_connection(client, Stream(streams["server"]))
        head = Stream(client.data).until(b"\n\n") + b"\n\n"
        return cls(entry["name"], head, calls, entry["client_result"])


RECORDINGS, JSON_RECORDINGS = [
    {
        recording.name: recording
        for recording in map(Recording.read, recorded.load(f"transcripts-{coder}"))
    }
    for coder in ("gob", "json")
]
