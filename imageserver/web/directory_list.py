"""The directories of images: ``/listDirectories``."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from imageserver.index.summary import DirectoryTotals
from imageserver.model.names import ROOT, directory_of
from imageserver.model.version_sort import version_key
from imageserver.web.answer import Answer, as_json, lines
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.rendering import Renderer
from imageserver.web.space_survey import SpaceSurvey
from imageserver.web.visit import Visit

_SHOWN = 1_000


@attrs.frozen
class DirectoryRow:
    """A directory in the list.

    Attributes:
        name: its name.
        owner_group: the group that owns it.
        depth: how many directories it is below the root.
        images: images directly in it.
        images_below: these, and those in directories below it.
        data_bytes: the sum of their sizes.
        own_bytes: what of that nobody else uses; ``None``: not measured.
    """

    name: str
    owner_group: str
    depth: int
    images: int
    images_below: int
    data_bytes: int
    own_bytes: int | None = None


class DirectoryList:
    """See the module."""

    def __init__(
        self,
        renderer: Renderer,
        lookup: ImageLookup,
        survey: Callable[[], SpaceSurvey | None],
    ) -> None:
        """List directories.

        Args:
            renderer: makes the page.
            lookup: the images.
            survey: gives the last survey of space, if there was one.
        """
        self._renderer = renderer
        self._index = lookup.database.index
        self._summaries = lookup.summaries
        self._survey = survey

    def show(self, visit: Visit) -> Answer:
        """All directories, in the order of their names."""
        rows = self._rows()
        if visit.output == "text":
            return lines(row.name for row in rows)
        if visit.output == "json":
            return as_json([attrs.asdict(row) for row in rows])
        survey = self._survey()
        return self._renderer.page(
            "directories.html",
            visit,
            rows=rows,
            shown=rows[:_SHOWN],
            surveyed=survey.finished_s if survey else None,
            outputs=("json", "text"),
        )

    def _rows(self) -> list[DirectoryRow]:
        groups = self._index.directories()
        direct = self._summaries.directory_totals()
        below = {name: [0, 0] for name in groups}
        for name, totals in direct.items():
            for above in and_above(name):
                if above in below:
                    below[above][0] += totals.images
                    below[above][1] += totals.data_bytes
        survey = self._survey()
        own = survey.directories if survey else {}
        names = sorted(groups, key=lambda name: (name != ROOT, version_key(name)))
        return [
            DirectoryRow(
                name,
                groups[name],
                0 if name == ROOT else name.count("/") + 1,
                direct.get(name, DirectoryTotals()).images,
                below[name][0],
                below[name][1],
                own.get(name),
            )
            for name in names
        ]


def and_above(name: str) -> list[str]:
    """A directory and those that it is in."""
    found = [name]
    while name != ROOT:
        name = directory_of(name)
        found.append(name)
    return found
