"""Values that are kept as their bytes, and sent on without being looked at."""

from __future__ import annotations

import pytest
import recorded
from gob import wire
from gob.go_types import ANY, Empty, Inner, Outer, Point, Wrap

from imageserver import gob
from imageserver.errors import GobDecodeError, GobTypeError
from imageserver.gob import INT, STRING
from imageserver.gob.wiretypes import write_definition
from imageserver.model.image import Image
from imageserver.model.image_messages import AddImageRequest, GetImageResponse

RAW_IMAGE = gob.Raw(gob.Pointer(gob.Struct(Image)))


@gob.struct("GetImageResponse")
class RawResponse:
    """The response of GetImage, with an image that stays as it is."""

    image: gob.RawValue | None = gob.field("Image", RAW_IMAGE)


@gob.struct("AddImageRequest")
class RawRequest:
    """The request of AddImage, with an image that stays as it is."""

    image_name: str = gob.field("ImageName", STRING)
    image: gob.RawValue | None = gob.field("Image", RAW_IMAGE)


@gob.struct("RawHolder")
class RawHolder:
    """A raw value between two numbers."""

    before: int = gob.field("Before", INT)
    raw: gob.RawValue | None = gob.field("Raw", gob.Raw(ANY))
    after: int = gob.field("After", INT)


def vector(name: str) -> tuple[bytes, object]:
    """A recorded message, and its value as it is declared in the model."""
    (found,) = [v for v in recorded.load("gob-messages") if v["name"] == name]
    cls = {"AddImageRequest": AddImageRequest, "GetImageResponse": GetImageResponse}
    value = recorded.from_notation(found["values"][0], gob.Struct(cls[name]))
    return bytes.fromhex(found["hex"]), value


def uncut(raw: gob.RawValue) -> bytes:
    """A stream of the raw value alone, behind all the definitions it came with."""
    definitions = []
    for id_ in range(64, 128):
        if (found := raw.types.get(id_)) is not None:
            body = bytearray()
            write_definition(body, id_, found)
            definitions.append(bytes(body))
    return wire.stream(*definitions, last=wire.value(raw.type_id, raw.data))


def test_spliced_into_another_stream() -> None:
    """A raw value means the same in a stream of the same types."""
    _, response = vector("GetImageResponse")
    decoded = gob.decode(gob.Encoder().encode(response), RawResponse).value
    assert isinstance(decoded.image, gob.RawValue)
    again = gob.Encoder().encode(decoded)
    assert gob.decode(again, GetImageResponse).value.image == response.image
    assert again.endswith(decoded.image.data + b"\0")
    assert gob.decode(gob.Encoder().encode(RawResponse())).value == {}


def test_whole_value() -> None:
    """A raw value can be a whole value, a struct or something else."""
    for value in (Point(1, 2), Empty(), Inner("a")):
        type_ = gob.Raw(gob.Struct(type(value)))
        stream = gob.Encoder().encode(value)
        raw = gob.decode(stream, type_).value
        assert gob.Encoder().encode(raw, type_) == stream
    numbers = gob.Slice(INT)
    stream = gob.Encoder().encode((1, 2), numbers)
    raw = gob.decode(stream, gob.Raw(numbers)).value
    assert raw.data == b"\2\2\4"
    assert gob.Encoder().encode(raw, gob.Raw(numbers)) == stream


def test_pointer_to_struct_as_whole_value() -> None:
    """A pointer leaves no trace, at the top level neither."""
    point = Point(1, 2)
    pointer = gob.Pointer(gob.Struct(Point))
    assert gob.Encoder().encode(point, pointer) == gob.Encoder().encode(point)


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (gob.Slice(INT), gob.Slice(STRING)),
        (gob.Slice(INT), gob.Array(INT, 0)),
        (gob.Slice(INT), INT),
        (gob.Slice(gob.Slice(INT)), gob.Slice(gob.Slice(STRING))),
        (gob.Slice(gob.Slice(INT)), gob.Slice(gob.Slice(gob.Slice(INT)))),
        (gob.Slice(gob.TIME), gob.Slice(gob.Slice(INT))),
    ],
    ids=str,
)
def test_refused_if_types_differ(sent, wanted) -> None:
    """A raw value is not sent where it would mean something else."""
    raw = gob.decode(gob.Encoder().encode((), sent), gob.Raw(sent)).value
    with pytest.raises(GobTypeError, match="types differ"):
        gob.Encoder().encode(raw, gob.Raw(wanted))


