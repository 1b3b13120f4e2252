"""The pages as a service: what they are made of, and what they do meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService

from imageserver.images.image_trees import ImageTrees
from imageserver.log_buffer import LogBuffer
from imageserver.srpc.metric import MetricRegistry
from imageserver.web.error_page import ErrorPage
from imageserver.web.history import HISTORY_FILE, History, Stored
from imageserver.web.http_site import Site
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.live import LiveFeed
from imageserver.web.log_lines import LogLines
from imageserver.web.parts import Parts, WebOptions
from imageserver.web.process_metrics import ProcessMetrics, cpu_seconds
from imageserver.web.rendering import Frame, HostName, Renderer
from imageserver.web.routes import make_routes
from imageserver.web.sampling import Sample, Sampler
from imageserver.web.server_metrics import server_metrics
from imageserver.web.site import Pages, make_site
from imageserver.web.space_survey import Surveyor
from imageserver.web.status import StatusSource
from imageserver.web.status_page import live_values
from imageserver.web.surveys import Surveys
from imageserver.web.visit import PageAccess
from imageserver.worker import Worker


class WebService(MultiService):
    """See the module.

    Attributes:
        site: answers requests.
        parts: what the pages are made of.
    """

    def __init__(
        self,
        reactor: Any,
        source: StatusSource,
        lookup: ImageLookup,
        buffer: LogBuffer,
        metrics: MetricRegistry,
        quick: Worker,
        slow: Worker,
        background: Worker,
        options: WebOptions,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Put the pages together.

        Args:
            reactor: runs them.
            source: the status.
            lookup: the images.
            buffer: the last lines of the log.
            metrics: what others measure; what is measured here is added.
            quick: makes pages.
            slow: makes those that take long.
            background: does what nobody waits for.
            options: how they are to be.
            now_s: the time.
        """
        super().__init__()
        self._clock = reactor
        self._source = source
        self._now_s = now_s
        host_name = HostName()
        frame = Frame(host_name, lambda: source.role, now_s, lambda: source.alarms)
        history = History(lookup.database.directory / HISTORY_FILE, now_s)
        sampler = Sampler(reactor, self._sample, self._stored, history, quick)
        sampler.setServiceParent(self)
        # What people look at must not have to make room for each image once a day.
        trees = ImageTrees(lookup.database.files, kept_bytes=0)
        surveyor = Surveyor(lookup.database.index, trees, now_s)
        surveys = Surveys(reactor, surveyor, background, options.survey_interval_s)
        surveys.setServiceParent(self)
        self.parts = Parts(
            source,
            lookup,
            Renderer(frame),
            host_name,
            LogLines(buffer, options.log_files, now_s),
            metrics,
            surveyor,
            sampler,
            history,
            options,
            now_s,
        )
        process = ProcessMetrics(now_s(), options.flags, options.flag_values)
        metrics.add(process.metrics)
        metrics.add(lambda: server_metrics(source))
        self.site: Site = make_site(self._make_pages(quick, slow), reactor)

    def _make_pages(self, quick: Worker, slow: Worker) -> Pages:
        parts, server = self.parts, self._source.server
        access = PageAccess(lambda: server.policy, server.methods, parts.options.opened)
        errors = ErrorPage(parts.renderer)
        pages = Pages(make_routes(parts), access, errors, quick, slow)
        live = LiveFeed(
            self._clock,
            quick,
            lambda: live_values(self._source.collect(), parts.sampler.rates()),
        )
        live.setServiceParent(self)
        pages.add_live("/events", live.serve)
        return pages

    def _sample(self) -> Sample:
        server = self._source.server
        accounting = server.accounting
        sent, received = server.traffic
        return Sample(
            self._clock.seconds(),
            accounting.calls,
            sent,
            received,
            accounting.open_connections,
            accounting.running_calls,
            self._source.slots_used,
            cpu_seconds(),
        )

    def _stored(self) -> Stored | None:
        status = self._source.collect()
        if not status.ready:
            return None
        return Stored(
            int(self._now_s()),
            status.images,
            status.objects,
            status.object_bytes,
            status.referenced_bytes,
            status.free_bytes,
            status.capacity_bytes,
        )
