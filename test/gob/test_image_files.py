"""Recorded files: images, archives, and what directories have besides their names."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
import recorded

from imageserver import gob
from imageserver.model.image import DirectoryMetadata, Image, ImageArchive

DIRECTORY = recorded.DIRECTORY / "image"
CHECKSUM_BYTES = 64


def read(name: str) -> bytes:
    """The content of a recorded file."""
    return (DIRECTORY / name).read_bytes()


def recorded_image() -> Image:
    """The image that all these files are about."""
    return recorded.from_notation(json.loads(read("image.json")), gob.Struct(Image))


def test_image() -> None:
    """An image file is the image, then the SHA-512 of its bytes."""
    data = read("image.bin")
    decoded = gob.decode(data, Image)
    assert decoded.value == recorded_image()
    assert data[decoded.end :] == hashlib.sha512(data[: decoded.end]).digest()


def test_image_again() -> None:
    """What we write for an image decodes to the same image."""
    written = gob.Encoder().encode(recorded_image())
    assert gob.decode(written, Image) == gob.Decoded(recorded_image(), len(written))


def test_archive() -> None:
    """An archive is an image without creator, signed with the server's secret."""
    data = read("archive.bin")
    decoded = gob.decode(data, ImageArchive)
    signed, signature = data[: decoded.end], data[decoded.end :]
    expected = hmac.digest(read("archive-secret.bin"), signed, "sha512")
    assert signature == expected
    assert decoded.value.image_name == "dir/img1"
    image = gob.evolve(recorded_image(), created_by="")
    assert gob.evolve(decoded.value.image, created_on=image.created_on) == image


def test_directory_metadata() -> None:
    """The file of a directory is its metadata and a SHA-512."""
    data = read("directory-metadata.bin")
    decoded = gob.decode(data, DirectoryMetadata)
    assert decoded.value == DirectoryMetadata(owner_group="daemon")
    assert data[decoded.end :] == hashlib.sha512(data[: decoded.end]).digest()


@pytest.mark.parametrize("name", ["image", "archive", "directory-metadata"])
def test_without_types(name) -> None:
    """Tools can read these files without knowing their types."""
    decoded = gob.decode(read(f"{name}.bin"))
    assert isinstance(decoded.value, dict)
    assert decoded.end == len(read(f"{name}.bin")) - CHECKSUM_BYTES
