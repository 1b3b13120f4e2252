"""Puts the pages together: what of the daemon they show."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs

from imageserver.config import FLAGS, Settings
from imageserver.flags import SECOND
from imageserver.following import Following
from imageserver.images.image_trees import ImageTrees
from imageserver.images.information import InformationTemplate
from imageserver.log_buffer import LogBuffer
from imageserver.rpc.object_server import ObjectService
from imageserver.srpc.credential_watch import CredentialWatch
from imageserver.srpc.metric import MetricRegistry
from imageserver.srpc.server import CallServer
from imageserver.stores import Stores
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.log_lines import LogFilesView
from imageserver.web.object_health import ObjectHealthSource
from imageserver.web.parts import WebOptions
from imageserver.web.status import StatusSource, Surroundings
from imageserver.web.web_service import WebService
from imageserver.worker import Worker


@attrs.frozen(kw_only=True)
class Shown:
    """What pages show; see the classes."""

    stores: Stores
    object_service: ObjectService
    server: CallServer
    credentials: CredentialWatch
    metrics: MetricRegistry
    log_buffer: LogBuffer
    log_files: Callable[[], LogFilesView | None]
    following: Following | None


def make_pages(
    reactor: Any,
    settings: Settings,
    shown: Shown,
    quick: Worker,
    slow: Worker,
    background: Worker,
) -> WebService:
    """The pages as a service.

    Args:
        reactor: runs them.
        settings: how the daemon is to be.
        shown: what they show.
        quick: makes pages.
        slow: makes those that take long.
        background: does what nobody waits for.

    Raises:
        ConfigError: the settings contradict each other.
    """
    trees = ImageTrees(shown.stores.database.files)
    return WebService(
        reactor,
        _make_status(settings, shown),
        ImageLookup(shown.stores.database, shown.stores.index, trees),
        shown.log_buffer,
        shown.metrics,
        quick,
        slow,
        background,
        WebOptions(
            settings.opened_sections,
            InformationTemplate(settings.information_database_template),
            settings.audit_path,
            FLAGS,
            settings.flag_values,
            shown.log_files,
            settings.space_survey_interval / SECOND,
        ),
    )


def _make_status(settings: Settings, shown: Shown) -> StatusSource:
    health = ObjectHealthSource(
        shown.stores.objects,
        shown.stores.database,
        shown.stores.scrub if settings.scrub_rate else None,
        shown.stores.missing,
        shown.stores.collection,
        shown.stores.loading.obstacle,
        lambda: shown.stores.upkeep.findings,
    )

    def crashed_before() -> bool:
        files = shown.log_files()
        return files is not None and bool(files.crashed)

    following = shown.following
    return StatusSource(
        shown.stores.database,
        shown.stores.objects,
        shown.object_service,
        shown.server,
        shown.stores.loading.progress,
        time.time,
        shown.credentials,
        health,
        Surroundings(
            role="master" if following is None else following.role,
            replication=lambda: attrs.asdict(following.state) if following else None,
            directory_totals=shown.stores.index.directory_totals,
            cleanup_start_percent=settings.object_server_cleanup_start_percent,
            cleanup_stop_percent=settings.object_server_cleanup_stop_percent,
            crashed_before=crashed_before,
        ),
    )
