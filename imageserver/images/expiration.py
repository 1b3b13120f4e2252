"""How long callers may keep images that expire: ``docs/formats.md``, "Expiration"."""

from __future__ import annotations

import attrs

from imageserver.errors import AccessDenied, RequestError
from imageserver.gob import Time
from imageserver.srpc.access import Caller

_SECOND = 1_000_000_000
_MINUTE, _HOUR = 60, 3_600
_DAY, _WEEK = 24 * _HOUR, 7 * 24 * _HOUR
REGULAR_NS = _DAY * _SECOND
PRIVILEGED_NS = 730 * _HOUR * _SECOND


@attrs.frozen
class ExpirationLimits:
    """How far off an expiration may be, in nanoseconds from now.

    Attributes:
        regular_ns: for who has no power over the method.
        privileged_ns: for who has; at least the other.
    """

    regular_ns: int = REGULAR_NS
    privileged_ns: int = PRIVILEGED_NS

    def check(self, caller: Caller, expires_at: Time, now_ns: int) -> None:
        """Refuse an expiration that a caller may not give to an image.

        Raises:
            RequestError: it is too far off.
            AccessDenied: the image would never expire.
        """
        if caller.has_method_access and not caller.user:
            return  # an insecure server
        if expires_at.is_zero:
            if not caller.has_method_access:
                raise AccessDenied("not permitted to make image non-expiring")
            return
        limit_ns, addressee = self.regular_ns, ""
        if caller.has_method_access:
            limit_ns, addressee = max(self.privileged_ns, limit_ns), " for you"
        if expires_at.to_nanoseconds() - now_ns > limit_ns:
            limit = format_duration(limit_ns // _SECOND)
            raise RequestError(f"maximum expiration time is {limit}{addressee}")


def format_duration(seconds: int) -> str:
    """Seconds as people are told of them: ``1d0s``, ``4w2d10h0m0s``."""
    text = ""
    for letter, unit in (("w", _WEEK), ("d", _DAY)):
        count, seconds = divmod(seconds, unit)
        text += f"{count}{letter}" if count else ""
    hours, rest = divmod(seconds, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    if hours:
        return f"{text}{hours}h{minutes}m{rest}s"
    return f"{text}{minutes}m{rest}s" if minutes else f"{text}{rest}s"
