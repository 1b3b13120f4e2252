"""OCI image layouts: container images in a directory.

::

    oci-layout            {"imageLayoutVersion": "1.0.0"}
    index.json            which manifests there are, with their tags
    blobs/sha256/DIGEST   manifests, configurations, layers

``docs/imagetool.md`` says what is made of them.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from imageserver.errors import ImageServerError
from imageserver.trees.decompression import Decompressor, open_zstd
from imageserver.trees.tree import explained

REF_NAME = "org.opencontainers.image.ref.name"
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_LISTS = (_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
_COMPRESSIONS: dict[str, Decompressor | None] = {
    "tar": None,
    "tar+gzip": gzip.GzipFile,
    "tar.gzip": gzip.GzipFile,
    "tar+bzip2": bz2.BZ2File,
    "tar+zstd": open_zstd,
    "tar.zstd": open_zstd,
}
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_DOCUMENT_BYTES = 16 << 20
_PIECE_BYTES = 1 << 20
_DEPTH = 4


class MalformedLayout(ImageServerError):
    """A directory is no image layout, or a damaged one."""


@attrs.frozen
class OciImage:
    """An image in a layout.

    Attributes:
        layers: files, the lowest first, with what decompresses them.
        config: its configuration.
    """

    layers: tuple[tuple[bytes, Decompressor | None], ...]
    config: dict[str, Any]


class OciLayout:
    """A layout to read."""

    def __init__(self, path: str) -> None:
        """Read the layout in a directory.

        Raises:
            MalformedLayout: it is none.
        """
        self._path = Path(path)
        version = self._document(self._path / "oci-layout")
        if not str(version.get("imageLayoutVersion", "")).startswith("1."):
            raise MalformedLayout(f"unknown version of the image layout: {path}")

    def read(self, tag: str = "") -> OciImage:
        """An image.

        Args:
            tag: its tag; may be left out if there is one image only.

        Raises:
            MalformedLayout: there is no such image, or it is damaged.
        """
        manifest = self._choose(self._document(self._path / "index.json"), tag)
        layers = []
        for descriptor in _list(manifest, "layers"):
            kind = str(descriptor.get("mediaType", ""))
            # application/vnd.oci.image.layer.v1.tar+gzip, and what Docker calls it.
            form = re.search(r"(?:layer\.v1\.|rootfs\.(?:diff\.)?)(tar.*)", kind)
            if form is None or form[1] not in _COMPRESSIONS:
                raise MalformedLayout(f"layers of this type are not known: {kind!r}")
            path = self._verified(descriptor)
            layers.append((os.fsencode(path), _COMPRESSIONS[form[1]]))
        config = self._blob(_object(manifest, "config"))
        return OciImage(tuple(layers), config)

    def _choose(self, index: dict[str, Any], tag: str) -> dict[str, Any]:
        """The manifest of an image: for this kind of machine, if there are more."""
        for _ in range(_DEPTH):
            found = _list(index, "manifests")
            if tag:
                found = [
                    item
                    for item in found
                    if _object(item, "annotations", {}).get(REF_NAME) == tag
                ]
            found = _for_this_machine(found)
            if len(found) != 1:
                tags = [_object(i, "annotations", {}).get(REF_NAME) for i in found]
                raise MalformedLayout(
                    f"{len(found)} images in the layout: {tags}; name one with :TAG"
                    if found
                    else f"no image {tag!r} in the layout"
                )
            document = self._blob(found[0])
            if found[0].get("mediaType") not in _LISTS:
                return document
            index, tag = document, ""
        raise MalformedLayout("lists of images nest too deep")

    def _blob(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        return self._document(self._verified(descriptor))

    def _verified(self, descriptor: dict[str, Any]) -> Path:
        """The file of a blob, which holds what it should."""
        digest = _DIGEST.fullmatch(str(descriptor.get("digest", "")))
        if digest is None:
            raise MalformedLayout(f"unknown digest: {descriptor.get('digest')!r}")
        path = self._path / "blobs" / "sha256" / digest[1]
        hasher, size = hashlib.sha256(), 0
        with explained("cannot read", os.fsencode(path)), open(path, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                hasher.update(piece)
                size += len(piece)
        if hasher.hexdigest() != digest[1] or size != descriptor.get("size", size):
            raise MalformedLayout(f"damaged blob: {digest[0]}")
        return path

    def _document(self, path: Path) -> dict[str, Any]:
        with explained("cannot read", os.fsencode(path)), open(path, "rb") as file:
            data = file.read(_DOCUMENT_BYTES)
        try:
            document: Any = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise MalformedLayout(f"{path.name}: {error}") from error
        if not isinstance(document, dict):
            raise MalformedLayout(f"{path.name}: not an object")
        return document


def _for_this_machine(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(found) < 2:
        return found
    name = platform.machine()
    architecture = _ARCHITECTURES.get(name, name)
    fitting = [
        item
        for item in found
        if _object(item, "platform", {}).get("architecture") == architecture
        and _object(item, "platform", {}).get("os") == "linux"
    ]
    return fitting or found


def _object(
    document: dict[str, Any], name: str, default: dict[str, Any] | None = None
) -> dict[str, Any]:
    value = document.get(name, default)
    if not isinstance(value, dict):
        raise MalformedLayout(f"{name} is not an object")
    return value


def _list(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = document.get(name)
    if not isinstance(value, list) or not all(isinstance(i, dict) for i in value):
        raise MalformedLayout(f"{name} is not an array of objects")
    return value


class LayoutWriter:
    """Writes a layout with one image of one layer, in a new directory."""

    def __init__(self, path: str) -> None:
        """Begin in a directory that is empty.

        Raises:
            FileAccessError: the system refuses.
        """
        self._path = Path(path)
        with explained("cannot create", os.fsencode(path)):
            (self._path / "blobs" / "sha256").mkdir(parents=True)
        self._layer: dict[str, Any] = {}

    @contextmanager
    def layer(self) -> Iterator[BinaryIO]:
        """A file for the layer, a tar archive; complete at the end of the block."""
        temporary = self._path / "blobs" / "layer"
        with open(temporary, "wb") as file:
            yield file
        hasher = hashlib.sha256()
        with open(temporary, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                hasher.update(piece)
        size = temporary.stat().st_size
        temporary.rename(self._path / "blobs" / "sha256" / hasher.hexdigest())
        digest = f"sha256:{hasher.hexdigest()}"
        self._layer = {"mediaType": _LAYER, "digest": digest, "size": size}

    def finish(self, tag: str, created: str, labels: dict[str, str]) -> None:
        """Write everything else.

        Args:
            tag: of the image.
            created: when it was made, as RFC 3339 has it.
            labels: what else is to be known of it.
        """
        name = platform.machine()
        config = self._write(
            _CONFIG,
            {
                "created": created,
                "architecture": _ARCHITECTURES.get(name, name),
                "os": "linux",
                "config": {"Labels": labels},
                "rootfs": {"type": "layers", "diff_ids": [self._layer["digest"]]},
                "history": [{"created": created, "created_by": "imagetool"}],
            },
        )
        manifest = self._write(
            _MANIFEST,
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": config,
                "layers": [self._layer],
            },
        )
        manifest["annotations"] = {REF_NAME: tag}
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [manifest]}
        (self._path / "index.json").write_bytes(_encode(index))
        (self._path / "oci-layout").write_bytes(
            _encode({"imageLayoutVersion": "1.0.0"})
        )

    def _write(self, kind: str, document: dict[str, Any]) -> dict[str, Any]:
        """Write a blob; its descriptor."""
        data = _encode(document)
        digest = hashlib.sha256(data).hexdigest()
        (self._path / "blobs" / "sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
