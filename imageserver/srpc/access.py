"""Who is calling, and what they may call: ``docs/security.md``, "Access"."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import attrs
import re2
from twisted.internet.defer import Deferred

_PATTERN_LIMIT = 1024  # characters; more would only cost time


@attrs.frozen
class Identity:
    """What a verified client certificate says.

    Attributes:
        user: the common name; empty for an unauthenticated peer.
        groups: the groups the user belongs to.
        methods: patterns of the methods that the certificate permits.
    """

    user: str = ""
    groups: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ()


ANONYMOUS = Identity()


@attrs.frozen
class Caller:
    """The caller of one method.

    Attributes:
        identity: who it is.
        has_method_access: whether ownership does not matter for this caller.
        address: where the connection comes from, for the log.
        departure: gives what fires when the connection is gone, for calls that wait.
    """

    identity: Identity
    has_method_access: bool
    address: str = ""
    departure: Callable[[], Deferred[None]] = attrs.field(
        default=Deferred, eq=False, repr=False
    )

    @property
    def user(self) -> str:
        """The caller's name, empty if unauthenticated."""
        return self.identity.user


@attrs.frozen
class Policy:
    """What the server's flags say about access.

    Attributes:
        insecure: whether there is no authentication at all.
        trusted_users: users who may call everything.
        trusted_groups: groups whose members may.
    """

    insecure: bool = False
    trusted_users: frozenset[str] = frozenset()
    trusted_groups: frozenset[str] = frozenset()


def has_method_access(
    policy: Policy, identity: Identity, powers: bool, method: str
) -> bool:
    """Whether the caller has power over a method, whatever it owns.

    Args:
        policy: the server's.
        identity: the caller's.
        powers: whether the caller wants to use its powers.
        method: ``Service.Method``.
    """
    if not powers:
        return False
    if policy.insecure or _any_matches(identity.methods, method):
        return True
    if not identity.user:
        return False
    return identity.user in policy.trusted_users or bool(
        identity.groups & policy.trusted_groups
    )


@lru_cache(maxsize=4096)
def _any_matches(patterns: tuple[str, ...], method: str) -> bool:
    """Remembered, since each pattern takes some microseconds for each call."""
    return any(pattern_matches(pattern, method) for pattern in patterns)


def pattern_matches(pattern: str, method: str) -> bool:
    """Whether a method pattern of a certificate covers ``method``, as a whole."""
    expression = _compile(pattern)
    return expression is not None and expression.fullmatch(method) is not None


@lru_cache(maxsize=4096)
def _compile(pattern: str) -> re2._Regexp | None:
    """A pattern as an expression; ``None`` if malformed: it matches nothing."""
    if len(pattern) > _PATTERN_LIMIT:
        return None
    pieces = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            pieces.append("[^/]*")
        elif character == "?":
            pieces.append("[^/]")
        elif character == "[":
            found = _character_class(pattern, position)
            if found is None:
                return None
            piece, position = found
            pieces.append(piece)
        elif character == "\\":
            if position == len(pattern):
                return None
            pieces.append(re2.escape(pattern[position]))
            position += 1
        else:
            pieces.append(re2.escape(character))
    return re2.compile("".join(pieces))


def _character_class(pattern: str, position: int) -> tuple[str, int] | None:
    """A class like ``[^a-z]`` from behind its bracket, and where it ends."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges: list[str] = []
    while True:
        if pattern[position : position + 1] == "]" and ranges:
            break
        low, position = _class_character(pattern, position)
        high = low
        if low and pattern[position : position + 1] == "-":
            high, position = _class_character(pattern, position + 1)
        if not low or not high:
            return None
        if low <= high:  # an empty range matches nothing
            ranges.append(f"{_class_escape(low)}-{_class_escape(high)}")
        else:
            ranges.append("")
    content = "".join(ranges)
    if not content:
        return ("(?s:.)" if negated else "[^\\x00-\\x{10FFFF}]", position + 1)
    return f"[{'^' if negated else ''}{content}]", position + 1


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    """One character of a class; empty if there is none."""
    character = pattern[position : position + 1]
    if character == "\\":
        position += 1
        character = pattern[position : position + 1]
    elif character in ("-", "]"):
        character = ""
    return character, position + 1


def _class_escape(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"
