"""Reads the image files of a replica again, so that damaged ones are fetched anew."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from imageserver.errors import CorruptImage, ImageServerError, ReplicationStopped
from imageserver.images.database import ImageDatabase
from imageserver.images.verification import put_aside, verify_image
from imageserver.replication.rests import Rests
from imageserver.worker import Worker

_REST_S = 1.0


class ImageScrub:
    """See the module."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        database: ImageDatabase,
        worker: Worker,
        rate: int,
        interval_s: float,
        damaged: Callable[[str], None],
    ) -> None:
        """Read nothing yet.

        Args:
            clock: for rests.
            database: the images.
            worker: reads them.
            rate: how much, in bytes per second; 0: nothing.
            interval_s: how long it is from the beginning of a pass to the next one.
            damaged: told of images that were damaged, and are put aside.
        """
        self._clock = clock
        self._database = database
        self._worker = worker
        self._rate = rate
        self._interval_s = interval_s
        self._damaged = damaged
        self._rests = Rests(clock)

    def stop(self) -> None:
        """Read no more; :meth:`run` ends soon."""
        self._rests.end()

    async def run(self) -> None:
        """Read all images again and again, slowly."""
        try:
            while self._rate:
                began_s = self._clock.seconds()
                await self._rests.rest(_REST_S)
                for name in await self._worker.run(self._database.index.image_names):
                    await self._verify(name)
                took_s = self._clock.seconds() - began_s
                await self._rests.rest(max(_REST_S, self._interval_s - took_s))
        except ReplicationStopped:
            return

    async def _verify(self, name: str) -> None:
        size = 0
        try:
            size = await self._worker.run(verify_image, self._database, name)
        except CorruptImage as error:
            await self._put_aside(name, str(error))
        except (ImageServerError, OSError) as error:
            self._log.error("cannot read {name} again: {error}", name=name, error=error)
        await self._rests.rest(max(size / self._rate, 0.01))

    async def _put_aside(self, name: str, reason: str) -> None:
        try:
            await self._worker.run(put_aside, self._database, name, reason)
        except (ImageServerError, OSError) as error:
            self._log.error("cannot put aside {name}: {error}", name=name, error=error)
            return
        self._damaged(name)
