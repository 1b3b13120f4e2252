"""Objects that images need and that are not there are known, with the images."""

from __future__ import annotations

import os

import pytest
from twisted.logger import globalLogPublisher

from imageserver import gob
from imageserver.images import missing as missing_module
from imageserver.images.missing import MissingObjects
from imageserver.model.hash import hash_of
from imageserver.model.image import Annotation
from imageserver.model.image_messages import FindLatestImageRequest
from imageserver.testing import POWERFUL, make_image

A, B, C = b"first object", b"second", b"third one"


@pytest.fixture
def events():
    """What is logged."""
    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


@pytest.fixture
def missing(stores):
    """What looks for missing objects, in stores with some images."""
    stores.put_objects(A, B, C)
    stores.images.make_directory("dir", False, POWERFUL)
    stores.add("x", make_image({"a": A, "b": B}), POWERFUL)
    stores.add("dir/y", make_image({"a": A}), POWERFUL)
    log = Annotation(object_hash=hash_of(C))
    stores.add("z", make_image({"b": B}, build_log=log), POWERFUL)
    return MissingObjects(stores.images, stores.index)


def lose(stores, *contents):
    """Lose objects."""
    stores.index.forget_objects(map(hash_of, contents))


def test_nothing_is_missing(missing) -> None:
    """Where nothing is missing, nothing is found."""
    missing.refresh()
    assert missing.images == {}


def test_missing(stores, missing, events) -> None:
    """Each missing object is logged once, with its images, and forgotten when back."""
    lose(stores, A, C)
    missing.refresh()
    assert missing.images == {hash_of(A): ("dir/y", "x"), hash_of(C): ("z",)}
    texts = [event["log_format"].format(**event) for event in events]
    text = f"object {hash_of(A).hex()} is missing; images that need it: dir/y, x"
    assert text in texts
    assert texts[2:] == ["3 images are incomplete, and not sent"]
    missing.refresh()
    assert len(events) == 3
    stores.put_objects(A)
    missing.refresh()
    assert missing.images.keys() == {hash_of(C)}
    lose(stores, A)
    missing.refresh()
    beginnings = [event["log_format"][:6] for event in events[3:]]
    assert beginnings == ["{count", "object", "{count"]


@pytest.mark.parametrize("patterns", [0, 100])
def test_incomplete(stores, missing, monkeypatch, patterns) -> None:
    """Images are marked as long as something is missing, however they are searched."""
    monkeypatch.setattr(missing_module, "_MOST_PATTERNS", patterns)
    lose(stores, A, B)
    missing.refresh()
    assert stores.images.incomplete == {"x": 2, "dir/y": 1, "z": 1}
    stores.put_objects(A)
    missing.refresh()
    assert stores.images.incomplete == {"x": 1, "z": 1}
    lose(stores, C)
    missing.refresh()
    assert stores.images.incomplete == {"x": 1, "z": 2}
    stores.put_objects(B, C)
    missing.refresh()
    assert stores.images.incomplete == {}


def test_incomplete_image_is_not_the_latest(stores, missing) -> None:
    """The newest image that can be had is found instead."""
    request = FindLatestImageRequest(directory_name=".")
    assert stores.images.find_latest(request) == "x"
    lose(stores, A)
    missing.refresh()
    assert stores.images.find_latest(request) == "z"


def test_marks_outlast_the_daemon(stores, missing) -> None:
    """Marks are there again at the next start, before anything is looked at."""
    lose(stores, A)
    missing.refresh()
    marked = stores.images.incomplete
    stores.images.incomplete = {}
    again = MissingObjects(stores.images, stores.index)
    again.resume()
    assert stores.images.incomplete == marked == {"x": 1, "dir/y": 1}
    stores.put_objects(A)
    again.refresh()
    assert stores.images.incomplete == {}
    again.resume()
    assert stores.images.incomplete == {}


def test_mark_goes_with_the_image(stores, missing) -> None:
    """An image of the same name that is added later is complete."""
    lose(stores, C)
    missing.refresh()
    stores.images.files.remove(stores.index.image("z"), keep_name=False)
    stores.add("z", make_image({"b": B}), POWERFUL)
    assert stores.images.incomplete == {}


@pytest.mark.parametrize("size", [1, 7, 64, 100, 1 << 20])
def test_pieces(stores, missing, monkeypatch, size) -> None:
    """A hash is found wherever pieces of the image's file end."""
    monkeypatch.setattr(missing_module, "_READ_BYTES", size)
    lose(stores, B)
    missing.refresh()
    assert missing.images == {hash_of(B): ("x", "z")}


@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF])
def test_any_hash(stores, missing, byte) -> None:
    """A hash is found whatever bytes it is made of."""
    strange = bytes([byte]) * 32 + bytes(range(0, 256, 8))
    image = make_image({"a": A})
    inodes = dict(image.file_system.inodes)
    (number,) = inodes
    inodes[number] = gob.evolve(inodes[number], hash_=strange)
    image = gob.evolve(image, file_system=gob.evolve(image.file_system, inodes=inodes))
    path = stores.objects.path(strange)
    path.parent.mkdir(parents=True)
    path.write_bytes(A)
    stores.add("strange", image, POWERFUL)
    stores.index.forget_objects([strange])
    missing.refresh()
    assert missing.images == {strange: ("strange",)}


def test_limit(stores, missing, monkeypatch) -> None:
    """Of very many, some are named; the others come when these are back."""
    monkeypatch.setattr(missing_module, "_SHOWN", 2)
    lose(stores, A, B, C)
    missing.refresh()
    first = set(missing.images)
    assert len(first) == 2
    stores.index.add_objects(dict.fromkeys(first, 1), 1)
    missing.refresh()
    assert set(missing.images) == set(map(hash_of, (A, B, C))) - first


def test_unreadable_image(stores, missing, events) -> None:
    """An image that cannot be read does not hide the others."""
    os.truncate(stores.root / "x", 10)
    lose(stores, A)
    missing.refresh()
    assert missing.images == {hash_of(A): ("dir/y",)}
    assert "cannot look into image {name}: {error}" in [
        event["log_format"] for event in events
    ]


def test_restore(stores, missing) -> None:
    """Whoever restores objects is asked for what is missing, until it is there."""
    asked = []

    def restore(hashes):
        asked.append(set(hashes))
        if len(asked) == 2:
            stores.put_objects(A)

    missing.restore = restore
    missing.refresh()
    lose(stores, A, B)
    for _ in range(3):
        missing.refresh()
    both = {hash_of(A), hash_of(B)}
    assert asked == [both, both, {hash_of(B)}]


def test_stopping(stores, missing, events) -> None:
    """When the daemon stops, nobody looks any further, and nothing wrong is logged."""
    lose(stores, A)
    missing.stop()
    missing.refresh()
    assert missing.images == {}
    assert events == []
