"""The methods that a server offers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from imageserver.gob import Limits
from imageserver.srpc.access import Caller

if TYPE_CHECKING:
    from imageserver.srpc.call import Call

Reply: TypeAlias = Callable[[Caller, Any], Awaitable[Any]]
Stream: TypeAlias = Callable[["Call"], Awaitable[None]]

SMALL = Limits(message_bytes=1 << 20, elements=1 << 16)
"""For requests that name things."""


@attrs.frozen
class Method:
    """One method of a service.

    Attributes:
        service: for example ``ImageServer``.
        name: for example ``CheckImage``.
        public: any authenticated user may call it.
        unauthenticated: anybody may.
        request: the class of its request, for request-reply methods.
        reply: from caller and request to the response.
        stream: for streaming methods; it reads and writes as it likes.
        limits: for what the caller sends.
    """

    service: str
    name: str
    public: bool = False
    unauthenticated: bool = False
    request: type | None = None
    reply: Reply | None = None
    stream: Stream | None = None
    limits: Limits = SMALL

    @property
    def full_name(self) -> str:
        """``Service.Method``."""
        return f"{self.service}.{self.name}"

    @property
    def is_builtin(self) -> bool:
        """Whether it is one of the transport itself.

        Everybody has power over those who does not waive it, and they do not wait for
        the server's data.
        """
        return not self.service


class MethodTable:
    """All methods of a server, by service and name."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._services: dict[str, dict[str, Method]] = {}
        for method in methods:
            self._services.setdefault(method.service, {})[method.name] = method

    def __iter__(self) -> Iterator[Method]:
        for methods in self._services.values():
            yield from methods.values()

    @property
    def any_unauthenticated(self) -> bool:
        """Whether anybody at all may call something."""
        return any(method.unauthenticated for method in self)

    def find(self, service: str, name: str) -> Method:
        """The method of that name.

        Raises:
            LookupError: there is none; the text is for the client.
        """
        methods = self._services.get(service)
        if methods is None:
            raise LookupError(f"unknown service: {service}")
        if name not in methods:
            raise LookupError(f"{service}: unknown method: {name}")
        return methods[name]
