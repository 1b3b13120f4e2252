"""How replication goes, for people, pages and programs.

:class:`ReplicationState` is a picture of one moment, made of plain values, so
``attrs.asdict`` turns it into what JSON can carry. All times are in seconds: those that
end in ``_at_s`` since 1970, the others are durations. Sizes are in bytes. Texts come
from the master and the network: escape them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import attrs

from imageserver.srpc.metric import Metric

FAILURES_SHOWN = 20


class Phase(enum.StrEnum):
    """What the replicator is doing."""

    STARTING = "starting"
    """Images are still being loaded."""
    CONNECTING = "connecting"
    LISTING = "listing"
    """The master tells what it has."""
    COPYING = "copying"
    """Something is to be done."""
    IN_STEP = "in step"
    """Everything is here that can be had."""
    WAITING = "waiting"
    """The connection is lost, or there was none; it is tried again later."""
    STOPPED = "stopped"


@attrs.frozen
class ReplicationFailure:
    """Something that did not work, and is tried again.

    Attributes:
        what: like ``add image``.
        name: the image or directory.
        reason: why.
        attempts: how often it was tried.
        refused: whether the master has to change something first.
    """

    what: str
    name: str
    reason: str
    attempts: int
    refused: bool


@attrs.frozen
class ReplicationState:
    """See the module.

    Attributes:
        master: host and port.
        archive: whether nothing is ever deleted.
        phase: see :class:`Phase`.
        problem: why there is no connection; empty: there is one.
        connected_at_s: since when there is; ``None``: there is none.
        in_step_at_s: when everything was here last; ``None``: not since the start.
        is_complete: whether everything was here once since the start; then others can
            follow this server.
        images_to_go: images to bring, those that failed included.
        other_to_go: deletions and directories.
        objects_to_go: objects to fetch for the images that are being brought.
        bytes_to_go: their size.
        rate: bytes per second that came in the last seconds.
        time_left_s: how long ``bytes_to_go`` will take; ``None``: nobody knows.
        lag_s: age of the oldest change of the master that is not here, from when we
            heard of it; without a connection since when it is lost; 0: in step.
        fetched_objects: objects fetched since the start.
        received_bytes: bytes received since the start.
        rejected_objects: objects that were not what their names say.
        repaired_objects: objects that were damaged or missing here and were fetched
            again.
        sessions: connections since the start.
        failures: what fails, at most ``FAILURES_SHOWN``.
        failure_count: how much fails.
    """

    master: str
    archive: bool
    phase: Phase
    problem: str
    connected_at_s: float | None
    in_step_at_s: float | None
    is_complete: bool
    images_to_go: int
    other_to_go: int
    objects_to_go: int
    bytes_to_go: int
    rate: float
    time_left_s: float | None
    lag_s: float
    fetched_objects: int
    received_bytes: int
    rejected_objects: int
    repaired_objects: int
    sessions: int
    failures: tuple[ReplicationFailure, ...]
    failure_count: int


def numbers(state: ReplicationState) -> dict[str, float]:
    """What can be drawn as curves, by names as metrics have them."""
    return {
        "replication_connected": float(state.connected_at_s is not None),
        "replication_complete": float(state.is_complete),
        "replication_images_to_go": state.images_to_go,
        "replication_other_changes_to_go": state.other_to_go,
        "replication_objects_to_go": state.objects_to_go,
        "replication_bytes_to_go": state.bytes_to_go,
        "replication_rate_bytes_per_second": state.rate,
        "replication_lag_seconds": state.lag_s,
        "replication_failures": state.failure_count,
        "replication_fetched_objects_total": state.fetched_objects,
        "replication_received_bytes_total": state.received_bytes,
        "replication_rejected_objects_total": state.rejected_objects,
        "replication_repaired_objects_total": state.repaired_objects,
        "replication_sessions_total": state.sessions,
    }


_DESCRIPTIONS = {
    "connected": "1 while there is a connection with the master",
    "complete": "1 once everything was here",
    "images-to-go": "images to bring",
    "other-changes-to-go": "deletions and directories to do",
    "objects-to-go": "objects to fetch for images that are being brought",
    "bytes-to-go": "their size",
    "rate-bytes-per-second": "what came in the last seconds",
    "lag-seconds": "age of the oldest change of the master that is not here",
    "failures": "what failed, and is tried again",
    "fetched-objects-total": "objects fetched",
    "received-bytes-total": "bytes received",
    "rejected-objects-total": "objects that were not what their names say",
    "repaired-objects-total": "damaged or missing objects that were fetched again",
    "sessions-total": "connections with the master",
}


def replication_metrics(state: ReplicationState) -> Iterator[Metric]:
    """The same as metrics of the server, in whole numbers."""
    for name, value in numbers(state).items():
        short = name.removeprefix("replication_").replace("_", "-")
        yield Metric(f"/replication/{short}", int(value), _DESCRIPTIONS[short])
