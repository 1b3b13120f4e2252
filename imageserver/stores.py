"""The part of the composition root that keeps objects and images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import attrs

from imageserver.config import Settings
from imageserver.disk import Disk
from imageserver.images.changes import Changes
from imageserver.images.database import ImageDatabase
from imageserver.images.loading import Loading
from imageserver.images.missing import MissingObjects
from imageserver.index.sqlite import INDEX_FILE, SqliteIndex
from imageserver.objects.collection import Collection
from imageserver.objects.scrub import Scrub
from imageserver.objects.store import ObjectStore
from imageserver.upkeep import Upkeep
from imageserver.worker import Worker


@attrs.frozen(eq=False)
class Stores:
    """What is kept, and what goes on with it; see the classes."""

    index: SqliteIndex
    objects: ObjectStore
    database: ImageDatabase
    loading: Loading
    collection: Collection
    scrub: Scrub
    missing: MissingObjects
    upkeep: Upkeep

    def open(self) -> None:
        """Open what has to be open before anything else.

        Raises:
            ConfigError: the data directories cannot be used.
        """
        self.index.open()
        self.objects.open()


def make_stores(
    reactor: Any, settings: Settings, metadata: Worker, background: Worker
) -> Stores:
    """Put the stores together; nothing is opened yet.

    Args:
        reactor: when something is to go on.
        settings: how the daemon is to be.
        metadata: does short work.
        background: does long work.
    """
    images, disk = Path(settings.image_dir), Disk()
    index = SqliteIndex(images / INDEX_FILE, Path(settings.object_dir), images)
    objects = ObjectStore(
        Path(settings.object_dir),
        index,
        disk,
        time.time_ns,
        settings.upload_lease,
        settings.minimum_free_space,
        keeps_unfinished=bool(settings.replication_master),
    )
    database = ImageDatabase(
        images,
        index,
        objects,
        disk,
        time.time_ns,
        Changes(reactor.callFromThread),
        expiration_limits=settings.expiration_limits,
        keeps_expired=settings.archive_mode,
    )
    loading = Loading(database)

    def obstacle() -> str:
        """Why no object may be collected now; empty: it may."""
        if upkeep.findings is None:
            return "the objects are being looked at"
        return loading.obstacle()

    collection = Collection(
        objects,
        index,
        settings.cleanup_limits,
        obstacle,
        dry_run=settings.object_server_cleanup_dry_run,
    )
    scrub = Scrub(objects, index, time.time_ns, settings.scrub_interval)
    missing = MissingObjects(database, index)
    upkeep = Upkeep(
        reactor,
        objects,
        database,
        collection,
        scrub,
        settings.scrub_rate,
        missing,
        metadata,
        background,
    )
    return Stores(index, objects, database, loading, collection, scrub, missing, upkeep)
