"""The Klein resource."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - werkzeug loads it with the first request
import json
import socket
import time
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from klein import Klein
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import NOT_FOUND, SERVICE_UNAVAILABLE
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException, NotFound

from imageserver.web.http_site import Site
from imageserver.web.status import StatusSource
from imageserver.web.units import (
    show_bytes,
    show_count,
    show_duration,
    show_moment,
    show_percent,
)
from imageserver.worker import Worker

_HTTP_TIMEOUT_S = 60
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_READING = ["GET"]  # and HEAD
_STATIC_TYPES = {"style.css": "text/css; charset=utf-8"}


class Pages:
    """What a browser gets to see."""

    app = Klein()

    def __init__(self, status: StatusSource, worker: Worker) -> None:
        """Tell what ``status`` knows; files are read with ``worker``."""
        self._status = status
        self._worker = worker
        self._host_name = ""
        self._host_name_lock = DeferredLock()
        # Everything is read now: later the process may be somebody else, who cannot.
        static = resources.files("imageserver.web") / "static"
        self._static = {name: (static / name).read_text() for name in _STATIC_TYPES}
        environment = Environment(
            auto_reload=False,
            loader=PackageLoader("imageserver.web"),
            autoescape=True,
            undefined=StrictUndefined,
        )
        environment.filters.update(
            bytes=show_bytes,
            count=show_count,
            duration=show_duration,
            moment=show_moment,
        )
        environment.globals.update(percent=show_percent)
        self._status_page = environment.get_template("status.html")

    @app.route("/", methods=_READING)
    async def status(self, request: IRequest) -> bytes:
        """The status page."""
        started_s = time.perf_counter()
        status = await self._status.collect()
        if request.args.get(b"output") == [b"json"]:
            return _answer(
                request, json.dumps(status.as_json(), indent=4), "application/json"
            )
        page = self._status_page.render(
            status=status,
            host=await self._find_host_name(),
            now=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
            render_ms=(time.perf_counter() - started_s) * 1000,
        )
        return _answer(request, page, _HTML)

    @app.route("/healthz", methods=_READING)
    def healthz(self, request: IRequest) -> bytes:
        """The process is alive."""
        return _answer(request, "OK", _TEXT)

    @app.route("/readiness", methods=_READING)
    def readiness(self, request: IRequest) -> bytes:
        """Everything is loaded."""
        if self._status.ready:
            return _answer(request, "OK", _TEXT)
        request.setResponseCode(SERVICE_UNAVAILABLE)
        return _answer(request, "loading", _TEXT)

    @app.route("/static/<name>", methods=_READING)
    def static(self, request: IRequest, name: str) -> bytes:
        """Style sheets."""
        if name not in self._static:
            raise NotFound
        request.setHeader("Cache-Control", "max-age=3600")
        return _answer(request, self._static[name], _STATIC_TYPES[name])

    @app.route("/_goSRPC_/getHostname", methods=_READING)
    async def host_name(self, request: IRequest) -> bytes:
        """The name of this machine."""
        return _answer(request, await self._find_host_name() + "\n", _TEXT)

    @app.route("/_goSRPC_/listMethods", methods=_READING)
    def list_methods(self, request: IRequest) -> bytes:
        """All methods that can be called."""
        names = [method.full_name for method in self._status.server.methods]
        return _answer(request, _lines(names), _TEXT)

    @app.route("/_goSRPC_/listPublicMethods", methods=_READING)
    def list_public_methods(self, request: IRequest) -> bytes:
        """The methods that any authenticated user may call."""
        methods = self._status.server.methods
        names = [method.full_name for method in methods if method.public]
        return _answer(request, _lines(names), _TEXT)

    @app.handle_errors(HTTPException)
    def refuse(self, request: IRequest, failure: Failure) -> bytes:
        """There is no such page, or it cannot be asked for like that."""
        error: Any = failure.value
        code = error.code or NOT_FOUND
        request.setResponseCode(code)
        text = "404 page not found" if code == NOT_FOUND else error.name
        return _answer(request, f"{text}\n", _TEXT)

    async def _find_host_name(self) -> str:
        """The name of this machine; looked up once, as that may take long."""
        async with self._host_name_lock:
            if not self._host_name:
                self._host_name = await self._worker.run(socket.getfqdn)
        return self._host_name


def make_site(pages: Pages, clock: IReactorTime) -> Site:
    """The HTTP side of the port; ``clock`` is for its deadlines."""
    return Site(pages.app.resource(), timeout=_HTTP_TIMEOUT_S, reactor=clock)


def _answer(request: IRequest, text: str, content_type: str) -> bytes:
    for name, value in _SECURITY_HEADERS.items():
        request.setHeader(name, value)
    request.setHeader("Content-Type", content_type)
    body = text.encode("utf-8", "backslashreplace")
    request.setHeader("Content-Length", str(len(body)))
    return body


def _lines(names: list[str]) -> str:
    return "".join(f"{name}\n" for name in sorted(names))
