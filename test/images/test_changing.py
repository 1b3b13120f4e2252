"""Deleting and expiring images, making directories, and who may do what."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from imageserver.errors import (
    AccessDenied,
    ImageNotFound,
    StoreError,
)
from imageserver.gob import Time
from imageserver.images.permissions import check_image_change
from imageserver.model.hash import hash_of
from imageserver.srpc.access import ANONYMOUS, Caller
from imageserver.testing import POWERFUL, make_caller, make_image

A, B = b"first object", b"second"
NOW_S = 1_700_000_000


@pytest.fixture
def stores(owned):
    """Stores that belong to somebody."""
    return owned


@pytest.mark.parametrize(
    ("who", "existing", "refusal"),
    [
        (make_caller(powers=True), True, None),
        (make_caller("joe"), True, None),
        (make_caller("ann"), True, None),
        (make_caller("bob"), True, None),
        (make_caller("eve", "admins"), True, None),
        (make_caller("eve", "staff"), True, None),
        (make_caller("eve", "others"), True, "no access to image"),
        (make_caller("eve"), True, "no access to image"),
        (make_caller("eve", ""), True, "no access to image"),
        (Caller(ANONYMOUS, False), True, "no access to image"),
        (make_caller("", "admins"), True, "no access to image"),
        (make_caller("joe"), False, "no access to image"),
        (make_caller("eve", "staff"), False, None),
        (make_caller("eve", "admins"), False, "no access to image"),
        (make_caller(powers=True), False, None),
    ],
)
def test_permissions(stores, who, existing, refusal) -> None:
    """Those with power, the owners of an image and of its directory may change it."""
    record = stores.index.image("dir/x") if existing else None
    if refusal is None:
        check_image_change(stores.index, who, "dir/x", record)
    else:
        with pytest.raises(AccessDenied, match=f"^{refusal}$"):
            check_image_change(stores.index, who, "dir/x", record)


def test_permission_without_directory(stores) -> None:
    """Only the immediate directory counts; one that is not known gives none."""
    stores.own("dir/sub", "")
    with pytest.raises(AccessDenied, match=r'^no metadata for: "dir/none"$'):
        check_image_change(stores.index, make_caller("x", "staff"), "dir/none/y", None)
    with pytest.raises(AccessDenied, match=r"^no access to image$"):
        check_image_change(
            stores.index, make_caller("x", "staff", ""), "dir/sub/y", None
        )


def test_delete(stores) -> None:
    """A deleted image leaves an empty file, and its objects are free."""
    descriptor = stores.images.files.open_image(stores.index.image("dir/x"))
    content = (stores.root / "dir/x").read_bytes()
    stores.images.delete("dir/x", make_caller("joe"))
    assert stores.index.image("dir/x") is None
    assert (stores.root / "dir/x").read_bytes() == b""
    assert stat.S_IMODE((stores.root / "dir/x").stat().st_mode) == 0o644
    assert stores.counts() == {}
    assert os.read(descriptor, 1 << 20) == content  # downloads go on
    os.close(descriptor)
    with pytest.raises(ImageNotFound, match=r"^image does not exist$"):
        stores.images.delete("dir/x", POWERFUL)


def test_delete_denied(stores) -> None:
    """Who may not delete an image does not."""
    with pytest.raises(AccessDenied):
        stores.images.delete("dir/x", make_caller("eve"))
    assert stores.index.image_names() == ["dir/x"]
    assert stores.counts() == stores.recount()


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_delete_damaged(stores, damage) -> None:
    """A damaged image can be deleted; its objects are kept too long, not too short."""
    path = stores.root / "dir/x"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    stores.images.delete("dir/x", POWERFUL)
    assert stores.index.image_names() == []
    assert path.read_bytes() == b""
    assert stores.counts() == {hash_of(A): 1}


def test_delete_on_full_disk(stores, monkeypatch) -> None:
    """An image can be deleted even if nothing can be written any more."""

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stores.images.disk, "create", fail)
    stores.images.delete("dir/x", POWERFUL)
    assert (stores.root / "dir/x").read_bytes() == b""


def test_delete_replaced(stores, monkeypatch) -> None:
    """Who may delete an image may not delete the one that replaced it meanwhile."""
    get = stores.index.image

    def change(name):
        record = get(name)
        stores.index.remove_image(name, {hash_of(A): 1}, 7)
        (stores.root / name).unlink()
        monkeypatch.setattr(stores.index, "image", get)
        stores.add(name, make_image({"a": A, "b": B}), POWERFUL)
        return record

    monkeypatch.setattr(stores.index, "image", change)
    with pytest.raises(ImageNotFound, match=r"^image: dir/x does not exist$"):
        stores.images.delete("dir/x", make_caller("joe"))
    assert stores.index.image_names() == ["dir/x"]
    assert stores.counts() == stores.recount()


def test_expire(stores) -> None:
    """Expired images go without a trace; their names can be used again."""
    for name, unix_s in (("soon", NOW_S + 10), ("later", NOW_S + 20)):
        image = make_image({"a": A, "b": B}, expires_at=Time(unix_s))
        stores.add(f"dir/{name}", image, POWERFUL)
    assert stores.images.expire() == []
    stores.now_ns = (NOW_S + 10) * 10**9
    assert stores.images.expire() == ["dir/soon"]
    assert stores.images.expire() == []
    assert sorted(stores.index.image_names()) == ["dir/later", "dir/x"]
    assert stores.files() == {"dir", "dir/x", "dir/later"}
    assert stores.counts() == stores.recount()
    stores.add("dir/soon", make_image({}), POWERFUL)


def test_expire_one_cannot(stores, monkeypatch) -> None:
    """An image that cannot be removed does not keep others, and stays whole."""
    for name in "abc":
        image = make_image({"a": A}, expires_at=Time(NOW_S + 10))
        stores.add(name, image, POWERFUL)
    remove = stores.images.disk.remove

    def fail(path):
        if path.name == "a":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        remove(path)

    monkeypatch.setattr(stores.images.disk, "remove", fail)
    stores.now_ns = (NOW_S + 10) * 10**9
    assert sorted(stores.images.expire()) == ["b", "c"]
    assert sorted(stores.index.image_names()) == ["a", "dir/x"]
    assert stores.counts() == stores.recount()
    monkeypatch.undo()
    assert stores.images.expire() == ["a"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_no_paths_leak(stores, monkeypatch, number) -> None:
    """What the system refuses is told without the server's paths."""

    def fail(*_):
        raise OSError(number, os.strerror(number), str(stores.root))

    for method in ("create", "rename", "truncate"):
        monkeypatch.setattr(stores.images.disk, method, fail)
    text = os.strerror(number)
    with pytest.raises(StoreError, match=f"^cannot store image: dir/y: {text}$"):
        stores.add("dir/y", make_image({}), POWERFUL)
    with pytest.raises(StoreError, match=f"^cannot make directory: dir/y: {text}$"):
        stores.images.make_directory("dir/y", False, POWERFUL)
    with pytest.raises(StoreError, match=f"^cannot delete image: dir/x: {text}$"):
        stores.images.delete("dir/x", POWERFUL)
    assert stores.index.image_names() == ["dir/x"]
    assert stores.counts() == stores.recount()
