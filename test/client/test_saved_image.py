"""Files with an image and all its objects."""

from __future__ import annotations

import io

import pytest

from imageserver import gob
from imageserver.client.saved_image import (
    SavedImageReader,
    SavedImageWriter,
    objects_of,
    read_archive,
    still_expires_in_ns,
)
from imageserver.errors import ImageServerError
from imageserver.gob import Time
from imageserver.model.hash import hash_of
from imageserver.model.image import Annotation, ImageArchive
from imageserver.testing import make_image

FILES = {"a": b"first", "b": b"second" * 50_000, "c": b"first"}


def write() -> bytes:
    """A file with two objects."""
    file = io.BytesIO()
    writer = SavedImageWriter(file, b"archive")
    for content in sorted(set(FILES.values())):
        writer.begin(hash_of(content), len(content))
        file.write(content)
    return file.getvalue()


def test_round_trip() -> None:
    """What was written is read, object by object, where it is in the file."""
    data = write()
    reader = SavedImageReader(io.BytesIO(data))
    assert reader.read_archive() == b"archive"
    found: list[bytes] = []
    reader.read_objects(lambda _, size, start: found.append(data[start : start + size]))
    assert found == sorted(set(FILES.values()))


def test_damage() -> None:
    """Wherever a file is cut, or changed, that is an error and no other object."""
    data = write()
    for cut in (0, 1, 5, 30, 100, len(data) // 2, len(data) - 1):
        reader = SavedImageReader(io.BytesIO(data[:cut]))
        with pytest.raises(ImageServerError, match=r"EOF|empty|not a saved image"):
            reader.read_archive()
            reader.read_objects(lambda *_: None)
    changed = bytearray(data)
    changed[-10] ^= 1
    reader = SavedImageReader(io.BytesIO(changed))
    reader.read_archive()
    with pytest.raises(ImageServerError, match="corrupted object"):
        reader.read_objects(lambda *_: None)


def test_objects_of_an_image() -> None:
    """Each object comes once, notes last."""
    note = hash_of(b"note")
    image = make_image(FILES, build_log=Annotation(object_hash=note))
    found = objects_of(image)
    assert dict(found) == {
        hash_of(b"first"): 5,
        hash_of(FILES["b"]): 300_000,
        note: None,
    }
    assert found[-1] == (note, None)


def test_archives() -> None:
    """An archive tells name and expiration; anything else is none."""
    for expires_at, left in (
        (Time.ZERO, None),
        (Time.from_nanoseconds(100), None),
        (Time.from_nanoseconds(500), 300),
    ):
        image = make_image({}, expires_at=expires_at)
        data = gob.Encoder().encode(ImageArchive("name", image))
        archive = read_archive(data + bytes(64))
        assert archive.image_name == "name"
        assert still_expires_in_ns(archive, 200) == left
    with pytest.raises(ImageServerError, match="malformed archive"):
        read_archive(b"nonsense")
