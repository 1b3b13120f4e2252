"""Metrics for Prometheus; ``docs/pages.md``, "Prometheus", lists them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from imageserver.srpc.accounting import Accounting
from imageserver.srpc.distribution import Distribution
from imageserver.srpc.limit import Limit
from imageserver.web.status import Status, StatusSource

_PREFIX = "imageserver_"
_REPLICATION = (
    ("lag_s", "replication_lag_seconds", "age of the oldest change that is missing"),
    ("images_to_go", "replication_pending_images", "images to bring"),
    ("objects_to_go", "replication_pending_objects", "objects to fetch"),
    ("bytes_to_go", "replication_pending_bytes", "their size"),
    ("rate", "replication_rate_bytes", "bytes a second that come in"),
)


class PrometheusMetrics(Collector):
    """See the module. Has a registry of its own."""

    def __init__(self, status: StatusSource, accounting: Accounting) -> None:
        """Tell what ``status`` and ``accounting`` know."""
        self._status = status
        self._accounting = accounting
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def encode(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that is liked best, and its content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """See ``Collector``."""
        status = self._status.collect()
        yield from _state(status)
        yield from _storage(status)
        yield from _health(status)
        yield from _replication(status)
        yield from self._connections(status)
        yield from self._calls()

    def _connections(self, status: Status) -> Iterator[Metric]:
        accounting = self._accounting
        labels = ["carrier", "coder"]
        total = _counter("connections", "connections for calls", labels)
        now = _gauge("open_connections", "connections for calls that are open", labels)
        for way in sorted(accounting.by_way.copy(), key=str):
            values = [way.carrier, way.coder]
            total.add_metric(values, accounting.by_way[way])
            now.add_metric(values, accounting.open_by_way[way])
        yield from (total, now)
        yield _counter("page_connections", "connections for pages", accounting.pages)
        what = "connections that were refused"
        yield _counter("rejected_connections", what, accounting.rejected)
        limits = _counter("exceeded_limits", "peers that met a limit", ["limit"])
        for limit in Limit:
            limits.add_metric([str(limit)], accounting.limits[limit])
        yield limits
        yield _counter("sent_bytes", "sent for calls", status.sent_bytes)
        yield _counter("received_bytes", "received for calls", status.received_bytes)
        yield _gauge("get_objects_slots", "GetObjects calls at a time", status.slots)
        what = "GetObjects calls that are being served"
        yield _gauge("get_objects_slots_used", what, status.slots_used)

    def _calls(self) -> Iterator[Metric]:
        labels = ["method"]
        families = (
            (_counter("calls", "calls that were let in", labels), "permitted"),
            (_counter("denied_calls", "calls that were not", labels), "denied"),
            (_counter("crashed_calls", "with an internal error", labels), "crashed"),
            (_gauge("running_calls", "calls that go on", labels), "running"),
        )
        durations = HistogramMetricFamily(
            f"{_PREFIX}call_duration_seconds",
            "how long whole calls take",
            labels=["method", "outcome"],
        )
        replies = HistogramMetricFamily(
            f"{_PREFIX}reply_duration_seconds",
            "how long it takes to make replies",
            labels=["method", "outcome"],
        )
        for name, account in self._accounting.methods.items():
            for family, attribute in families:
                family.add_metric([name], getattr(account, attribute))
            _add(durations, [name, "usable"], account.successful)
            _add(durations, [name, "broken"], account.failed)
            if account.replies is not None and account.failed_replies is not None:
                _add(replies, [name, "ok"], account.replies)
                _add(replies, [name, "error"], account.failed_replies)
        yield from (family for family, _ in families)
        yield from (durations, replies)


def _state(status: Status) -> Iterator[Metric]:
    info = _gauge("info", "this server", ["version", "role"])
    info.add_metric([status.version, status.role], 1)
    yield info
    yield _gauge("ready", "whether everything is loaded", int(status.ready))
    yield _gauge("insecure", "whether there is no authentication", int(status.insecure))
    what = "things that need somebody, by how bad they are"
    attention = _gauge("attention", what, ["level"])
    for level in ("bad", "warn"):
        count = sum(it.level == level for it in status.attention)
        attention.add_metric([level], count)
    yield attention
    what = "when certificates, CAs and revocation lists expire"
    expiry = _gauge("certificate_expiry_timestamp_seconds", what, ["kind", "subject"])
    seen = set()
    for it in sorted(status.certificates, key=lambda it: it.ends):
        if (it.kind, it.subject) not in seen:
            seen.add((it.kind, it.subject))
            expiry.add_metric([it.kind, it.subject], it.ends.timestamp())
    yield expiry


def _storage(status: Status) -> Iterator[Metric]:
    yield _gauge("images", "images", status.images)
    yield _gauge("directories", "directories of images", status.directories)
    yield _gauge("incomplete_images", "that lack objects", status.incomplete)
    objects = _gauge("objects", "objects", ["state"])
    sizes = _gauge("object_bytes", "size of the objects", ["state"])
    unreferenced = status.objects - status.referenced_objects
    objects.add_metric(["referenced"], status.referenced_objects)
    objects.add_metric(["unreferenced"], unreferenced)
    sizes.add_metric(["referenced"], status.referenced_bytes)
    sizes.add_metric(["unreferenced"], status.object_bytes - status.referenced_bytes)
    yield from (objects, sizes)
    what = "what images would take more if they shared nothing"
    yield _gauge("saved_bytes", what, status.duplicate_bytes)
    what = "size of the objects' file system"
    yield _gauge("filesystem_size_bytes", what, status.capacity_bytes)
    yield _gauge("filesystem_free_bytes", "free space in it", status.free_bytes)
    yield _gauge("quarantined_files", "damaged files put aside", status.quarantined)


def _health(status: Status) -> Iterator[Metric]:
    health = status.health
    if health is None:
        return
    yield _gauge("missing_objects", "that images need", health.missing_objects)
    what = "unreferenced objects that were removed"
    yield _counter("collected_objects", what, health.collected_objects)
    yield _counter("collected_bytes", "their size", health.collected_bytes)
    if health.last_pass is not None:
        last = health.last_pass
        what = "when all objects were last read again"
        yield _gauge("scrub_last_end_timestamp_seconds", what, last.ended_s)
        yield _gauge("scrub_last_damaged_objects", "found then", last.damaged)
    share = health.current_pass.share if health.current_pass else 0.0
    yield _gauge("scrub_progress_ratio", "how far this pass is", share)


def _replication(status: Status) -> Iterator[Metric]:
    what = "servers that follow this one"
    yield _gauge("replication_clients", what, status.replication_clients)
    state = status.replication
    if state is None:
        return
    connected = int(not state.get("problem"))
    yield _gauge("replication_connected", "whether the master is reached", connected)
    for key, name, what in _REPLICATION:
        value = state.get(key)
        if isinstance(value, int | float):
            yield _gauge(name, what, value)
    failures = len(state.get("failures") or ())
    yield _gauge("replication_failures", "things that are tried again", failures)


def _gauge(name: str, what: str, value: Any) -> GaugeMetricFamily:
    """A gauge: with a value, or with the names of its labels."""
    if isinstance(value, list):
        return GaugeMetricFamily(_PREFIX + name, what, labels=value)
    return GaugeMetricFamily(_PREFIX + name, what, value=value)


def _counter(name: str, what: str, value: Any) -> CounterMetricFamily:
    """A counter: with a value, or with the names of its labels."""
    if isinstance(value, list):
        return CounterMetricFamily(_PREFIX + name, what, labels=value)
    return CounterMetricFamily(_PREFIX + name, what, value=value)


def _add(family: HistogramMetricFamily, labels: list[str], found: Distribution) -> None:
    if not found.count:
        return  # or there would be thousands of lines that say nothing
    total, buckets = 0, []
    for _, upper, count in found.ranges():
        total += count
        bound = "+Inf" if upper is None else repr(upper / 1000)
        buckets.append((bound, total))
    family.add_metric(labels, buckets, sum_value=found.total_ms / 1000)
