"""The Klein resource: which page is where, and how answers are sent."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - werkzeug loads it with the first request
import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import NOT_FOUND, SERVICE_UNAVAILABLE
from werkzeug.exceptions import HTTPException

from imageserver.errors import CertificateError
from imageserver.srpc.access import ANONYMOUS, Identity
from imageserver.srpc.tls import peer_identity
from imageserver.web.answer import Answer, PageError, plain, prepare
from imageserver.web.error_page import ErrorPage
from imageserver.web.http_site import Site
from imageserver.web.query import Query
from imageserver.web.streaming import PieceProducer
from imageserver.web.visit import PageAccess, Section, Visit
from imageserver.worker import Worker

_HTTP_TIMEOUT_S = 60
_READING = ["GET"]  # and HEAD
_WAITING_QUICK = 200
_WAITING_SLOW = 20
_HEADERS = ("accept", "accept-encoding", "if-none-match", "if-range", "range")

Page = Callable[[Visit], Answer]
"""Makes an answer; blocks."""


@attrs.frozen
class Route:
    """A page and its address.

    Attributes:
        path: the address; ``<path:rest>`` stands for anything.
        page: makes the page.
        has_subject: whether the query begins with what the page is about.
        section: who may see it; ``None``: everybody.
        is_slow: whether it may take so long that it must not keep other pages waiting.
        is_instant: whether it takes no time at all, and waits for nothing.
    """

    path: str
    page: Page
    has_subject: bool = False
    section: Section | None = None
    is_slow: bool = False
    is_instant: bool = False


@attrs.define
class _Queue:
    """Requests that wait for a worker.

    Attributes:
        worker: makes the pages.
        most: how many may wait.
        waiting: how many do.
    """

    worker: Worker
    most: int
    waiting: int = 0


class Pages:
    """What a browser gets to see."""

    _log = Logger()

    def __init__(
        self,
        routes: Iterable[Route],
        access: PageAccess,
        errors: ErrorPage,
        quick: Worker,
        slow: Worker,
    ) -> None:
        """Serve pages.

        Args:
            routes: the pages.
            access: who may see what.
            errors: says what is wrong.
            quick: makes pages.
            slow: makes those that take long.
        """
        self.app = Klein()
        self._access = access
        self._errors = errors
        queues = _Queue(quick, _WAITING_QUICK), _Queue(slow, _WAITING_SLOW)
        for route in routes:
            self._add(route, queues[route.is_slow])
        self.app.handle_errors(HTTPException)(self._refuse)
        self._quick = quick

    def add_live(self, path: str, serve: Callable[[Any], Any]) -> None:
        """Let ``serve`` answer requests for a path by itself."""
        self.app.route(path, methods=_READING, endpoint=path)(serve)

    def _add(self, route: Route, queue: _Queue) -> None:
        async def serve(request: Any, **_: str) -> bytes:
            visit = self._visit(request, route.has_subject)
            if route.is_instant:
                answer = self._make(route, visit)
                return await self._send(request, answer, queue.worker)
            if queue.waiting >= queue.most:
                request.setHeader("Retry-After", "5")
                answer = plain("too many pages are asked for\n", SERVICE_UNAVAILABLE)
                return await self._send(request, answer, queue.worker)
            queue.waiting += 1
            try:
                answer = await queue.worker.run(self._make, route, visit)
            finally:
                queue.waiting -= 1
            return await self._send(request, answer, queue.worker)

        self.app.route(route.path, methods=_READING, endpoint=route.path)(serve)

    def _visit(self, request: Any, has_subject: bool) -> Visit:
        identity = _identity(request)
        headers = {
            name: value for name in _HEADERS if (value := request.getHeader(name))
        }
        return Visit(
            path=request.path.decode("utf-8", "surrogateescape"),
            query=Query.parse(request.uri.partition(b"?")[2], has_subject=has_subject),
            may=lambda section: self._access.permits(identity, section),
            identity=identity,
            headers=headers,
            host=request.getRequestHostname().decode("utf-8", "replace"),
            started_s=time.perf_counter(),
        )

    def _make(self, route: Route, visit: Visit) -> Answer:
        try:
            if route.section is not None and not visit.may(route.section):
                raise PageError(
                    403,
                    "This is not for everybody.",
                    "Come with a certificate over HTTPS, or have the server started"
                    f" with -openPages={route.section}.",
                )
            return prepare(route.page(visit), visit)
        except Exception as error:
            return self._errors.show(error, visit)

    async def _send(self, request: Any, answer: Answer, worker: Worker) -> bytes:
        request.setResponseCode(answer.status)
        for name, value in answer.all_headers.items():
            request.setHeader(name, value)
        if isinstance(answer.body, bytes):
            return answer.body
        producer = PieceProducer(request, answer.body, worker)
        if request.method == b"HEAD":
            await producer.close()
        else:
            await producer.run()
        return b""

    async def _refuse(self, request: Any, failure: Failure) -> bytes:
        """There is no such page, or it cannot be asked for like that."""
        error: Any = failure.value
        code = error.code or NOT_FOUND
        text = "404 page not found" if code == NOT_FOUND else error.name
        return await self._send(request, plain(f"{text}\n", code), self._quick)


def _identity(request: Any) -> Identity:
    """Who asks, as far as a certificate says so."""
    if not request.isSecure():
        return ANONYMOUS
    try:
        return peer_identity(request.channel.transport)
    except CertificateError:
        return ANONYMOUS


def make_site(pages: Pages, clock: IReactorTime) -> Site:
    """The HTTP side of the port; ``clock`` is for its deadlines."""
    return Site(pages.app.resource(), timeout=_HTTP_TIMEOUT_S, reactor=clock)
