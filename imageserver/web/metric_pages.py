"""Metrics: ``/metrics``, ``/metricsapi``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from imageserver.srpc.metric import Metric
from imageserver.web import metric_format
from imageserver.web.answer import JSON, Answer, plain
from imageserver.web.prometheus_metrics import PrometheusMetrics
from imageserver.web.rendering import Renderer
from imageserver.web.visit import Section, Visit

_TREE, _API = "/metrics", "/metricsapi"
_SECRET = ("/proc/flags", "/proc/args")
_PROMETHEUS = ("application/openmetrics-text", "version=0.0.4", "version=1.0.0")


class MetricPages:
    """See the module."""

    def __init__(
        self,
        renderer: Renderer,
        metrics: Iterable[Metric],
        prometheus: PrometheusMetrics,
        now_s: Callable[[], float],
    ) -> None:
        """Show metrics.

        Args:
            renderer: makes pages.
            metrics: all of them, with the values of now, each time they are looked at.
            prometheus: the same for Prometheus.
            now_s: the time.
        """
        self._renderer = renderer
        self._metrics = metrics
        self._prometheus = prometheus
        self._now_s = now_s

    def root(self, visit: Visit) -> Answer:
        """``/metrics`` itself: Prometheus asks for it so."""
        accept = visit.headers.get("accept", "").replace(" ", "")
        if any(word in accept for word in _PROMETHEUS):
            return self.prometheus(visit)
        return _moved(f"{_TREE}/")

    def api_root(self, _: Visit) -> Answer:
        """``/metricsapi`` itself."""
        return _moved(f"{_API}/")

    def prometheus(self, visit: Visit) -> Answer:
        """All metrics for Prometheus: ``/metrics/prometheus``."""
        body, content_type = self._prometheus.encode(visit.headers.get("accept", ""))
        return Answer(body, content_type, headers={"Cache-Control": "no-store"})

    def tree(self, visit: Visit) -> Answer:
        """A metric, or those below a path: ``/metrics/PATH``."""
        path = _path(visit, _TREE)
        found = self._below(visit, path)
        if visit.query.get("format") == "text" or visit.output == "text":
            if not found:
                return plain("*Path does not exist.*\n")
            if [metric.path for metric in found] == [path]:
                return plain(f"{metric_format.as_text(found[0])}\n")
            rows = [f"{it.path} {metric_format.as_text(it)}\n" for it in found]
            return plain("".join(rows))
        if visit.output == "json":
            return self._json(found)
        names = set()
        prefix = path.rstrip("/") + "/"
        for metric in found:
            rest = metric.path.removeprefix(prefix)
            if "/" in rest:
                names.add(rest.partition("/")[0])
        return self._renderer.page(
            "metrics.html",
            visit,
            path=path,
            prefix=prefix,
            metrics=[it for it in found if "/" not in it.path.removeprefix(prefix)],
            directories=sorted(names),
            text_of=metric_format.as_text,
            kind_of=metric_format.kind_of,
            outputs=("json", "text"),
        )

    def api(self, visit: Visit) -> Answer:
        """The same as JSON: ``/metricsapi/PATH``."""
        path = _path(visit, _API)
        found = self._below(visit, path)
        if visit.query.get("singleton"):
            exact = [metric for metric in found if metric.path == path]
            if not exact:
                return plain("404 Not Found\n", 404)
            now_s = self._now_s()
            return _tricorder(metric_format.as_json(exact[0], now_s))
        return self._json(found)

    def _json(self, found: list[Metric]) -> Answer:
        now_s = self._now_s()
        return _tricorder([metric_format.as_json(metric, now_s) for metric in found])

    def _below(self, visit: Visit, path: str) -> list[Metric]:
        prefix = path.rstrip("/") + "/"
        may_see_flags = visit.may(Section.FLAGS)
        return sorted(
            (
                metric
                for metric in self._metrics
                if (metric.path == path or metric.path.startswith(prefix))
                and (may_see_flags or not metric.path.startswith(_SECRET))
            ),
            key=lambda metric: metric.path,
        )


def _path(visit: Visit, root: str) -> str:
    return "/" + visit.path.removeprefix(root).strip("/")


def _moved(address: str) -> Answer:
    return Answer(b"", "text/plain; charset=utf-8", 301, {"Location": address})


def _tricorder(value: object) -> Answer:
    body = json.dumps(value, indent="\t").encode()
    return Answer(body, JSON, headers={"X-Tricorder-Media-Type": "tricorder.v1"})
