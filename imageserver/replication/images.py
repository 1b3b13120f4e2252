"""Brings one image after the other from a master."""

from __future__ import annotations

from contextlib import ExitStack

from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from imageserver.client.image_server import ImageServerClient
from imageserver.errors import (
    CallError,
    ImageNotFound,
    InvalidImage,
    MethodDenied,
    ReplicationError,
    ReplicationRefused,
)
from imageserver.images.admission import Admitted, dismiss, measure
from imageserver.images.replica import ReplicaImages
from imageserver.index.base import ImageRecord
from imageserver.model.image import ScannedImage
from imageserver.model.image_messages import GetImageRequest
from imageserver.objects.base import ObjectStorage
from imageserver.replication.objects import ObjectFetcher
from imageserver.worker import Worker

_PATIENCE_NS = 5_000_000_000
_ADDED_AT_ONCE = 2
_NOT_FOUND = "image not found"


class ImageBringer:
    """Brings images; for one session with a master."""

    _log = Logger()

    def __init__(
        self,
        master: ImageServerClient,
        images: ReplicaImages,
        storage: ObjectStorage,
        fetcher: ObjectFetcher,
        metadata: Worker,
        *,
        ignore_expiring: bool,
    ) -> None:
        """Bring images.

        Args:
            master: has them.
            images: takes them.
            storage: has their objects.
            fetcher: fetches these.
            metadata: does what blocks.
            ignore_expiring: whether images that expire are left alone.
        """
        self._master = master
        self._images = images
        self._storage = storage
        self._fetcher = fetcher
        self._metadata = metadata
        self._ignore_expiring = ignore_expiring
        self._adding = DeferredSemaphore(_ADDED_AT_ONCE)

    async def bring(self, name: str) -> None:
        """Have an image as the master has it.

        Raises:
            ImageNotFound: the master does not have it.
            ReplicationRefused: it cannot be had as it is there.
            ImageServerError: it cannot be had now.
        """
        record = await self._metadata.run(self._images.find, name)
        if record is None:
            await self._fetch(name)
        elif not record.expires or self._ignore_expiring:
            # Told of an image that is here: has the master told in order?
            if not await self._master.check_image(name):
                raise ImageNotFound(f"{name}: not found")
        else:
            await self._extend(record)

    async def _extend(self, record: ImageRecord) -> None:
        name = record.name
        try:
            expires_at = await self._master.get_expiration(name)
        except CallError as error:
            if str(error) == _NOT_FOUND:
                raise ImageNotFound(f"{name}: not found") from error
            raise
        if await self._metadata.run(self._images.extend, name, expires_at):
            self._log.info("Replicator({name}): extended expiration time", name=name)

    async def _fetch(self, name: str) -> None:
        self._log.info("Replicator({name}): add image", name=name)
        request = GetImageRequest(
            name,
            ignore_file_system_if_expiring=self._ignore_expiring,
            timeout_ns=_PATIENCE_NS,
        )
        try:
            image = await self._master.get_scanned_image(request)
        except MethodDenied:
            raise
        except CallError as error:
            raise ReplicationRefused(str(error)) from error
        if image is None:
            raise ImageNotFound(f"{name}: not found")
        if self._ignore_expiring and not image.expires_at.is_zero:
            return
        self._log.debug("Replicator({name}): downloaded image", name=name)
        try:
            await self._take_in(name, image)
        except InvalidImage as error:
            raise ReplicationRefused(str(error)) from error
        finally:
            await self._metadata.run(dismiss, image)
        self._log.info("Replicator({name}): added image", name=name)

    async def _take_in(self, name: str, image: ScannedImage) -> None:
        async with self._adding:
            admitted = await self._metadata.run(measure, image)
        held = ExitStack()  # its objects are not collected meanwhile
        holding = self._storage.leases.holding(admitted.references)
        await self._metadata.run(held.enter_context, holding)
        try:
            missing = await self._metadata.run(self._find_missing, admitted)
            if missing:
                await self._fetch_objects(name, admitted, missing)
            async with self._adding:
                await self._metadata.run(self._images.add, name, admitted)
        finally:
            await self._metadata.run(held.close)

    def _find_missing(self, admitted: Admitted) -> dict[bytes, int]:
        """Objects that are not here, with their sizes as far as known.

        Raises:
            ReplicationError: there is no space for them.
        """
        references = admitted.references
        sizes = self._storage.sizes(references)
        gone = set(self._storage.missing(sizes))
        known = admitted.summary.object_bytes
        missing = {
            hash_: known.get(hash_, 0)
            for hash_ in references
            if hash_ not in sizes or hash_ in gone
        }
        size = sum(missing.values())
        if size > self._storage.room_bytes():
            raise ReplicationError(f"no space for {size} bytes of objects")
        return missing

    async def _fetch_objects(
        self, name: str, admitted: Admitted, missing: dict[bytes, int]
    ) -> None:
        self._log.info(
            "Replicator({name}): downloading {missing} of {total} objects",
            name=name,
            missing=len(missing),
            total=len(admitted.references),
        )
        await self._fetcher.fetch(missing)
        self._log.info(
            "Replicator({name}): downloaded {missing} objects, {size} bytes",
            name=name,
            missing=len(missing),
            size=sum(missing.values()),
        )
