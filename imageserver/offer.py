"""The part of the composition root that makes the methods."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import attrs
from twisted.web.client import Agent, HTTPConnectionPool

from imageserver.config import Settings
from imageserver.following import Workers
from imageserver.images.information import InformationTemplate
from imageserver.log import Log
from imageserver.rpc.image_server import ImageService
from imageserver.rpc.logger import LoggerService
from imageserver.rpc.object_import import LANES, ObjectImports
from imageserver.rpc.object_server import ObjectService
from imageserver.rpc.tree_import import TreeImports
from imageserver.rpc.unreferenced_objects import UnreferencedObjectService
from imageserver.srpc.local_upgrade import LocalUpgrade
from imageserver.srpc.methods import Method
from imageserver.stores import Stores

_CONNECT_S = 15.0
_IDLE_S = 30


@attrs.frozen(eq=False)
class Offer:
    """All methods of the server, and what is behind some of them.

    Attributes:
        methods: the methods.
        object_service: serves objects.
        local_upgrade: moves clients to the Unix socket.
        downloads: connections to the web servers that objects are imported from.
    """

    methods: tuple[Method, ...]
    object_service: ObjectService
    local_upgrade: LocalUpgrade
    downloads: HTTPConnectionPool


def make_offer(
    reactor: Any, settings: Settings, stores: Stores, workers: Workers, log: Log
) -> Offer:
    """Make the methods.

    Args:
        reactor: runs them.
        settings: how the daemon is to be.
        stores: what they work on.
        workers: do what blocks.
        log: what some of them are about.

    Raises:
        ConfigError: the settings contradict each other.
    """
    open_reads = settings.allow_unauthenticated_reads
    local_upgrade = LocalUpgrade()
    unreferenced = UnreferencedObjectService(
        stores.collection,
        stores.index,
        time.time_ns,
        workers.metadata,
        workers.background,
    )
    image_service = ImageService(
        stores.database,
        workers.metadata,
        reactor,
        InformationTemplate(settings.information_database_template),
        stores.loading.pending,
    )
    downloads = _make_downloads(reactor)
    imports = ObjectImports(
        stores.objects,
        workers.disk,
        Agent(reactor, connectTimeout=_CONNECT_S, pool=downloads),
        reactor,
        settings.sources,
    )
    object_service = ObjectService(
        stores.objects, workers.disk, imports, reactor, settings.object_options
    )
    tree_imports = TreeImports(
        imports,
        stores.objects,
        stores.database,
        workers.disk,
        workers.metadata,
        reactor,
        object_service.check_length,
    )
    methods = (
        *local_upgrade.methods(),
        *LoggerService(log).methods(),
        *unreferenced.methods(open_reads=open_reads),
        *image_service.methods(
            open_reads=open_reads, image_bytes=settings.max_image_message
        ),
        *_object_methods(object_service, settings),
        *tree_imports.methods(),
    )
    return Offer(methods, object_service, local_upgrade, downloads)


def _make_downloads(reactor: Any) -> HTTPConnectionPool:
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = LANES
    pool.cachedConnectionTimeout = _IDLE_S
    return pool


def _object_methods(service: ObjectService, settings: Settings) -> Iterable[Method]:
    return service.methods(
        public_add=settings.allow_public_add_objects,
        public_check=settings.allow_public_check_objects,
        public_get=settings.allow_public_get_objects,
        open_reads=settings.allow_unauthenticated_reads,
        hash_list_bytes=settings.max_hash_list_message,
    )
