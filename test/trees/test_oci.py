"""Container images: their layers, and the directories that they come in."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imageserver.model.inode import RegularInode
from imageserver.model.paths import walk
from imageserver.trees import decompression
from imageserver.trees.oci_layers import scan_layers
from imageserver.trees.oci_layout import LayoutWriter, MalformedLayout, OciLayout
from imageserver.trees.tar import MalformedArchive

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def make_layer(path: Path, *members: str) -> bytes:
    """A layer with files; ``x/`` is a directory, ``a=b`` a hard link to ``b``."""
    with tarfile.open(path, "w") as archive:
        for member in members:
            name, is_link, target = member.partition("=")
            info = tarfile.TarInfo(name.rstrip("/"))
            content = b""
            if is_link:
                info.type, info.linkname = tarfile.LNKTYPE, target
            elif name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                content = f"{path.name}:{name}".encode()
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return bytes(path)


LAYERS = {
    "one": ((("a", "d/x"),), {"a": "0:a", "d/x": "0:d/x"}),
    "replaced": ((("a",), ("a",)), {"a": "1:a"}),
    "gone": ((("a", "b"), (".wh.a",)), {"b": "0:b"}),
    "directory gone": ((("d/x", "d/y/z", "e"), (".wh.d",)), {"e": "0:e"}),
    "gone and made anew": ((("a",), (".wh.a", "a")), {"a": "1:a"}),
    "made anew and gone below": ((("a",), ("a", ".wh.a")), {"a": "1:a"}),
    "gone below only": (
        (("d/x", "d/y"), ("d/new", ".wh.d")),
        {"d/new": "1:d/new"},
    ),
    "opaque": (
        (("d/x", "d/s/t", "e"), ("d/", "d/.wh..wh..opq", "d/new")),
        {"d/new": "1:d/new", "e": "0:e"},
    ),
    "opaque, but later": (
        (("d/x", "d/s/t"), ("d/new", "d/s/u", "d/.wh..wh..opq")),
        {"d/new": "1:d/new", "d/s/u": "1:d/s/u"},
    ),
    "opaque at the top": ((("a", "d/x"), (".wh..wh..opq", "b")), {"b": "1:b"}),
    "never there": ((("a",), (".wh.b", "none/.wh.c")), {"a": "0:a"}),
    "reserved": ((("a",), (".wh..wh.plnk",)), {"a": "0:a"}),
    "linked to what is below": ((("a",), ("b=a",)), {"a": "0:a", "b": "0:a"}),
    "linked, then gone": ((("a",), ("b=a",), (".wh.a",)), {"b": "0:a"}),
    "file becomes directory": ((("a",), ("a/", "a/x")), {"a/x": "1:a/x"}),
    "directory becomes file": ((("a/x",), ("a",)), {"a": "1:a"}),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers(tmp_path: Path, case: str) -> None:
    """What a layer says is gone is gone, if it comes from below."""
    layers, expected = LAYERS[case]
    paths = [
        (make_layer(tmp_path / str(number), *members), None)
        for number, members in enumerate(layers)
    ]
    tree = scan_layers(paths, None, lambda files, size: None)
    found = {}
    for node in walk(tree.file_system):
        if isinstance(node.inode, RegularInode):
            with tree.contents[node.inode.hash_].open() as file:
                found[node.path.decode()[1:]] = file.read().decode()
    assert found == expected


@pytest.mark.parametrize("name", ["../a", "/a", "d/../../a", "../.wh.a"])
def test_paths_that_lead_out(tmp_path: Path, name: str) -> None:
    """No layer reaches out of the tree."""
    layer = make_layer(tmp_path / "0", name)
    with pytest.raises(MalformedArchive, match="leads out"):
        scan_layers([(layer, None)], None, lambda files, size: None)


def test_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer counts as often as it is used, but what it may become does not."""
    monkeypatch.setattr(decompression, "_HARMLESS_BYTES", 3 << 20)
    with tarfile.open(tmp_path / "0", "w:gz") as archive:
        info = tarfile.TarInfo("zeros")
        info.size = 1 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    layer = bytes(tmp_path / "0"), gzip.GzipFile
    scan_layers([layer] * 2, None, lambda files, size: None)
    with pytest.raises(MalformedArchive, match="0 becomes more than 200 times"):
        scan_layers([layer] * 4, None, lambda files, size: None)


