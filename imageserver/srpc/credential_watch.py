"""Takes changed certificate files into use: ``docs/security.md``, "Files"."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from imageserver.errors import CertificateError, KeyMismatch
from imageserver.srpc.credential_files import CredentialFiles, Credentials, Signature
from imageserver.srpc.expiry import ExpiryLog, expiry_metrics
from imageserver.srpc.metric import Metric
from imageserver.worker import Worker

LOOK_INTERVAL_S = 10.0
SETTLE_S = 1.0
"""How long files must have been left alone: they may be half written."""
PATIENCE_S = 60.0
"""How long a certificate may wait for its key before somebody is told."""


class CredentialWatch(Service):
    """Looks at the files from time to time.

    Connections that are open stay as they are.

    Attributes:
        current: the last that were good.
        problem: why newer ones are not in use; empty if there is nothing wrong.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        worker: Worker,
        files: CredentialFiles,
        changed: Callable[[Credentials], None],
    ) -> None:
        """Load the files, blocking.

        Args:
            clock: when to look again, and what time it is.
            worker: reads the files later.
            files: where they are.
            changed: told when there are new credentials.

        Raises:
            CertificateError: they cannot be used.
        """
        self._clock = clock
        self._worker = worker
        self._files = files
        self._changed = changed
        self._seen: Signature = files.signature()
        self._loaded: Signature = self._seen
        self.current = files.load()
        self.problem = ""
        self._waiting_since_s: float | None = None
        self._expiry_log = ExpiryLog()
        self._next: IDelayedCall | None = None
        self._looking: Deferred[None] = succeed(None)
        self._lock = DeferredLock()

    @property
    def now(self) -> datetime.datetime:
        """The time, in UTC."""
        return datetime.datetime.fromtimestamp(self._clock.seconds(), datetime.UTC)

    def metrics(self) -> Iterator[Metric]:
        """What is going to expire, and whether new files cannot be used."""
        yield from expiry_metrics(self.current.expiries)
        description = "changed certificate files that cannot be used: 1, or 0"
        path = "/srpc/server/certificates-outdated"
        yield Metric(path, int(bool(self.problem)), description)

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        for expiry in self.current.expiries:
            if self.now < expiry.begins:
                self._log.warn(
                    "{kind} {subject} {file} is not valid yet", **attrs.asdict(expiry)
                )
        self._warn_of_expiry()
        self._look_in(LOOK_INTERVAL_S)

    def stopService(self) -> Deferred[None]:
        """Look no more."""
        super().stopService()
        if self._next is not None and self._next.active():
            self._next.cancel()
        return self._looking

    def _look_in(self, delay_s: float) -> None:
        def look() -> None:
            self._looking = Deferred.fromCoroutine(self._look_and_go_on())

        if self.running:
            self._next = self._clock.callLater(delay_s, look)

    async def _look_and_go_on(self) -> None:
        delay_s = LOOK_INTERVAL_S
        try:
            if not await self._look():
                delay_s = SETTLE_S
        except Exception:  # or there would be no next time
            self._log.failure("cannot look at the certificate files")
        self._look_in(delay_s)

    async def _look(self) -> bool:
        """Load what has changed and is complete; whether there is no more to do."""
        self._warn_of_expiry()
        seen = await self._worker.run(self._files.signature)
        settled = seen == self._seen
        self._seen = seen
        if seen == self._loaded:
            self._solved()
        elif settled:
            await self.reload()
        return settled

    async def reload(self) -> None:
        """Load the files now. If they are bad, nothing changes but :attr:`problem`."""
        async with self._lock:
            seen = await self._worker.run(self._files.signature)
            try:
                new = await self._worker.run(self._files.load, self.current)
                self._check_time(new)
            except KeyMismatch as error:
                self._wait_for_key(error)
            except CertificateError as error:
                self._report(str(error))
            else:
                self._loaded = seen
                self.current = new
                self._solved()
                self._changed(new)
                self._log.info("certificates were loaded anew")
                self._warn_of_expiry()

    def _check_time(self, new: Credentials) -> None:
        if new.key_pair is None:
            return
        leaf = new.key_pair.certificates[0]
        if self.now < leaf.not_valid_before_utc:
            raise CertificateError("the new certificate is not valid yet")
        if self.now > leaf.not_valid_after_utc:
            raise CertificateError("the new certificate has expired")

    def _wait_for_key(self, error: KeyMismatch) -> None:
        """Certificate and key are replaced one after the other."""
        now_s = self._clock.seconds()
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        if now_s - self._waiting_since_s >= PATIENCE_S:
            self._report(str(error))

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            self._log.error(
                "certificates are not loaded anew, the old ones stay in use: {problem}",
                problem=problem,
            )
        self.problem = problem

    def _solved(self) -> None:
        self.problem = ""
        self._waiting_since_s = None

    def _warn_of_expiry(self) -> None:
        self._expiry_log.look(self.current.expiries, self.now)
