"""A request for a page, and who makes it."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

import attrs

from imageserver.srpc.access import ANONYMOUS, Identity, Policy, has_method_access
from imageserver.srpc.methods import Method
from imageserver.web.query import Query


class Section(enum.StrEnum):
    """What not everybody gets to see, by the words of ``-openPages``."""

    FILES = "files"
    """The contents of objects, and of files in images."""
    FLAGS = "flags"
    """The command line, and the values of flags."""
    LOGS = "logs"
    """The log, and who made which change."""
    STACKS = "stacks"
    """What the process is doing now."""


_METHODS = {
    Section.FILES: "ObjectServer.GetObjects",
    Section.FLAGS: "Logger.Watch",
    Section.LOGS: "Logger.Watch",
    Section.STACKS: "Logger.GetStackTrace",
}
"""Who may call this, may see that."""


class PageAccess:
    """Who may see what: ``docs/security.md``, "Pages"."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        methods: Iterable[Method],
        opened: Iterable[str] = (),
    ) -> None:
        """Decide by the same rules as for calls.

        Args:
            policy: gives the server's.
            methods: what can be called.
            opened: the sections that everybody may see.
        """
        self._policy = policy
        self._methods = {method.full_name: method for method in methods}
        self._opened = frozenset(opened)

    def permits(self, identity: Identity, section: Section) -> bool:
        """Whether somebody may see a section."""
        if section in self._opened:
            return True
        name = _METHODS[section]
        if has_method_access(self._policy(), identity, True, name):
            return True
        method = self._methods.get(name)
        if method is None:
            return False
        return method.unauthenticated or (method.public and bool(identity.user))


@attrs.frozen
class Visit:
    """A request for a page.

    Attributes:
        path: which page, decoded.
        query: what stands behind it.
        may: whether whoever asks may see a section.
        identity: who asks.
        headers: those of the request that pages look at, by small names.
        host: under which name the server was asked.
        started_s: when the request came, by a clock that only measures.
    """

    path: str
    query: Query
    may: Callable[[Section], bool]
    identity: Identity = ANONYMOUS
    headers: dict[str, str] = attrs.field(factory=dict)
    host: str = ""
    started_s: float = attrs.field(factory=time.perf_counter)

    @property
    def output(self) -> str:
        """``html``, ``text`` or ``json``; what else is asked for is given back."""
        return self.query.get("output") or "html"

    def address(self, **changes: str | int | None) -> str:
        """The address of this page with other parameters; ``None`` leaves one out."""
        return change_address(self.path, self.query, changes)


def change_address(
    path: str, query: Query, changes: dict[str, str | int | None]
) -> str:
    """An address with other parameters."""
    pieces = []
    if query.subject:
        pieces.append(quote(query.names[-1].encode("utf-8", "surrogateescape"), "/:,@"))
    kept = [(key, value) for key, value in query.parameters if key not in changes]
    added = [(key, str(v)) for key, v in changes.items() if v is not None]
    for key, value in (*kept, *added):
        encoded = quote_plus(key.encode("utf-8", "surrogateescape"))
        if value is not None:
            encoded += "=" + quote_plus(value.encode("utf-8", "surrogateescape"), "/:,")
        pieces.append(encoded)
    return quote(path) + ("?" + "&".join(pieces) if pieces else "")
