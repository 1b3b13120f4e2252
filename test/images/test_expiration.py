"""Letting images expire later, and for how long who may."""

from __future__ import annotations

import os
import threading

import attrs
import pytest

from imageserver import gob
from imageserver.errors import AccessDenied, ImageNotFound, RequestError
from imageserver.gob import Time
from imageserver.images.changes import Operation
from imageserver.images.expiration import ExpirationLimits, format_duration
from imageserver.model.image import Image
from imageserver.testing import POWERFUL, make_caller, make_image

A = b"first object"
NOW_S = 1_700_000_000
HOUR_S = 3_600
SOON, LATER = Time(NOW_S + HOUR_S), Time(NOW_S + 2 * HOUR_S, 7)
ADMIN, JOE = make_caller("admin", powers=True), make_caller("joe")


@pytest.fixture
def stores(owned):
    """Stores with an image of joe that expires."""
    image = make_image(
        {"a": A}, created_by="joe", expires_at=SOON, tags={"os": "x"}, owner_users=("",)
    )
    owned.add("dir/soon", image, POWERFUL)
    return owned


def test_later(stores) -> None:
    """The new time is in the file, in the index, and told; nothing else changes."""
    heard = []
    stores.images.changes.listen(heard.append, lambda: None)
    before = stores.stored("dir/soon")
    stores.images.change_expiration("dir/soon", LATER, JOE)
    assert stores.stored("dir/soon") == gob.evolve(before, expires_at=LATER)
    record = stores.index.image("dir/soon")
    assert record.expires_at_ns == LATER.to_nanoseconds()
    assert not record.is_being_rewritten
    assert [(c.operation, c.name, c.expires) for c in heard] == [
        (Operation.ADD_IMAGE, "dir/soon", True)
    ]
    assert stores.counts() == stores.recount()


def test_never(stores) -> None:
    """Who has power can make an image permanent; then it cannot be changed again."""
    stores.images.change_expiration("dir/soon", Time.ZERO, ADMIN)
    assert stores.stored("dir/soon").expires_at.is_zero
    assert not stores.index.image("dir/soon").expires
    with pytest.raises(RequestError, match=r"^image does not expire$"):
        stores.images.change_expiration("dir/soon", LATER, ADMIN)


def test_same_file_as_if_added_so(stores) -> None:
    """The file is byte for byte that of an image that was added with that time."""
    stores.images.change_expiration("dir/soon", LATER, JOE)
    image = gob.decode((stores.root / "dir/soon").read_bytes(), Image).value
    stores.add("dir/other", image, POWERFUL)
    contents = [(stores.root / f"dir/{n}").read_bytes() for n in ("soon", "other")]
    assert contents[0] == contents[1]


def test_unchanged(stores) -> None:
    """The same time again is a success without any effect."""
    before = (stores.root / "dir/soon").stat()
    stores.images.change_expiration("dir/soon", SOON, JOE)
    assert (stores.root / "dir/soon").stat() == before


@pytest.mark.parametrize(
    ("name", "time", "caller", "error", "text"),
    [
        ("dir/none", LATER, JOE, ImageNotFound, "image not found"),
        ("dir/x", LATER, JOE, RequestError, "image does not expire"),
        ("dir/soon", LATER, make_caller("eve"), AccessDenied, "no access to image"),
        ("dir/soon", Time(NOW_S + 60), JOE, RequestError, "cannot shorten"),
        ("dir/soon", Time.ZERO, JOE, AccessDenied, "not permitted to make image"),
        ("dir/soon", Time(NOW_S + 25 * HOUR_S), JOE, RequestError, "time is 1d0s$"),
        (
            *("dir/soon", Time(NOW_S + 731 * HOUR_S), ADMIN),
            *(RequestError, "time is 4w2d10h0m0s for you$"),
        ),
    ],
)
def test_refused(stores, name, time, caller, error, text) -> None:
    """What is refused changes nothing, and says why."""
    before = [stores.index.image(n) for n in ("dir/x", "dir/soon")]
    with pytest.raises(error, match=text):
        stores.images.change_expiration(name, time, caller)
    assert [stores.index.image(n) for n in ("dir/x", "dir/soon")] == before


def test_limits() -> None:
    """Each kind of caller has a limit of its own; an insecure server has none."""
    now_ns = NOW_S * 10**9
    limits = ExpirationLimits(regular_ns=10, privileged_ns=5)
    at_10 = Time.from_nanoseconds(now_ns + 10)
    at_11 = Time.from_nanoseconds(now_ns + 11)
    for caller in (JOE, ADMIN, make_caller("")):
        limits.check(caller, at_10, now_ns)
        with pytest.raises(RequestError, match="maximum expiration time is"):
            limits.check(caller, at_11, now_ns)
    anybody = make_caller(powers=True)
    limits.check(anybody, at_11, now_ns)
    limits.check(anybody, Time.ZERO, now_ns)
    limits.check(ADMIN, Time.ZERO, now_ns)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m0s"),
        (3_600, "1h0m0s"),
        (86_400, "1d0s"),
        (86_461, "1d1m1s"),
        (604_800, "1w0s"),
        (730 * 3_600, "4w2d10h0m0s"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    """Durations look as existing tools show them."""
    assert format_duration(seconds) == text


def test_expiring_image_is_read_meanwhile(stores, monkeypatch) -> None:
    """Whoever opens an image while it is rewritten gets it, old or new, and whole."""
    save, opened = stores.images.disk.save, []

    def read() -> None:
        stored = stores.images.open_stored("dir/soon")
        with open(stored.descriptor, "rb") as file:
            opened.append((stored.record.expires_at_ns, file.read()))

    def save_slowly(path, pieces, mode) -> None:
        reader = threading.Thread(target=read)
        reader.start()
        save(path, pieces, mode)
        readers.append(reader)

    readers = []
    monkeypatch.setattr(stores.images.disk, "save", save_slowly)
    stores.images.change_expiration("dir/soon", LATER, JOE)
    readers[0].join()
    (expires_at_ns, content) = opened[0]
    assert gob.decode(content, Image).value.expires_at.to_nanoseconds() == expires_at_ns


def test_damaged(stores) -> None:
    """A file that somebody else has changed is not rewritten."""
    path = stores.root / "dir/soon"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(Exception, match="changed by somebody else"):
        stores.images.change_expiration("dir/soon", LATER, JOE)
    os.utime(path)
    assert path.read_bytes().endswith(b"x")


def test_damaged_after_crash(open_stores, stores) -> None:
    """A file that is damaged after a crash in a change is put aside at the start."""
    record = stores.index.image("dir/soon")
    stores.index.replace_image(attrs.evolve(record, is_being_rewritten=True))
    (stores.root / "dir/soon").write_bytes(b"garbage")
    stores.index.close()
    again = open_stores()
    assert sorted(again.index.image_names()) == ["dir/x"]
    assert not (again.root / "dir/soon").exists()
    assert list((again.root / ".quarantine").iterdir())
