"""What expires, and who is to be told when: ``docs/security.md``, "Expiry"."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

import attrs
from twisted.logger import Logger

from imageserver.srpc.metric import Metric

_DAY = datetime.timedelta(days=1)
_WARNINGS_DAYS = (1, 7, 30)  # before the end
_ROOT = "/srpc/server/earliest-"
CERTIFICATE, AUTHORITY, IDENTITY_AUTHORITY = "certificate", "CA", "identity CA"
REVOCATIONS = "CRL"


@attrs.frozen
class Expiry:
    """Something that ends to be valid.

    Attributes:
        kind: :data:`CERTIFICATE`, :data:`AUTHORITY`, :data:`IDENTITY_AUTHORITY` or
            :data:`REVOCATIONS`.
        file: where it is; empty if in no file.
        subject: whose certificate, or by whom the list.
        begins: from when it is valid, in UTC.
        ends: until when.
    """

    kind: str
    file: str
    subject: str
    begins: datetime.datetime
    ends: datetime.datetime

    def days_left(self, now: datetime.datetime) -> float:
        """How long it is still valid; negative if it is not any more."""
        return (self.ends - now) / _DAY

    def stage(self, now: datetime.datetime) -> int | None:
        """How near the end is, as the days of the last warning that is due.

        Warnings that would come in the first half of the lifetime are left out: who
        renews every month need not hear about it.

        Returns:
            30, 7 or 1; 0 if it has expired; ``None`` if nobody needs to care.
        """
        left = self.ends - now
        if left < datetime.timedelta():
            return 0
        for days in _WARNINGS_DAYS:
            if left <= days * _DAY and 2 * days * _DAY <= self.ends - self.begins:
                return days
        return None


def expiry_metrics(expiries: Iterable[Expiry]) -> Iterator[Metric]:
    """The next end of each kind, and from when the certificate that ends is valid."""
    by_end = sorted(expiries, key=lambda expiry: expiry.ends)
    for name, kinds in (
        ("certificate", (CERTIFICATE,)),
        ("ca", (AUTHORITY, IDENTITY_AUTHORITY)),
        ("crl", (REVOCATIONS,)),
    ):
        ending = next((expiry for expiry in by_end if expiry.kind in kinds), None)
        if ending is None:
            continue
        yield Metric(f"{_ROOT}{name}-expiration", ending.ends, "when it expires")
        if name == "certificate":
            path = f"{_ROOT}expiring-certificate-activation"
            yield Metric(path, ending.begins, "from when it is valid")


class ExpiryLog:
    """Logs each warning once."""

    _log = Logger()

    def __init__(self) -> None:
        self._stages: dict[Expiry, int] = {}

    def look(self, expiries: Iterable[Expiry], now: datetime.datetime) -> None:
        """Warn of what has come nearer to its end since the last time."""
        stages = {}
        for expiry in expiries:
            stage = expiry.stage(now)
            if stage is None:
                continue
            stages[expiry] = stage
            if stage < self._stages.get(expiry, stage + 1):
                self._log.warn(
                    "{kind} {subject} {file} {verb} at {ends:%Y-%m-%d %H:%M} UTC",
                    verb="expires" if stage else "has expired",
                    **attrs.asdict(expiry),
                )
        self._stages = stages
