"""What the status page tells of how well the objects are."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from imageserver.images.database import ImageDatabase
from imageserver.images.missing import MissingObjects
from imageserver.index.base import ObjectTotals
from imageserver.objects.collection import Collection
from imageserver.objects.reconciliation import Findings
from imageserver.objects.scrub import Scrub, ScrubPass
from imageserver.objects.store import ObjectStore

_NANOSECONDS = 1_000_000_000


@attrs.frozen
class Missing:
    """An object that images need and that is not there.

    Attributes:
        hash_hex: its hash, 128 hexadecimal digits.
        images: the names of the images.
    """

    hash_hex: str
    images: tuple[str, ...]


@attrs.frozen
class Pass:
    """A pass over all objects: :class:`~imageserver.objects.scrub.ScrubPass`."""

    began_s: float
    ended_s: float
    share: float
    objects: int
    bytes: int
    damaged: int
    unsteady: int


@attrs.frozen
class ObjectHealth:
    """See the module.

    Attributes:
        scrubbing: whether objects are read again at all.
        halted: whether that was given up, since nearly everything is damaged.
        current_pass: the pass that goes on.
        last_pass: the last complete one.
        quarantined_objects: damaged objects that were put aside.
        quarantined_images: damaged images, and metadata of directories.
        quarantined_bytes: the size of these objects.
        looked_at: whether all files of objects were looked at since the start.
        missing_objects: objects that images need, as far as that is known.
        missing: a limited number of them.
        foreign_files: files among the objects that are none, at the last look.
        collected_objects: unreferenced objects that were removed since the start.
        collected_bytes: their size.
        obstacle: what somebody has to look after before any can be removed.
    """

    scrubbing: bool
    halted: bool
    current_pass: Pass | None
    last_pass: Pass | None
    quarantined_objects: int
    quarantined_images: int
    quarantined_bytes: int
    looked_at: bool
    missing_objects: int
    missing: tuple[Missing, ...]
    foreign_files: int
    collected_objects: int
    collected_bytes: int
    obstacle: str


@attrs.frozen
class ObjectHealthSource:
    """Knows who knows it.

    Attributes:
        store: the objects.
        database: the images.
        scrub: reads the objects again; ``None``: nobody does.
        missing: knows what is missing.
        collection: removes objects.
        obstacle: gives what keeps it from doing so until somebody looks after it.
        findings: gives what the last look at the files came across; ``None``: there
            was none yet.
    """

    store: ObjectStore
    database: ImageDatabase
    scrub: Scrub | None
    missing: MissingObjects
    collection: Collection
    obstacle: Callable[[], str]
    findings: Callable[[], Findings | None]

    def collect(self, totals: ObjectTotals) -> ObjectHealth:
        """How well the objects are, of which there are so many."""
        findings = self.findings()
        scrub, total = self.scrub, self.collection.total
        return ObjectHealth(
            scrubbing=scrub is not None,
            halted=scrub is not None and scrub.halted,
            current_pass=_show(scrub.current if scrub else None),
            last_pass=_show(scrub.last if scrub else None),
            quarantined_objects=len(self.store.quarantine.names()),
            quarantined_images=len(self.database.quarantine.names()),
            quarantined_bytes=self.store.quarantine.size_bytes(),
            looked_at=findings is not None,
            missing_objects=totals.missing_objects if findings else 0,
            missing=tuple(
                Missing(hash_.hex(), images)
                for hash_, images in sorted(self.missing.images.items())
            ),
            foreign_files=findings.foreign if findings else 0,
            collected_objects=total.objects,
            collected_bytes=total.bytes_,
            obstacle=self.obstacle(),
        )


def _show(found: ScrubPass | None) -> Pass | None:
    if found is None:
        return None
    return Pass(
        found.began_ns / _NANOSECONDS,
        found.ended_ns / _NANOSECONDS,
        found.share,
        found.objects,
        found.bytes_,
        found.damaged,
        found.unsteady,
    )
