"""The status page: ``/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from imageserver.index.summary import SummaryIndex
from imageserver.log_buffer import LogLine
from imageserver.srpc.accounting import Accounting
from imageserver.web.answer import Answer, as_json, plain
from imageserver.web.charts import area_points, changes, spark_points
from imageserver.web.flat_text import flatten
from imageserver.web.history import HOUR_S, SLOTS, History, Stored
from imageserver.web.log_lines import LogLines
from imageserver.web.recent_changes import read_recent
from imageserver.web.rendering import Renderer
from imageserver.web.sampling import Rates, Sampler
from imageserver.web.status import Status, StatusSource
from imageserver.web.units import show_bytes, show_count, show_duration
from imageserver.web.visit import Section, Visit

_CHANGES = 12
_LOG_LINES = 25
_METHODS = 12
_PAGES_LOGGER = "imageserver.web.http_site.Site"
_DAY_NS = 86_400 * 1_000_000_000
_AGES = (
    ("a day", 1),
    ("a week", 7),
    ("a month", 30),
    ("a quarter", 91),
    ("a year", 365),
)


@attrs.frozen
class StatusPage:
    """See the module.

    Attributes:
        renderer: makes the page.
        source: the status.
        summaries: tells how old images are.
        accounting: what the methods do.
        sampler: what went on in the last hour.
        history: what was stored in the last month.
        audit_path: where changes are written down.
        log: the log.
    """

    renderer: Renderer
    source: StatusSource
    summaries: SummaryIndex
    accounting: Accounting
    sampler: Sampler
    history: History
    audit_path: Path
    log: LogLines

    def show(self, visit: Visit) -> Answer:
        """Everything at a glance."""
        status = self.source.collect()
        if visit.output == "json":
            return as_json(status.as_json())
        if visit.output == "text":
            return plain(flatten(status.as_json()))
        may_see_log = visit.may(Section.LOGS)
        return self.renderer.page(
            "status.html",
            visit,
            status=status,
            rates=self.sampler.rates(),
            charts=self._charts(),
            growth=growth_chart(self.history.read(), self.renderer.frame.now_s()),
            ages=self._ages(status.images),
            calls=self._calls(),
            changes=read_recent(self.audit_path, _CHANGES),
            may_see_log=may_see_log,
            lines=self._tail() if may_see_log else [],
            outputs=("json", "text"),
        )

    def _tail(self) -> list[LogLine]:
        """The last lines of the log, but for those about pages."""
        lines = self.log.buffer.lines()
        return [line for line in lines if line.logger != _PAGES_LOGGER][-_LOG_LINES:]

    def _charts(self) -> dict[str, str]:
        """The last hour, by what is shown."""
        samples = list(self.sampler.samples)
        return {
            "connections": spark_points([it.open_connections for it in samples]),
            "running": spark_points([it.running_calls for it in samples]),
            "slots": spark_points([it.slots_used for it in samples]),
            "calls": spark_points(changes([it.calls for it in samples])),
            "sent": spark_points(changes([it.sent_bytes for it in samples])),
            "received": spark_points(changes([it.received_bytes for it in samples])),
            "cpu": spark_points(changes([it.cpu_s for it in samples])),
            "late": spark_points([it.late_s for it in samples]),
        }

    def _ages(self, images: int) -> list[tuple[str, int]]:
        """How many images are how old."""
        now_ns = int(self.renderer.frame.now_s() * 1e9)
        moments = [now_ns - days * _DAY_NS for _, days in _AGES]
        counts = self.summaries.images_since(moments)
        rows, before = [], 0
        for (name, _), count in zip(_AGES, counts, strict=True):
            rows.append((f"up to {name}", count - before))
            before = count
        rows.append(("older", max(0, images - before)))
        return rows

    def _calls(self) -> list[dict[str, Any]]:
        """The methods that were called most, or that run."""
        methods = sorted(
            self.accounting.methods.items(),
            key=lambda item: (-item[1].running, -item[1].permitted, item[0]),
        )
        return [
            {
                "name": name,
                "running": account.running,
                "permitted": account.permitted,
                "denied": account.denied,
                "crashed": account.crashed,
                "median_ms": account.successful.median_ms,
                "most_ms": account.successful.most_ms,
            }
            for name, account in methods[:_METHODS]
            if account.permitted or account.denied
        ]


def growth_chart(stored: list[Stored], now_s: float) -> dict[str, Any] | None:
    """The last 30 days as areas; ``None``: too little is known."""
    if len(stored) < 2:
        return None
    since = now_s - SLOTS * HOUR_S
    if stored[-1].time_s - stored[0].time_s < SLOTS * HOUR_S / 4:
        since = stored[0].time_s  # else it would be a line at the right
    top = max(it.object_bytes for it in stored)
    times = [float(it.time_s) for it in stored]
    return {
        "all": area_points(
            times, [it.object_bytes for it in stored], since, now_s, top
        ),
        "referenced": area_points(
            times, [it.referenced_bytes for it in stored], since, now_s, top
        ),
        "top": top,
        "since_s": since,
        "grown_bytes": stored[-1].object_bytes - stored[0].object_bytes,
        "grown_images": stored[-1].images - stored[0].images,
    }


def live_values(status: Status, rates: Rates) -> dict[str, str]:
    """What changes on the page while somebody looks, as it is shown."""
    return {
        "images": show_count(status.images),
        "directories": show_count(status.directories),
        "objects": show_count(status.objects),
        "stored": show_bytes(status.object_bytes),
        "free": show_bytes(status.free_bytes),
        "clients": show_count(status.replication_clients),
        "connections": show_count(status.open_connections),
        "running": show_count(status.running_calls),
        "slots": f"{status.slots_used} of {status.slots}",
        "calls": f"{rates.calls_per_minute:.0f}",
        "sent": f"{show_bytes(int(rates.sent_per_s))}/s",
        "received": f"{show_bytes(int(rates.received_per_s))}/s",
        "uptime": show_duration(status.uptime_s),
        "cpu": f"{rates.cpu_percent:.0f} %",
        "memory": show_bytes(status.resident_bytes),
        "late": f"{rates.late_ms:.0f} ms",
        "attention": str(len(status.attention)),
    }
