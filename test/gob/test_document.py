"""The examples of ``docs/gob.md`` are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gob import wire

from imageserver import gob
from imageserver.model.file_system import FileSystem
from imageserver.model.image import Image
from imageserver.model.image_messages import AddImageRequest, AddScannedImageRequest
from imageserver.model.inode import SymlinkInode

DOCUMENT = (Path(__file__).parents[2] / "docs" / "gob.md").read_text()
BYTES = re.compile(r"\s*((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:   *\S.*)?")


def section(title: str) -> str:
    """What is below a heading."""
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def worked_example() -> bytes:
    """The bytes in front of the comments."""
    blocks = section("A worked example").split("```")[1::2]
    lines = [line for block in blocks for line in block.splitlines()]
    return b"".join(
        bytes.fromhex(found[1]) for line in lines if (found := BYTES.fullmatch(line))
    )


def test_worked_example() -> None:
    """The bytes are the request that the text says."""
    stream = worked_example()
    decoded = gob.decode(stream, AddImageRequest)
    assert decoded.end == len(stream)
    assert len(list(wire.messages(stream))) == 7
    inodes = {5: SymlinkInode(target=b"dash")}
    created_on = gob.Time(1_700_000_000, 0, 3600)
    image = Image(created_on=created_on, file_system=FileSystem(inodes))
    assert decoded.value == AddImageRequest("base/1", image)
    scanned = gob.decode(stream, AddScannedImageRequest).value
    assert scanned.image.file_system.inodes.numbers == {b"\5"}


ROWS = re.findall(
    r"^\| (-?\d+) \| `?([0-9a-f ]*?)`? ?\| `([0-9a-f ]+)` \|", section("Numbers"), re.M
)


@pytest.mark.parametrize(("number", "unsigned", "signed"), ROWS)
def test_numbers(number, unsigned, signed) -> None:
    """The numbers are encoded as the table says."""
    assert wire.sint(int(number)).hex(" ") == signed
    if unsigned:
        assert wire.uint(int(number)).hex(" ") == unsigned
    else:
        assert int(number) < 0


def test_small_examples() -> None:
    """Those in the list of kinds."""
    kinds = section("Kinds")
    for value, type_, text in (
        (17.0, gob.FLOAT, "fe 31 40"),
        (1, gob.INT, "03 04 00 02"),
    ):
        assert f"`{text}`" in kinds
        assert gob.Encoder().encode(value, type_).endswith(bytes.fromhex(text))


def test_limits() -> None:
    """The limits are those of the code."""
    limits = section("Limits")
    defaults = gob.DEFAULT_LIMITS
    assert f"{defaults.message_bytes >> 20} MiB if nothing is said" in limits
    assert f"| {defaults.elements:,};" in limits
    assert (defaults.types, defaults.fields) == (256, 256)
    assert "types in a stream, fields of a struct | 256 |" in limits
    assert f"nesting of values, and of types | {defaults.depth} |" in limits
