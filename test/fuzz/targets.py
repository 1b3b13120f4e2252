"""What is fuzzed: functions that take any bytes, and raise if a rule is broken.

The rule is for all: malformed input ends in the one exception that is meant for it.
Some have more to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import recorded

from imageserver import gob, gojson
from imageserver.errors import (
    GobDecodeError,
    GobTypeError,
    InvalidImage,
    JsonDecodeError,
    RemoteProtocolError,
)
from imageserver.images.admission import measure
from imageserver.images.canonical import make_image_file
from imageserver.model import image, image_messages, object_messages
from imageserver.model.image import Image, ScannedImage
from imageserver.model.image_messages import AddImageRequest, AddScannedImageRequest
from imageserver.model.inode_scan import TABLE
from imageserver.model.inode_table import InodeTable
from imageserver.model.tree import check_tree
from imageserver.srpc import messages as srpc_messages
from imageserver.srpc.coder import JsonText
from imageserver.srpc.deadlines import METHOD_LINE_BYTES
from imageserver.srpc.protocol import (
    Data,
    Head,
    Line,
    Message,
    Receiver,
    parse_status_line,
    split_method,
)

LIMITS = gob.Limits(message_bytes=1 << 24)
HEAD_LIMIT = 4096
MESSAGES: tuple[type, ...] = tuple(
    value
    for module in (image, image_messages, object_messages, srpc_messages)
    for value in vars(module).values()
    if hasattr(value, "__gob__") and value.__module__ == module.__name__
)


def decode(data: bytes, type_: type | None) -> Any:
    """The first value of a stream, or ``None``: a GobDecodeError."""
    try:
        return gob.decode(data, type_, LIMITS).value
    except GobDecodeError:
        return None


def run_decoder(data: bytes) -> None:
    """Any message of ours; the first byte says which."""
    if data:
        decode(data[1:], MESSAGES[data[0] % len(MESSAGES)])


def run_untyped(data: bytes) -> None:
    """All values of a stream, as they come."""
    try:
        recorded.decode_all(data)
    except GobDecodeError:
        pass


def read_again(table: InodeTable) -> Any:
    """The inodes of a table that was scanned."""
    encoder = gob.Encoder()
    definitions = encoder.define(TABLE)
    message = (
        gob.uint_bytes(encoder.type_id(TABLE) << 1) + b"\0" + b"".join(table.encoded)
    )
    data = definitions + gob.uint_bytes(len(message)) + message
    return gob.decode(data, TABLE).value


def run_scanner(data: bytes) -> None:
    """The scanner finds what the decoder finds, or both find an error."""
    read = decode(data, AddImageRequest)
    scanned = decode(data, AddScannedImageRequest)
    assert (read is None) == (scanned is None)
    if read is None:
        return
    systems = [r.image and r.image.file_system for r in (read, scanned)]
    assert (systems[0] is None) == (systems[1] is None)
    if systems[0] is None:
        return
    inodes, table = (system.inodes for system in systems)
    assert (inodes is None) == (table is None)
    if table is not None and not table.contradictions:
        assert read_again(table) == inodes
    summaries = [summary(system) for system in systems]
    if table is None or "is used twice" not in str(table.contradictions):
        assert summaries[0] == summaries[1]


def summary(file_system: Any) -> Any:
    """What the check of a tree says; the same text for all that is wrong."""
    try:
        return check_tree(file_system)
    except InvalidImage:
        return "invalid"


def run_splicer(data: bytes) -> None:
    """The file for an image that was checked holds that image, its totals made right.

    It is its own file, too: read and made again it is the same.
    """
    read, scanned = decode(data, Image), decode(data, ScannedImage)
    if scanned is None:
        return
    try:
        admitted = measure(scanned)
        pieces = make_image_file(admitted).pieces
    except InvalidImage:
        return
    stored = b"".join(pieces)
    found = admitted.summary
    expected = gob.evolve(
        read,
        file_system=gob.evolve(
            read.file_system,
            regular_count=found.regular_count,
            data_bytes=found.data_bytes,
            directory_count=found.directory_count,
        ),
    )
    assert gob.decode(stored, Image, LIMITS).value == expected
    again = measure(gob.decode(stored, ScannedImage, LIMITS).value)
    assert b"".join(make_image_file(again).pieces) == stored


WANTS = (
    Line(METHOD_LINE_BYTES),
    Message(1 << 20),
    Data(100),
    Head(HEAD_LIMIT),
)


def run_srpc(data: bytes) -> None:
    """The first byte says what is asked for; it comes the same however it is cut."""
    if not data:
        return
    want = WANTS[data[0] % len(WANTS)]
    whole = take_all(want, [data[1:]])
    if not isinstance(want, Data):
        assert whole == take_all(want, [data[i : i + 1] for i in range(1, len(data))])
    for thing in whole:
        if isinstance(want, Line) and isinstance(thing, bytes):
            split_line(thing)
        if isinstance(want, Head) and thing is not REFUSED:
            assert thing.endpoint is None or thing.path.startswith(b"/_")
            assert thing.method_powers in (True, False)
            assert thing.is_query_well_formed in (True, False)


REFUSED = object()


def take_all(want: Any, pieces: list[bytes], *, once: bool = False) -> list[Any]:
    """Whatever comes, up to the first thing that is refused; ``once``: one thing."""
    receiver = Receiver()
    taken: list[Any] = []
    for piece in pieces:
        receiver.receive_data(piece)
        try:
            while (thing := receiver.take(want)) is not None:
                taken.append(thing)
                if once:
                    return taken
        except RemoteProtocolError:
            return [*taken, REFUSED]
    return taken


def split_line(line: bytes) -> None:
    """A line as the name of a method, and as an answer."""
    try:
        assert all("." not in part for part in split_method(line.strip()))
    except ValueError as error:
        assert "malformed" in str(error)
    try:
        assert 0 <= parse_status_line(line)[0] <= 999
    except RemoteProtocolError:
        pass


def run_json(data: bytes) -> None:
    """Any message of ours in JSON; the first byte says which.

    Its end is found however it is cut, and what it holds can be written and read again.
    """
    if not data:
        return
    text = data[1:]
    bytewise = [text[i : i + 1] for i in range(len(text))]
    whole = take_all(
        JsonText(len(text), LIMITS.depth, lambda _: None), [text], once=True
    )
    assert whole == take_all(
        JsonText(len(text), LIMITS.depth, lambda _: None), bytewise, once=True
    )
    cls = MESSAGES[data[0] % len(MESSAGES)]
    try:
        value = gojson.decode(text, cls, LIMITS)
    except JsonDecodeError:
        return
    assert whole == [text.rstrip(b" \t\r\n")]
    try:
        written = gojson.encode(value)
    except GobTypeError:
        return  # scanned images, and times out of range
    assert gojson.decode(written, cls, LIMITS) == value


@attrs.frozen
class Target:
    """Something to fuzz.

    Attributes:
        run: what takes the input.
        choices: if not 0, the first byte of the input chooses among so many.
    """

    run: Callable[[bytes], None]
    choices: int = 0

    def inputs(self, stream: bytes) -> list[bytes]:
        """The inputs in which a stream comes with every choice."""
        if not self.choices:
            return [stream]
        return [bytes([choice]) + stream for choice in range(self.choices)]


TARGETS = {
    "decoder": Target(run_decoder, len(MESSAGES)),
    "untyped": Target(run_untyped),
    "scanner": Target(run_scanner),
    "splicer": Target(run_splicer),
    "srpc": Target(run_srpc, len(WANTS)),
    "json": Target(run_json, len(MESSAGES)),
}
