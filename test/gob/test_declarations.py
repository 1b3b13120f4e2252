"""Our declarations, those of the Go program, and the real system's are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
import recorded
from gob import wire
from gob.test_go import FULL, LIMITS, MESSAGE_TYPES

from imageserver import gob
from imageserver.gob import wiretypes
from imageserver.gob.wiretypes import StructType

NOT_OURS = "EntriesByName"
"""A field that others have and leave empty."""


def structs(streams: Iterable[bytes]) -> dict[str, str]:
    """What the named structs are that streams define."""
    found: dict[str, str] = {}
    for stream in streams:
        for name, struct in defined(stream):
            assert found.setdefault(name, struct) == struct
    return found


def defined(stream: bytes) -> Iterator[tuple[str, str]]:
    """The named structs that one stream defines."""
    decoder = gob.Decoder(LIMITS)
    for message in wire.messages(stream):
        decoder.feed(message)
    types = decoder._types
    for id_ in range(wiretypes.FIRST_DEFINABLE_ID, wiretypes.FIRST_DEFINABLE_ID + 100):
        definition = types.get(id_)
        if isinstance(definition, StructType) and definition.name:
            name = definition.name
            yield name[0].upper() + name[1:], kind(types, id_)


def kind(types: wiretypes.WireTypes, id_: int) -> str:
    """What a type is, whatever its name, its id and the order of its fields."""
    definition = types.get(id_)
    if definition is None:
        return wiretypes.BASIC_NAMES[id_]
    if isinstance(definition, StructType):
        fields = {
            field.name: kind(types, field.id)
            for field in definition.fields
            if field.name != NOT_OURS
        }
        return str(dict(sorted(fields.items())))
    inner = ", ".join(kind(types, inner) for inner in definition.inner_ids())
    return f"{type(definition).__name__} {getattr(definition, 'length', '')} ({inner})"


@pytest.fixture(scope="module")
def recordings() -> dict[str, str]:
    """The structs of the real system."""
    vectors = recorded.load("gob-messages")
    streams = [bytes.fromhex(vector["hex"]) for vector in vectors]
    for name in ("image", "archive", "directory-metadata"):
        content = (recorded.DIRECTORY / "image" / f"{name}.bin").read_bytes()
        streams.append(content[: gob.decode(content).end])
    return structs(streams)


def test_ours(recordings) -> None:
    """We declare the fields that the real system has, with their kinds."""
    ours = structs(gob.Encoder().define(type_) for type_ in MESSAGE_TYPES.values())
    assert set(ours) == set(MESSAGE_TYPES)
    assert len(recordings) > 70
    assert ours.items() >= recordings.items()


def test_of_go(peer, recordings) -> None:
    """So does the Go program that is the other side of our tests, for all messages."""
    theirs = structs(peer.make(name, FULL) for name in MESSAGE_TYPES)
    assert theirs.items() >= recordings.items()
