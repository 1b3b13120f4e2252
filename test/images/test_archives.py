"""Archives: made, verified, and images brought back from them."""

from __future__ import annotations

import hashlib
import hmac
import stat

import pytest
import recorded

from imageserver import gob
from imageserver.errors import (
    AccessDenied,
    ImageExists,
    ImageNotFound,
    InvalidImage,
    InvalidName,
    RequestError,
)
from imageserver.gob import Time
from imageserver.images.archive import make_archive, read_archive
from imageserver.images.archives import Archives
from imageserver.model.hash import hash_of
from imageserver.model.image import Image, ImageArchive
from imageserver.testing import POWERFUL, make_caller, make_image, scanned

A, B = b"first object", b"second"
NOW_S = 1_700_000_000
ADMIN, ANYBODY = make_caller("admin", powers=True), make_caller(powers=True)
DIRECTORY = recorded.DIRECTORY / "image"


@pytest.fixture
def stores(owned):
    """Stores with an image of joe that has objects."""
    return owned


@pytest.fixture
def archives(stores) -> Archives:
    """Archives of the images in them."""
    return Archives(stores.images)


def foreign(name: str, image: Image) -> bytes:
    """An archive that somebody else has made and signed."""
    signed = gob.Encoder().encode(ImageArchive(name, image))
    return signed + hmac.digest(b"another key", signed, "sha512")


def test_round_trip(stores, archives) -> None:
    """A deleted image comes back as it was; its name is free for nothing else."""
    before = stores.stored("dir/x")
    data = archives.make("dir/x")
    stores.images.delete("dir/x", POWERFUL)
    with pytest.raises(RequestError, match="cannot add previously deleted image"):
        stores.add("dir/x", before, POWERFUL)
    assert archives.restore(data, Time.ZERO, ADMIN) == "dir/x"
    assert stores.stored("dir/x") == before
    assert stores.counts() == stores.recount()
    with pytest.raises(ImageExists, match=r"^image: dir/x already exists$"):
        archives.restore(data, Time.ZERO, ADMIN)


def test_readable_by_others(stores, archives) -> None:
    """An archive is what other servers read: a value and the signature behind it."""
    data = archives.make("dir/x")
    decoded = gob.decode(data, ImageArchive)
    assert decoded.end == len(data) - 64
    assert decoded.value == ImageArchive("dir/x", stores.stored("dir/x"))
    key = (stores.root / ".secret").read_bytes()
    assert data[-64:] == hmac.digest(key, data[:-64], hashlib.sha512)


def test_recorded(stores) -> None:
    """An archive of the recorded server is genuine where its key is."""
    key = (DIRECTORY / "archive-secret.bin").read_bytes()
    (stores.root / ".secret").write_bytes(key)
    stores.put_objects(
        *[bytes.fromhex(entry["hex"]) for entry in recorded.load("image/objects")]
    )
    data = (DIRECTORY / "archive.bin").read_bytes()
    expected = gob.decode(data, ImageArchive).value
    name = Archives(stores.images).restore(data, Time.ZERO, ADMIN)
    assert name == expected.image_name
    assert stores.stored(name).created_on == expected.image.created_on