class Layout:
    """A layout that is made by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)
        self.write("oci-layout", {"imageLayoutVersion": "1.0.0"})

    def write(self, name: str, document: object) -> None:
        """Write a document."""
        (self.path / name).write_text(json.dumps(document))

    def blob(self, data: bytes, kind: str) -> dict:
        """Add a blob; its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        (self.path / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    def image(self, layer: bytes, kind: str, **extra: object) -> dict:
        """Add an image of one layer; its descriptor."""
        document = {
            "config": self.blob(b"{}", "config"),
            "layers": [self.blob(layer, kind)],
        }
        return self.blob(json.dumps(document).encode(), "manifest") | extra


GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A layout without images."""
    return Layout(tmp_path / "layout")


def named(tag: str) -> dict:
    """The annotations of an image with a tag."""
    return {"org.opencontainers.image.ref.name": tag}


def test_choosing(layout: Layout, tmp_path: Path) -> None:
    """An image is found by its tag, or if it is the only one, or for this machine."""
    path = Path(make_layer(tmp_path / "0", "a").decode())
    layer = gzip.compress(path.read_bytes())
    first = layout.image(layer, GZIP, annotations=named("first"))
    second = layout.image(layer, DOCKER, annotations=named("second"))
    layout.write("index.json", {"manifests": [first, second]})
    reading = OciLayout(str(layout.path))
    for tag in ("first", "second"):
        ((_, decompressor),) = reading.read(tag).layers
        assert decompressor is gzip.GzipFile
    with pytest.raises(MalformedLayout, match="2 images in the layout"):
        reading.read()
    with pytest.raises(MalformedLayout, match="no image 'third'"):
        reading.read("third")
    platforms = [
        {**first, "platform": {"os": "linux", "architecture": name}}
        for name in ("amd64", "arm64", "s390x")
    ]
    nested = layout.blob(
        json.dumps({"manifests": platforms}).encode(),
        "application/vnd.oci.image.index.v1+json",
    )
    layout.write("index.json", {"manifests": [nested]})
    assert len(reading.read().layers) == 1


@pytest.mark.parametrize(
    ("kind", "compress"),
    [
        ("application/vnd.oci.image.layer.v1.tar", bytes),
        (GZIP, gzip.compress),
        (DOCKER, gzip.compress),
        ("application/vnd.oci.image.layer.v1.tar+bzip2", bz2.compress),
        ("application/vnd.oci.image.layer.v1.tar+zstd", zstd.compress),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", zstd.compress),
    ],
)
def test_compressed_layers(
    layout: Layout, tmp_path: Path, kind: str, compress: Callable[[bytes], bytes]
) -> None:
    """The type of a layer tells how it is compressed; what is cut is refused."""
    layer = Path(make_layer(tmp_path / "0", "a", "d/b").decode()).read_bytes()
    data = compress(layer)
    reading = OciLayout(str(layout.path))
    layout.write("index.json", {"manifests": [layout.image(data, kind)]})
    tree = scan_layers(reading.read().layers, None, lambda files, size: None)
    assert {node.path for node in walk(tree.file_system)} == {b"/a", b"/d", b"/d/b"}
    cut = layout.image(data[: len(data) // 20], kind)
    layout.write("index.json", {"manifests": [cut]})
    with pytest.raises(MalformedArchive):
        scan_layers(reading.read().layers, None, lambda files, size: None)


def test_damage(layout: Layout, tmp_path: Path) -> None:
    """Whatever is damaged, unknown or leads elsewhere is refused."""
    path = Path(make_layer(tmp_path / "0", "a").decode())
    reading = OciLayout(str(layout.path))
    good = layout.image(path.read_bytes(), "application/vnd.oci.image.layer.v1.tar")
    for bad, text in (
        ({**good, "digest": "sha256:../../../etc/passwd"}, "unknown digest"),
        ({**good, "digest": "md5:00"}, "unknown digest"),
        ({**good, "size": 1}, "damaged blob"),
        (layout.image(b"x", "application/vnd.oci.image.layer.v1.tar+rar"), "known"),
        (layout.blob(b"[]", "manifest"), "not an object"),
        (layout.blob(b"{}", "manifest"), "layers is not an array"),
        (layout.blob(b"{", "manifest"), "Expecting"),
    ):
        layout.write("index.json", {"manifests": [bad]})
        with pytest.raises(MalformedLayout, match=text):
            reading.read()
    layout.write("index.json", {"manifests": [good]})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (layout.path / "blobs/sha256" / digest).write_bytes(b"other")
    with pytest.raises(MalformedLayout, match="damaged blob"):
        reading.read()
    layout.write("oci-layout", {"imageLayoutVersion": "2.0.0"})
    with pytest.raises(MalformedLayout, match="unknown version"):
        OciLayout(str(layout.path))


def test_writing(tmp_path: Path) -> None:
    """A layout that is written can be read, by its digests."""
    writer = LayoutWriter(str(tmp_path / "out"))
    layer = Path(make_layer(tmp_path / "0", "a", "d/b").decode()).read_bytes()
    with writer.layer() as file:
        file.write(layer)
    writer.finish("tag", "1970-01-01T00:00:00Z", {"os": "debian"})
    image = OciLayout(str(tmp_path / "out")).read("tag")
    assert image.config["config"]["Labels"] == {"os": "debian"}
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    assert image.config["rootfs"]["diff_ids"] == [digest]
    tree = scan_layers(image.layers, None, lambda files, size: None)
    assert {node.path for node in walk(tree.file_system)} == {b"/a", b"/d", b"/d/b"}