def test_names_of_types_do_not_matter() -> None:
    """Raw values are sent where only the names of their types differ."""
    stream = gob.Encoder().encode({"k": 1}, gob.Map(STRING, INT, "Theirs"))
    raw = gob.decode(stream, gob.Raw(gob.Map(STRING, INT))).value
    again = gob.Encoder().encode(raw, gob.Raw(gob.Map(STRING, INT, "Ours")))
    assert gob.decode(again).value == {"k": 1}


def hold(*parts: bytes, definitions: tuple[bytes, ...] = ()) -> RawHolder:
    """Receive a :class:`RawHolder` in messages that end where these parts do."""
    decoder = gob.Decoder()
    holder = wire.struct(64, Before=wire.INT, Raw=wire.INTERFACE, After=wire.INT)
    for message in (holder, *definitions):
        decoder.feed(message, RawHolder)
    first, *others = parts
    value = decoder.feed(wire.sint(64) + b"\1\2\1" + first, RawHolder)
    for part in others:
        assert value is gob.MORE
        value = decoder.feed(part, RawHolder)
    return value


POINT_70 = wire.struct(70, X=wire.INT, Y=wire.INT)
POINT_IN_INTERFACE = wire.string("main.Point") + wire.sint(70) + b"\3\1\2\0"
END = b"\1\4\0"


def test_definitions_are_left_out() -> None:
    """A raw value that was cut is the one that was not."""
    name = wire.string("main.Point")
    value = wire.sint(70) + b"\3\1\2\0"
    whole = hold(name + value + END, definitions=(POINT_70,))
    assert whole.raw.data == POINT_IN_INTERFACE
    for parts in (
        (name, POINT_70, value + END),
        (name + POINT_70, value + END),
        (name, value + END),
    ):
        definitions = () if POINT_70 in b"".join(parts) else (POINT_70,)
        cut = hold(*parts, definitions=definitions)
        assert (cut.before, cut.after) == (1, 2)
        assert cut.raw.data == POINT_IN_INTERFACE


def test_types_inside_interfaces_must_agree() -> None:
    """Interface values name ids, which must mean the same in the other stream."""
    raw = hold(POINT_IN_INTERFACE + END, definitions=(POINT_70,)).raw
    with pytest.raises(GobTypeError, match="types differ"):
        gob.Encoder().encode(RawHolder(raw=raw))


def test_types_inside_interfaces_that_agree() -> None:
    """Interface values from a stream with our own ids can be sent."""

    @gob.struct("RawHolder")
    class Holder:
        """As the raw one."""

        before: int = gob.field("Before", INT)
        raw: object = gob.field("Raw", ANY)
        after: int = gob.field("After", INT)

    stream = gob.Encoder().encode(Holder(1, Wrap("w", Point(1, 2), 3), 2))
    raw = gob.decode(stream, RawHolder).value
    assert gob.Encoder().encode(raw) == stream


def test_length_of_interface_values() -> None:
    """Receivers may pass over an interface value by its length: it must be right.

    Go cuts nested interfaces in a way that leaves a wrong one. Without raw values
    these are accepted.
    """
    wrong = wire.string("int") + b"\4\3\0\x0a"
    with pytest.raises(GobDecodeError, match="another length than said"):
        hold(wrong + END)
    data = wire.stream(
        wire.slice_(64, wire.INTERFACE), last=wire.value(64, b"\0\1", wrong)
    )
    assert gob.decode(data, gob.Slice(ANY)).value == (gob.InterfaceValue("int", 5),)
    (nested,) = [
        v for v in recorded.load("gob-composites") if v["name"] == "iface-in-iface"
    ]

    @gob.struct("IfaceHolder")
    class Holder:
        """One of the recorded fields."""

        a: gob.RawValue | None = gob.field("A", gob.Raw(ANY))

    with pytest.raises(GobDecodeError, match="another length than said"):
        gob.decode(bytes.fromhex(nested["hex"]), Holder)


def test_recorded_message() -> None:
    """The image of a request that Go cut is kept as if it had not been cut."""
    stream, request = vector("AddImageRequest")
    raw = recorded.decode_all(stream, RawRequest)[0]
    assert raw.image_name == request.image_name
    assert len(list(wire.messages(stream))) > 2
    assert raw.image.data not in stream
    whole = uncut(raw.image)
    assert gob.decode(whole, Image).value == request.image
    assert gob.decode(whole, gob.Raw(gob.Struct(Image))).value.data == raw.image.data


def test_raw_value_of_wrong_class() -> None:
    """Something else than a raw value is refused."""
    with pytest.raises(GobTypeError, match="cannot encode"):
        gob.Encoder().encode(RawResponse(image=Outer()))