def test_every_bit_is_signed(archives) -> None:
    """Whatever is changed in an archive, it is not ours any more."""
    data = archives.make("dir/x")
    key = archives._secret.key
    assert read_archive(data, key).is_genuine
    for position in range(len(data) - 64, len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        assert not read_archive(bytes(changed), key).is_genuine
    image = scanned(make_image({"a": A}))
    assert read_archive(foreign("x", make_image({"a": A})), key).image.filter == (
        image.filter
    )


def test_foreign(stores, archives) -> None:
    """An archive that is not ours makes a new image, of the caller, from now."""
    image = make_image({"a": A}, created_by="joe", created_on=Time(5))
    archives.restore(foreign("dir/new", image), Time.ZERO, ADMIN)
    stored = stores.stored("dir/new")
    assert (stored.created_by, stored.created_on) == ("admin", Time(NOW_S))
    assert stores.counts() == stores.recount()


def test_foreign_does_not_revive(stores, archives) -> None:
    """It does not get the name of a deleted image, and the key stays a secret."""
    image = stores.stored("dir/x")
    stores.images.delete("dir/x", POWERFUL)
    with pytest.raises(RequestError) as caught:
        archives.restore(foreign("dir/x", image), Time.ZERO, ADMIN)
    assert str(caught.value) == "cannot add previously deleted image: dir/x"
    assert (stores.root / "dir/x").read_bytes() == b""


@pytest.mark.parametrize("name", ["../x", "", "dir/.x", "dir/x~", "/x"])
def test_bad_names(archives, name: str) -> None:
    """An archive does not lead out of the directory."""
    with pytest.raises(InvalidName):
        archives.restore(foreign(name, make_image({})), Time.ZERO, ADMIN)


@pytest.mark.parametrize(
    "data",
    [b"", b"x" * 63, b"x" * 64, b"x" * 1000, make_archive("x", b"\0", b"k")[:-1]],
)
def test_malformed(archives, data: bytes) -> None:
    """What is no archive is refused."""
    with pytest.raises(InvalidImage):
        archives.restore(data, Time.ZERO, ADMIN)


def test_bytes_behind(archives) -> None:
    """Nothing stands between the image and the signature."""
    data = archives.make("dir/x")
    signed = data[:-64] + b"\3\4\0\2"
    signature = hmac.digest(archives._secret.key, signed, hashlib.sha512)
    with pytest.raises(InvalidImage, match="bytes behind the image"):
        archives.restore(signed + signature, Time.ZERO, ADMIN)


def test_missing_objects_and_directory(stores, archives) -> None:
    """An image comes back if its objects and its directory are there."""
    missing = make_image({"a": b"none"})
    with pytest.raises(InvalidImage, match=f"object: {hash_of(b'none').hex()} is not"):
        archives.restore(foreign("dir/y", missing), Time.ZERO, ADMIN)
    with pytest.raises(AccessDenied, match=r'^no metadata for: "none"$'):
        archives.restore(foreign("none/y", make_image({})), Time.ZERO, ADMIN)
    with pytest.raises(ImageNotFound, match=r"^image: dir/none does not exist$"):
        archives.make("dir/none")


def test_expiration(stores, archives) -> None:
    """One whose time has come gets a new one; one whose time has not waits for it."""
    image = make_image({"a": A}, expires_at=Time(NOW_S + 10), created_on=Time(9))
    stores.add("dir/soon", image, POWERFUL)
    data = archives.make("dir/soon")
    stores.images.delete("dir/soon", POWERFUL)
    with pytest.raises(RequestError, match=r"^cannot restore for: 10s$"):
        archives.restore(data, Time.ZERO, ADMIN)
    stores.now_ns += 10 * 10**9
    later = Time(NOW_S + 100)
    with pytest.raises(RequestError, match="maximum expiration time is"):
        archives.restore(data, Time(NOW_S + 10**7), ADMIN)
    with pytest.raises(RequestError, match="in the past"):
        archives.restore(data, Time(NOW_S + 9), ADMIN)
    archives.restore(data, later, ADMIN)
    stored = stores.stored("dir/soon")
    assert (stored.expires_at, stored.created_on) == (later, Time(9))


def test_permanent_stays_permanent(stores, archives) -> None:
    """An image without an expiration gets none by being restored."""
    data = archives.make("dir/x")
    stores.images.delete("dir/x", POWERFUL)
    archives.restore(data, Time(NOW_S + 60), ANYBODY)
    assert stores.stored("dir/x").expires_at.is_zero


def test_key(stores, archives) -> None:
    """The key is made once, for nobody else to read, and found again."""
    data = archives.make("dir/x")
    path = stores.root / ".secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == 32
    again = Archives(stores.images)
    assert read_archive(data, again._secret.key).is_genuine


def test_empty_key(stores) -> None:
    """An empty key is none: it is put aside, and another one made."""
    (stores.root / ".secret").touch()
    data = Archives(stores.images).make("dir/x")
    assert len((stores.root / ".secret").read_bytes()) == 32
    assert stores.images.quarantine.names() == [".secret"]
    assert not read_archive(data, b"").is_genuine


def test_failing_disk(stores, archives, monkeypatch) -> None:
    """Where the index fails, the name is that of a deleted image, as before."""
    data = archives.make("dir/x")
    stores.images.delete("dir/x", POWERFUL)

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(stores.index, "add_image", fail)
    with pytest.raises(Exception, match="cannot store image: dir/x"):
        archives.restore(data, Time.ZERO, ADMIN)
    assert (stores.root / "dir/x").read_bytes() == b""
    monkeypatch.undo()
    archives.restore(data, Time.ZERO, ADMIN)
    assert stores.counts() == stores.recount()
