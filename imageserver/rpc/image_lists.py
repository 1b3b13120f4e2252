"""The methods of ImageServer that list images and directories."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from imageserver.images.database import ImageDatabase
from imageserver.model.image import Directory, DirectoryMetadata
from imageserver.model.image_messages import ListSelectedImagesRequest
from imageserver.srpc.call import Call
from imageserver.worker import Worker


class ImageLists:
    """Lists what is in an image database."""

    def __init__(
        self, database: ImageDatabase, metadata: Worker, pending: Collection[str]
    ) -> None:
        """List a database.

        Args:
            database: the images.
            metadata: does its work.
            pending: names of images that it will know soon.
        """
        self._database = database
        self._metadata = metadata
        self._pending = pending

    async def list_directories(self, call: Call) -> None:
        """All directories, one value each, then an empty one."""
        directories = await self._metadata.run(self._database.index.directories)
        for name, owner_group in directories.items():
            call.send(Directory(name, DirectoryMetadata(owner_group)))
        call.send(Directory())

    async def list_images(self, call: Call) -> None:
        """The names of all images, one a line, then an empty line."""
        pending = tuple(self._pending)  # before others become known
        names = await self._metadata.run(self._database.index.image_names)
        call.write(_name_lines({*names, *pending} if pending else names))

    async def list_selected_images(self, call: Call) -> None:
        """The same for those images that a request selects."""
        request = await call.receive(ListSelectedImagesRequest)
        names = await self._metadata.run(self._database.select, request)
        call.write(_name_lines(names))


def _name_lines(names: Iterable[str]) -> bytes:
    """Names as lines; those that others have stored with a line end are left out."""
    return "".join([f"{name}\n" for name in names if "\n" not in name]).encode() + b"\n"
