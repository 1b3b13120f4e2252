"""Images of which only a damaged file is left, or one that cannot be read."""

from __future__ import annotations

from imageserver.images.database import ImageDatabase
from imageserver.images.metadata import FILE_NAME
from imageserver.images.secret import FILE_NAME as SECRET_NAME
from imageserver.model.names import directory_of
from imageserver.quarantine import REPLACED

_NO_IMAGES = (FILE_NAME, SECRET_NAME)
"""Names of files that refer to no objects."""


def may_be_an_image(name: str) -> bool:
    """Whether a file in quarantine may be the only copy of an image."""
    return not name.endswith(REPLACED) and name.rpartition("%")[2] not in _NO_IMAGES


def damaged_images(database: ImageDatabase) -> list[str]:
    """The names of these images, as far as the names of their files tell.

    Raises:
        StoreError: the index fails.
    """
    index = database.index
    files = filter(may_be_an_image, database.quarantine.names())
    return [
        name
        for name in (*(file.replace("%", "/") for file in files), *database.left_out)
        if index.image(name) is None
        and index.owner_group(directory_of(name)) is not None
    ]
