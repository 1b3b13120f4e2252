"""What must hold for any value and any bytes."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
import recorded
from gob import wire
from gob.go_types import REGISTRY, TYPES, Inner, Point, Wrap
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.model.image import Image, ImageArchive
from imageserver.srpc.protocol import Message, Receiver

PROFILE = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

INTEGERS = {
    gob.Int: lambda bits: st.integers(-(1 << bits - 1), (1 << bits - 1) - 1),
    gob.Uint: lambda bits: st.integers(0, (1 << bits) - 1),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ANY_TEXT = st.binary(max_size=8).map(lambda b: b.decode("utf-8", "surrogateescape"))
ZONES = st.none() | st.integers(-1000, 1000).map(lambda m: m * 60 if m != -1 else 0)
SIMPLE: dict[gob.Type, st.SearchStrategy[Any]] = {
    gob.BOOL: st.booleans(),
    gob.FLOAT: st.floats(allow_nan=False),
    gob.COMPLEX: st.complex_numbers(allow_nan=False),
    gob.STRING: TEXT | ANY_TEXT,
    gob.BYTE_STRING: st.binary(max_size=8),
    gob.BYTES: st.binary(max_size=300),
    gob.TIME: st.builds(
        gob.Time, st.integers(-(10**11), 10**11), st.integers(0, 10**9 - 1), ZONES
    ),
}


def simple(type_: gob.Type) -> st.SearchStrategy[Any] | None:
    """Any value of a type that contains no others, else ``None``."""
    match type_:
        case gob.Int(bits=bits) | gob.Uint(bits=bits):
            return INTEGERS[type(type_)](bits)
        case gob.ByteArray(length=length):
            return st.binary(min_size=length, max_size=length)
    return SIMPLE.get(type_)


def values_of(type_: gob.Type, depth: int = 3) -> st.SearchStrategy[Any]:
    """Any value of a type that survives a round trip, up to some depth."""
    found = simple(type_)
    if found is None and depth < 0 and not isinstance(type_, gob.Array):
        found = st.just(type_.zero)
    if found is not None:
        return found
    match type_:
        case gob.Array(element=element, length=length):
            found = st.tuples(*[elements(element, depth)] * length)
        case gob.Slice(element=element):
            found = st.lists(elements(element, depth), max_size=3).map(tuple)
        case gob.Map(key=key, value=value):
            keys, items = elements(key, depth), elements(value, depth)
            found = st.none() | st.dictionaries(keys, items, max_size=3)
        case gob.Pointer(target=target):
            found = st.none() | elements(target, depth).filter(is_visible)
        case gob.Interface(registry=registry) if registry is not REGISTRY:
            contents = [values_of(t, depth - 1) for t in registry.by_name.values()]
            found = st.none() | st.one_of(contents)
        case gob.Interface():
            found = st.none() | CONTENTS
        case gob.Struct(cls=cls):
            fields = gob.struct_info(cls).fields
            found = st.builds(
                cls, **{f.attribute: values_of(f.type, depth - 1) for f in fields}
            )
    return found


def elements(type_: gob.Type, depth: int) -> st.SearchStrategy[Any]:
    """Any value inside of others but fields: only these can be nil."""
    while isinstance(type_, gob.Pointer):
        type_ = type_.target
    return values_of(type_, depth - 1)


def is_visible(value: Any) -> bool:
    """Whether a pointer to a value is not received as nil."""
    return bool(value)


CONTENTS = st.one_of(
    values_of(gob.Struct(Point)),
    values_of(gob.Struct(Inner)),
    st.builds(Wrap, TEXT, st.none() | values_of(gob.Struct(Point)), st.just(3)),
    values_of(gob.INT).map(lambda number: gob.InterfaceValue("int", number)),
    ANY_TEXT.map(lambda text: gob.InterfaceValue("string", text)),
)
ROUND_TRIPS = {
    name: type_
    for name, type_ in TYPES.items()
    if name.startswith(("main.", "map", "[]", "[", "time.Time", "float", "complex"))
}
ROUND_TRIPS["image"] = gob.Struct(Image)


def without_nil(value: Any, type_: gob.Type) -> Any:
    """What is received for a whole value, or for an element."""
    if isinstance(type_, gob.Map) and value is None:
        return {}
    return value


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_round_trip(name) -> None:
    """Any value of a declared type is received as it was sent."""
    type_ = ROUND_TRIPS[name]

    @settings(PROFILE, max_examples=20)
    @given(values_of(type_), values_of(type_))
    def check(first: Any, second: Any) -> None:
        encoder = gob.Encoder()
        stream = encoder.encode(first, type_) + encoder.encode(second, type_)
        expected = [without_nil(value, type_) for value in (first, second)]
        assert recorded.decode_all(stream, type_) == expected
        assert len(recorded.decode_all(stream)) == 2

    check()


def corpus() -> list[tuple[bytes, Any]]:
    """All recorded streams, and the types of their values."""
    found: list[tuple[bytes, Any]] = []
    for name in ("gob-primitives", "gob-composites"):
        for vector in recorded.load(name):
            found.append((bytes.fromhex(vector["hex"]), TYPES[vector["go_type"]]))
    for vector in recorded.load("gob-messages"):
        cls = recorded.message_class(vector["go_type"])
        found.append((bytes.fromhex(vector["hex"]), gob.Struct(cls)))
    for file, cls in (("image", Image), ("archive", ImageArchive)):
        data = (recorded.DIRECTORY / "image" / f"{file}.bin").read_bytes()
        found.append((data[: gob.decode(data).end], gob.Struct(cls)))
    return found


CORPUS = corpus()
LIMITS = gob.Limits(message_bytes=1 << 20)


def decode(data: bytes, type_: Any) -> None:
    """Decode whatever there is: nothing but the one error may come of it."""
    try:
        recorded.decode_all(data, type_)
    except GobDecodeError:
        pass


def feed(bodies: list[bytes], type_: Any) -> None:
    """The same with a decoder that is fed even after errors."""
    decoder = gob.Decoder(LIMITS)
    for body in bodies:
        try:
            decoder.feed(body, type_)
        except GobDecodeError:
            pass


def mutations(data: bytes, rng: random.Random) -> list[bytes]:
    """The same bytes with some changed, left out, repeated or put in."""
    found = []
    for _ in range(12):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(changed) + 1)
            end = min(len(changed), start + rng.choice([0, 1, 1, 1, 2, 8]))
            one = bytes(
                [rng.choice([0, 1, 2, 3, 4, 16, 127, 248, 255, rng.randrange(256)])]
            )
            piece = data[start : start + rng.randint(1, 40)]
            changed[start:end] = rng.choice([one, one, one, b"", piece])
        found.append(bytes(changed))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_mutations(seed) -> None:
    """Damaged streams give values or a GobDecodeError, whatever was damaged."""
    rng = random.Random(seed)
    for data, type_ in CORPUS:
        bodies = list(wire.messages(data[: gob.decode(data).end]))
        for mutant in mutations(data, rng):
            decode(mutant, type_)
            decode(mutant, None)
        place = rng.randrange(len(bodies))
        for mutant in mutations(bodies[place], rng):
            fed = [*bodies[:place], mutant, *bodies[place + 1 :]]
            feed(fed, type_)
            feed(fed, None)


def receive(pieces: list[bytes], type_: Any) -> list[Any]:
    """What a receiver takes and a decoder makes of it, while the bytes come in."""
    receiver, decoder = Receiver(), gob.Decoder(LIMITS)
    values = []
    for piece in pieces:
        receiver.receive_data(piece)
        while (message := receiver.take(Message(LIMITS.message_bytes))) is not None:
            value = decoder.feed(message, type_)
            if value is not gob.MORE:
                values.append(value)
    assert len(receiver) == 0
    return values


def stream_of(name: str) -> st.SearchStrategy[tuple[bytes, Any]]:
    """A stream with any value of a declared type, and the type."""
    type_ = ROUND_TRIPS[name]
    return values_of(type_).map(
        lambda value: (gob.Encoder().encode(value, type_), type_)
    )


STREAMS = st.sampled_from(CORPUS) | st.sampled_from(sorted(ROUND_TRIPS)).flatmap(
    stream_of
)


@settings(PROFILE, max_examples=500)
@given(STREAMS, st.booleans(), st.data())
def test_any_chunking(sent, untyped, data) -> None:
    """However a stream is cut on its way, the same values are received."""
    stream, type_ = sent
    if untyped:
        type_ = None
    marks = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    cuts = [0, *sorted(marks), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(cuts)]
    expected = recorded.decode_all(stream, type_)
    assert repr(receive(pieces, type_)) == repr(expected)  # some are not numbers
    assert expected


EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.integers(0, 9), st.binary(max_size=9)),
    min_size=1,
    max_size=4,
)


@settings(PROFILE, max_examples=1000)
@given(STREAMS, EDITS)
def test_any_mutation(sent, edits) -> None:
    """Whatever is done to a stream: values or a GobDecodeError come of it."""
    stream, type_ = sent
    mutated = bytearray(stream)
    for place, removed, put in edits:
        start = place % (len(mutated) + 1)
        mutated[start : start + removed] = put
    for wanted in (type_, None):
        decode(bytes(mutated), wanted)


def test_truncations() -> None:
    """A stream that ends early gives a GobDecodeError, at each of its bytes."""
    for data, type_ in CORPUS:
        end = gob.decode(data, type_).end
        for size in range(0, end, max(1, end // 40)):
            for wanted in (type_, None):
                with pytest.raises(GobDecodeError):
                    gob.decode(data[:size], wanted)


def test_types_of_others() -> None:
    """A stream is decoded as another type, or refused."""
    types = [type_ for _, type_ in CORPUS[::5]]
    for data, _ in CORPUS:
        for type_ in types:
            decode(data, type_)


@PROFILE
@given(st.binary(max_size=200), st.sampled_from(sorted(TYPES)))
def test_any_bytes(data, name) -> None:
    """Bytes that nobody wrote as gob are treated in the same way."""
    for type_ in (TYPES[name], None):
        decode(data, type_)
        feed([data], type_)


ID = st.integers(60, 70) | st.integers(0, 25)
DEFINITIONS = st.one_of(
    st.builds(wire.slice_, ID, ID),
    st.builds(wire.map_, ID, ID, ID),
    st.builds(wire.array, ID, ID, st.integers(-1, 3)),
    st.builds(wire.opaque, ID, st.integers(4, 6)),
    st.builds(
        lambda id_, fields: wire.struct(id_, **fields),
        ID,
        st.dictionaries(st.sampled_from("XYVABC"), ID, max_size=3),
    ),
)


@settings(PROFILE, max_examples=400)
@given(
    st.lists(DEFINITIONS, max_size=6),
    st.lists(st.tuples(ID, st.lists(st.integers(0, 3), max_size=30)), max_size=3),
    st.sampled_from(sorted(TYPES)),
)
def test_any_types(definitions, values, name) -> None:
    """Types that contain each other in strange ways are treated in the same way."""
    bodies = [wire.sint(id_) + bytes(numbers) for id_, numbers in values]
    for type_ in (TYPES[name], None):
        feed([*definitions, *bodies], type_)
        feed([*bodies[:1], *definitions, *bodies[1:]], type_)
