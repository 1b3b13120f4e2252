"""Which image a page is about."""

from __future__ import annotations

import attrs

from imageserver.images.database import ImageDatabase
from imageserver.images.image_trees import ImageTrees, StoredMetadata
from imageserver.index.summary import ImageQuery, SummaryIndex
from imageserver.model.names import ROOT, directory_of
from imageserver.web.answer import PageError
from imageserver.web.error_page import UnknownImage
from imageserver.web.visit import Visit

_NEAR = 8


@attrs.frozen
class ImageLookup:
    """Finds images by the names that requests give.

    Attributes:
        database: the images.
        summaries: to find names that are near.
        trees: opens them.
    """

    database: ImageDatabase
    summaries: SummaryIndex
    trees: ImageTrees

    def name(self, visit: Visit) -> str:
        """The name of the image that a page is about.

        Raises:
            PageError: there is no such image.
        """
        names = visit.query.names
        if names == ("",):
            raise PageError(404, "No image is named.", "Choose one in the list.")
        for name in names:
            if self.database.index.image(name) is not None:
                return name
        raise UnknownImage(names[-1], self._near(names[-1]))

    def metadata(self, visit: Visit) -> StoredMetadata:
        """The image that a page is about, without its file system.

        Raises:
            PageError: there is no such image.
            StoreError: it is damaged.
        """
        return self.trees.metadata(self.name(visit))

    def _near(self, name: str) -> list[str]:
        directory, last = directory_of(name), name.rpartition("/")[2]
        wanted = [
            ImageQuery(directory=directory, below=False, order="created"),
            ImageQuery(words=(last,)),
            ImageQuery(words=tuple(word for word in name.split("/") if word)),
        ]
        for query in wanted:
            if query.directory == ROOT or not (query.directory or all(query.words)):
                continue
            found = self.summaries.search_images(
                attrs.evolve(query, limit=_NEAR, descending=bool(query.directory))
            )
            if found:
                return [summary.name for summary in found]
        return []
