"""Texts that belong to an image: ``/listReleaseNotes``, ``/listBuildLog``."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from imageserver.errors import ObjectNotFound
from imageserver.model.image import Annotation, ImageMetadata
from imageserver.objects.base import ObjectStorage
from imageserver.web.answer import Answer, PageError, as_json, plain
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.image_page import annotation_as_json
from imageserver.web.rendering import Renderer
from imageserver.web.visit import Visit

_MOST_BYTES = 4 << 20


@attrs.frozen
class NotesPage:
    """Shows one kind of annotation.

    Attributes:
        renderer: makes the page.
        lookup: finds the image.
        objects: where texts are.
        page: the address of the page.
        kind: what it is called.
        choose: gives the annotation of an image.
    """

    renderer: Renderer
    lookup: ImageLookup
    objects: ObjectStorage
    page: str
    kind: str
    choose: Callable[[ImageMetadata], Annotation | None]

    def show(self, visit: Visit) -> Answer:
        """The text of the image that is named."""
        stored = self.lookup.metadata(visit)
        annotation = self.choose(stored.image)
        text, is_cut = "", False
        if annotation is not None and annotation.object_hash is not None:
            data = read_beginning(self.objects, annotation.object_hash, _MOST_BYTES + 1)
            is_cut = len(data) > _MOST_BYTES
            text = data[:_MOST_BYTES].decode("utf-8", "replace")
        if visit.output == "json":
            values = annotation_as_json(annotation)
            return as_json(None if values is None else values | {"text": text})
        if visit.output == "text":
            return plain(text)
        return self.renderer.page(
            "notes.html",
            visit,
            name=stored.record.name,
            page=self.page,
            kind=self.kind,
            annotation=annotation,
            text=text,
            is_cut=is_cut,
            outputs=("json", "text"),
        )


def read_beginning(
    objects: ObjectStorage, hash_: bytes, size: int, offset: int = 0
) -> bytes:
    """Some bytes of an object.

    Raises:
        ObjectNotFound: there is no such object.
        StoreError: it is damaged.
    """
    known = objects.sizes((hash_,)).get(hash_)
    if known is None:
        raise ObjectNotFound(hash_)
    reader = objects.reader(hash_, known)
    try:
        return reader.read(offset, min(size, known - offset))
    except OSError as error:
        raise PageError(500, "The object cannot be read.") from error
    finally:
        reader.close()
