"""Pages for programs: health checks, names, lists of methods, files of the pages."""

from __future__ import annotations

from importlib import resources

from imageserver.web.answer import Answer, PageError, lines, plain
from imageserver.web.rendering import HostName
from imageserver.web.status import StatusSource
from imageserver.web.visit import Visit

_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_KEPT = "max-age=3600"


class PlainPages:
    """See the module."""

    def __init__(self, source: StatusSource, host_name: HostName) -> None:
        self._source = source
        self._host_name = host_name
        # Everything is read now: later the process may be somebody else, who cannot.
        static = resources.files("imageserver.web") / "static"
        self._files = {name: (static / name).read_bytes() for name in _TYPES}

    def health(self, _: Visit) -> Answer:
        """The process is alive: ``/healthz``."""
        return plain("OK")

    def readiness(self, _: Visit) -> Answer:
        """Everything is loaded: ``/readiness``."""
        return plain("OK") if self._source.ready else plain("loading", 503)

    def has_metrics(self, _: Visit) -> Answer:
        """There are metrics: ``/has-tricorder-metrics``."""
        return plain("true")

    def host_name(self, _: Visit) -> Answer:
        """The name of this machine: ``/_goSRPC_/getHostname``."""
        return plain(self._host_name.find() + "\n")

    def methods(self, _: Visit) -> Answer:
        """All methods that can be called: ``/_goSRPC_/listMethods``."""
        return lines(sorted(m.full_name for m in self._source.server.methods))

    def public_methods(self, _: Visit) -> Answer:
        """The methods that any user may call: ``/_goSRPC_/listPublicMethods``."""
        methods = self._source.server.methods
        return lines(sorted(m.full_name for m in methods if m.public))

    def file(self, visit: Visit) -> Answer:
        """A file of the pages: ``/static/NAME``."""
        name = visit.path.removeprefix("/static/")
        if name not in _TYPES:
            raise PageError(404, "404 page not found")
        return self._file(name)

    def theme(self, _: Visit) -> Answer:
        """What existing pages link to: ``/metricsstatic/theme.css``."""
        return self._file("style.css")

    def _file(self, name: str) -> Answer:
        headers = {"Cache-Control": _KEPT}
        return Answer(self._files[name], _TYPES[name], headers=headers)
