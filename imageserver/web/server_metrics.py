"""Metrics of what is stored, by the paths that existing tools know."""

from __future__ import annotations

from collections.abc import Iterator

from imageserver.srpc.metric import BYTES, Metric
from imageserver.web.status import StatusSource


def server_metrics(source: StatusSource) -> Iterator[Metric]:
    """What is stored, and what goes on."""
    status = source.collect()
    unreferenced = status.object_bytes - status.referenced_bytes
    capacity = max(status.capacity_bytes, 1)
    place = "/objectserver"
    yield Metric("/image-count", status.images, "images")
    yield Metric("/directory-count", status.directories, "directories of images")
    yield Metric("/get-requests", status.slots_used, "GetObjects calls being served")
    yield Metric(f"{place}/object-count", status.objects, "objects")
    yield Metric(
        f"{place}/referenced-object-bytes",
        status.referenced_bytes,
        "size of the objects that images use",
        BYTES,
    )
    yield Metric(
        f"{place}/unreferenced-object-bytes",
        unreferenced,
        "size of the objects that no image uses",
        BYTES,
    )
    yield Metric(
        f"{place}/referenced-utilisation-percent",
        100 * status.referenced_bytes / capacity,
        "the former, of the file system",
    )
    yield Metric(
        f"{place}/unreferenced-utilisation-percent",
        100 * unreferenced / capacity,
        "the latter, of the file system",
    )
    yield Metric(f"{place}/free-bytes", status.free_bytes, "free space", BYTES)
    yield Metric(f"{place}/quarantined", status.quarantined, "damaged files put aside")
    yield Metric("/srpc/server/sent-bytes", status.sent_bytes, "for calls", BYTES)
    yield Metric(
        "/srpc/server/received-bytes", status.received_bytes, "for calls", BYTES
    )
