"""Everything about one image: ``/showImage``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from imageserver.images.image_trees import StoredMetadata
from imageserver.images.information import InformationTemplate
from imageserver.model.image import Annotation
from imageserver.web.answer import Answer, as_json, plain
from imageserver.web.flat_text import flatten
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.rendering import Renderer
from imageserver.web.space_survey import SpaceSurvey
from imageserver.web.visit import Visit


class ImagePage:
    """See the module."""

    def __init__(
        self,
        renderer: Renderer,
        lookup: ImageLookup,
        template: InformationTemplate,
        survey: Callable[[], SpaceSurvey | None],
    ) -> None:
        """Show images.

        Args:
            renderer: makes the page.
            lookup: the images.
            template: makes the address of more about one.
            survey: gives the last survey of space, if there was one.
        """
        self._survey = survey
        self._renderer = renderer
        self._lookup = lookup
        self._template = template

    def show(self, visit: Visit) -> Answer:
        """The image that is named."""
        stored = self._lookup.metadata(visit)
        name, image = stored.record.name, stored.image
        database = self._lookup.database
        address = ""
        if not self._template.is_empty:
            address = self._template.render(name, image)
        missing = database.incomplete.get(name, 0)
        if visit.output in ("json", "text"):
            values = _as_json(stored, address, missing)
            if visit.output == "json":
                return as_json(values)
            return plain(flatten(values))
        source, survey = image.source_image, self._survey()
        return self._renderer.page(
            "image.html",
            visit,
            name=name,
            record=stored.record,
            image=image,
            checksum=_checksum(self._lookup, name),
            missing=missing,
            information=address,
            own_bytes=survey.images.get(name) if survey else None,
            has_source=bool(source) and database.index.image(source) is not None,
            outputs=("json", "text"),
        )


def _checksum(lookup: ImageLookup, name: str) -> str:
    """What the image file ends in, which tells one version from another."""
    return lookup.trees.checksum(name).hex()


def _as_json(stored: StoredMetadata, address: str, missing: int) -> dict[str, Any]:
    record, image = stored.record, stored.image
    facts = attrs.asdict(
        record,
        filter=lambda attribute, _: (
            attribute.name
            not in (
                "value_offset",
                "value_bytes",
                "file_system_offset",
                "file_mtime_ns",
                "file_inode",
                "is_being_rewritten",
            )
        ),
    )
    return facts | {
        "tags": dict(record.tags),
        "build_git_url": image.build_git_url,
        "source_image": image.source_image,
        "release_notes": annotation_as_json(image.release_notes),
        "build_log": annotation_as_json(image.build_log),
        "missing_objects": missing,
        "information": address,
    }


def annotation_as_json(annotation: Annotation | None) -> dict[str, str] | None:
    """An annotation as JSON types."""
    if annotation is None:
        return None
    hash_ = annotation.object_hash
    return {"object": hash_.hex() if hash_ else "", "url": annotation.url}
