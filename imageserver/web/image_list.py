"""The list of images: ``/listImages``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from imageserver.index.summary import ORDERS, ImageQuery, ImageSummary
from imageserver.model.names import ROOT
from imageserver.web.answer import Answer, PageError, as_json, lines
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.rendering import Renderer
from imageserver.web.search_words import parse_search
from imageserver.web.space_survey import SpaceSurvey
from imageserver.web.visit import Visit

_PER_PAGE = 100
_MOST_PER_PAGE = 1_000
_LAST_PAGE = 1 << 40


class ImageList:
    """See the module."""

    def __init__(
        self,
        renderer: Renderer,
        lookup: ImageLookup,
        survey: Callable[[], SpaceSurvey | None],
    ) -> None:
        """List images.

        Args:
            renderer: makes the page.
            lookup: the images.
            survey: gives the last survey of space, if there was one.
        """
        self._renderer = renderer
        self._database = lookup.database
        self._summaries = lookup.summaries
        self._survey = survey

    def show(self, visit: Visit) -> Answer:
        """The images that a request selects, a page of them at a time."""
        text = visit.query.get("q")
        search = parse_search(text)
        query = _within(search.query, visit.query.get("directoryName"))
        query = _sorted(query, visit.query.get("sort"))
        if visit.output == "text":
            return lines(
                summary.name
                for summary in self._summaries.search_images(
                    attrs.evolve(query, limit=None)
                )
            )
        per_page = _number(visit, "limit", _PER_PAGE, _MOST_PER_PAGE)
        page = _number(visit, "page", 1, _LAST_PAGE)
        query = attrs.evolve(query, limit=per_page, offset=(page - 1) * per_page)
        found = self._summaries.count_images(query)
        images = self._summaries.search_images(query)
        pages = max(1, -(-found // per_page))
        if visit.output == "json":
            return as_json(
                {
                    "found": found,
                    "page": page,
                    "pages": pages,
                    "images": [self._json(summary) for summary in images],
                }
            )
        directory = visit.query.get("directoryName")
        return self._renderer.page(
            "images.html",
            visit,
            title=f"Images in {directory}" if directory else "Images",
            words=text,
            problem=search.problem,
            directory="" if directory == ROOT else directory,
            images=images,
            found=found,
            page=page,
            pages=pages,
            order=query.order,
            descending=query.descending,
            incomplete=self._database.incomplete,
            own=self._own(),
            outputs=("json", "text"),
        )

    def _json(self, summary: ImageSummary) -> dict[str, Any]:
        return attrs.asdict(summary) | {
            "missing_objects": self._database.incomplete.get(summary.name, 0),
            "own_bytes": self._own().get(summary.name),
        }

    def _own(self) -> Mapping[str, int]:
        """Own sizes by image, as far as they were measured."""
        survey = self._survey()
        return survey.images if survey else {}


def _within(query: ImageQuery, directory: str) -> ImageQuery:
    """As ListSelectedImages takes it: ``D/`` is what is directly in a directory."""
    if directory in ("", ROOT):
        return query
    below = not directory.endswith("/")
    name = directory if below else directory[:-1]
    return attrs.evolve(query, directory=name, below=below)


def _sorted(query: ImageQuery, sort: str) -> ImageQuery:
    order = sort.removeprefix("-") or "name"
    if order not in ORDERS:
        raise PageError(
            400, f"Images cannot be sorted by {order}.", "Use: " + ", ".join(ORDERS)
        )
    return attrs.evolve(query, order=order, descending=sort.startswith("-"))


def _number(visit: Visit, name: str, default: int, largest: int) -> int:
    text = visit.query.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= largest):
        raise PageError(400, f"{name} has to be a number from 1 to {largest}.")
    return int(text)
