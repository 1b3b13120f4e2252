"""Objects on their way in: ``docs/architecture.md``, "Uploads".

Bytes go into a hidden file and into the hash as they come. Nothing is acknowledged
before :meth:`Intake.commit` has brought a whole group of objects to disk: first their
content, then their names, then the index.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from imageserver.errors import StoreError
from imageserver.objects.base import ObjectLease, Outcome, mismatch

if TYPE_CHECKING:
    from imageserver.objects.store import ObjectStore

__all__ = ["Intake", "Outcome"]

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_WRITE_BACK_BYTES = 2 << 20


_LOST = "cannot store: the copy that was there is damaged: send the object again"


class Intake:
    """The objects of one stream; see :class:`~imageserver.objects.base.ObjectIntake`.

    Used by one thread at a time. Objects are in hand from when they are looked for
    until they are recorded with a lease, so that none is collected in between.
    """

    def __init__(self, store: ObjectStore, lease: ObjectLease | None = None) -> None:
        """Begin.

        Args:
            store: where the objects go.
            lease: keeps them for as long as it is renewed; without one they are kept
                for the time that is usual.
        """
        self._store = store
        self._lease = lease
        self._in_hand: set[bytes] = set()
        self._has_hand = False
        self._current: _Upload | None = None
        self._outcomes: list[Outcome] = []
        self._seen: dict[bytes, int] = {}
        self._new: dict[bytes, tuple[str, int]] = {}
        self._again: dict[bytes, int] = {}

    def expect(self, hashes: Sequence[bytes]) -> None:
        """See :class:`~imageserver.objects.base.ObjectIntake`."""
        self._take(hashes)  # first: what is found must not be collected
        try:
            known = self._store.index.object_sizes(hashes)
        except StoreError:
            return  # recording them will fail, too, and give the reason
        self._seen = {hash_: known.get(hash_, 0) for hash_ in hashes}

    def begin(self, length: int, expected_hash: bytes | None) -> None:
        """See :class:`~imageserver.objects.base.ObjectIntake`."""
        known = False
        if expected_hash is not None:
            self._take([expected_hash])
            known = self._has(expected_hash, length)
        self._current = _Upload(self._store, length, expected_hash, known)

    def write(self, data: bytes) -> None:
        """See :class:`~imageserver.objects.base.ObjectIntake`."""
        upload = self._current
        assert upload is not None  # noqa: S101 - begin() comes first
        upload.write(data)
        if upload.missing == 0:
            self._current = None
            self._outcomes.append(self._finish(upload))

    def commit(self) -> list[Outcome]:
        """See :class:`~imageserver.objects.base.ObjectIntake`."""
        outcomes, self._outcomes = self._outcomes, []
        new, self._new = self._new, {}
        again, self._again = self._again, {}
        try:
            self._store_all({hash_: path for hash_, (path, _) in new.items()})
            lost = self._record(
                {hash_: size for hash_, (_, size) in new.items()}, again
            )
        except (OSError, StoreError) as error:
            for path, _ in new.values():
                self._store.disk.discard(path)
            text = _why(error)
            return [o if o.error else Outcome(o.hash_, error=text) for o in outcomes]
        finally:
            self._let_go()
        return [
            Outcome(o.hash_, error=_LOST) if o.hash_ in lost and not o.error else o
            for o in outcomes
        ]

    def abandon(self) -> None:
        """See :class:`~imageserver.objects.base.ObjectIntake`."""
        if self._current is not None:
            self._current.discard()
        for path, _ in self._new.values():
            self._store.disk.discard(path)
        self._current = None
        self._new.clear()
        if self._has_hand:
            self._store.leases.let_go(self._in_hand)
            self._has_hand = False

    def _take(self, hashes: Iterable[bytes]) -> None:
        if not self._has_hand:  # not earlier: that may have to wait
            self._store.leases.take(self._in_hand)
            self._has_hand = True
        with self._store.placing:
            self._in_hand.update(hashes)

    def _let_go(self) -> None:
        """Let go of all but the object that is coming in."""
        current = self._current
        with self._store.placing:
            self._in_hand.clear()
            if current is not None and current.expected_hash is not None:
                self._in_hand.add(current.expected_hash)

    def _record(self, new: dict[bytes, int], again: dict[bytes, int]) -> set[bytes]:
        """Record objects that are new, and those that were used again.

        Returns:
            What was put aside although it was to be used again.
        """
        again = {hash_: size for hash_, size in again.items() if hash_ not in new}
        if not again:
            self._add(new)
            return set()
        with self._store.placing:
            known = self._store.index.object_sizes(again)
            lost = again.keys() - known.keys() | set(self._store.missing(known))
            self._add(new | {h: size for h, size in again.items() if h not in lost})
        return lost

    def _add(self, sizes: dict[bytes, int]) -> None:
        if sizes:
            store = self._store
            store.index.add_objects(sizes, store.now_ns(), store.leases.until_ns())
            if self._lease is not None:
                self._lease.keep(sizes)

    def _has(self, hash_: bytes, size: int) -> bool:
        if hash_ in self._new:
            return True
        seen = self._seen.get(hash_)
        if seen is not None:
            return seen == size and self._store.is_file(hash_, size)
        try:
            return self._store.is_stored(hash_, size)
        except StoreError:
            return False  # recording it will fail, too, and give the reason

    def _finish(self, upload: _Upload) -> Outcome:
        outcome = upload.finish()
        self._take([outcome.hash_])
        if outcome.error:
            upload.discard()
        elif upload.path is None:
            self._again[outcome.hash_] = upload.length
        elif upload.is_surprise and self._has(outcome.hash_, upload.length):
            upload.discard()
            self._again[outcome.hash_] = upload.length
            return Outcome(outcome.hash_)
        else:
            self._new[outcome.hash_] = upload.path, upload.length
        return outcome

    def _store_all(self, paths: dict[bytes, str]) -> None:
        if not paths:
            return
        store = self._store
        store.sync_files(list(paths.values()))
        targets = [store.name(hash_) for hash_ in paths]
        with store.placing:
            for path, target in zip(paths.values(), targets, strict=True):
                self._place(path, target)
        store.sync_names(targets)

    def _place(self, path: str, target: str) -> None:
        disk = self._store.disk
        try:
            disk.rename(path, target)
        except FileNotFoundError:
            inner = os.path.dirname(target)
            disk.make_directory(os.path.dirname(inner), DIRECTORY_MODE)
            disk.make_directory(inner, DIRECTORY_MODE)
            disk.rename(path, target)


class _Upload:
    """One object that is coming in.

    Attributes:
        length: its size in bytes.
        expected_hash: what its hash has to be; ``None``: whatever it is.
        missing: how much of it has not come yet.
        path: the file it is written to; ``None`` if it is there already.
    """

    def __init__(
        self, store: ObjectStore, length: int, expected_hash: bytes | None, known: bool
    ) -> None:
        self.length = length
        self.missing = length
        self.path: str | None = None
        self._disk = store.disk
        self._room = store.room
        self._promised = 0
        self._written_back = 0
        self.expected_hash = expected_hash
        self._digest = hashlib.sha512()
        self._descriptor = -1
        self._error = ""
        if not known:
            self._create(store)

    def _create(self, store: ObjectStore) -> None:
        path = store.incoming_path(self.expected_hash)
        try:
            if not self._room.promise(self.length):
                raise StoreError(f"no space for an object of {self.length} bytes")
            self._promised = self.length
            self._descriptor = self._disk.create(path, FILE_MODE)
            self.path = path
        except (OSError, StoreError) as error:
            self._fail(error)

    @property
    def is_surprise(self) -> bool:
        """Whether nobody knew which object it would be."""
        return self.expected_hash is None

    def write(self, data: bytes) -> None:
        self.missing -= len(data)
        self._digest.update(data)
        if self._descriptor >= 0:
            try:
                self._disk.write(self._descriptor, data)
                self._write_back()
            except OSError as error:
                self._fail(error)
            self._release(len(data))

    def _write_back(self) -> None:
        """Keep the disk busy while more comes."""
        begin, end = self._written_back, self.length - self.missing
        if end - begin >= _WRITE_BACK_BYTES:
            self._disk.write_back(self._descriptor, begin, end - begin)
            self._written_back = end

    def finish(self) -> Outcome:
        try:
            self._close()
        except OSError as error:
            self._fail(error)
        hash_ = self._digest.digest()
        if self.expected_hash is not None and hash_ != self.expected_hash:
            return Outcome(hash_, error=mismatch(hash_, self.expected_hash))
        if self._error:
            return Outcome(hash_, error=self._error)
        return Outcome(hash_, added=self.path is not None)

    def discard(self) -> None:
        self._release(self._promised)
        with suppress(OSError):
            self._close()
        if self.path is not None:
            self._disk.discard(self.path)

    def _fail(self, error: OSError | StoreError) -> None:
        self._error = _why(error)
        self.discard()

    def _release(self, size: int) -> None:
        """Space was taken, or is not needed any more."""
        size = min(size, self._promised)
        self._promised -= size
        if size:
            self._room.release(size)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def _why(error: OSError | StoreError) -> str:
    return f"cannot store: {getattr(error, 'strerror', None) or error}"
