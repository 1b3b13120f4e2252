"""Metrics in the formats that existing tools know: ``docs/pages.md``, "Metrics"."""

from __future__ import annotations

import datetime
import math
from typing import Any

from imageserver.srpc.distribution import Distribution
from imageserver.srpc.metric import Metric

_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_SECONDS, _MILLISECONDS = "Seconds", "Milliseconds"


def kind_of(metric: Metric) -> tuple[str, int, str]:
    """The kind of a metric, its bits (0: it is no number), and its unit."""
    value = metric.value
    if isinstance(value, int) and not isinstance(value, bool):
        return ("int64" if metric.is_signed else "uint64"), 64, metric.unit
    for type_, kind, bits, unit in _KINDS:
        if isinstance(value, type_):
            return kind, bits, unit or metric.unit
    raise TypeError(f"no kind of metric: {value!r}")


_KINDS: tuple[tuple[type, str, int, str], ...] = (
    (bool, "bool", 0, ""),
    (float, "float64", 64, ""),
    (str, "string", 0, ""),
    (datetime.datetime, "time", 0, ""),
    (datetime.timedelta, "duration", 0, _SECONDS),
    (Distribution, "distribution", 0, _MILLISECONDS),
)


def as_text(metric: Metric) -> str:
    """The value, on a line of text."""
    match metric.value:
        case bool():
            return str(metric.value).lower()
        case str():
            return quote(metric.value)
        case float():
            return show_float(metric.value)
        case datetime.datetime() | datetime.timedelta():
            return show_seconds(metric.value)
        case Distribution():
            return _distribution_text(metric.value)
    return str(metric.value)


def as_json(metric: Metric, now_s: float) -> dict[str, Any]:
    """The metric as JSON types.

    Args:
        metric: the metric.
        now_s: when its value was taken, in seconds since 1970.
    """
    kind, bits, unit = kind_of(metric)
    now = _EPOCH + datetime.timedelta(seconds=now_s)
    values: dict[str, Any] = {
        "path": metric.path,
        "description": metric.description,
        "unit": unit,
        "kind": kind,
    }
    if bits:
        values["bits"] = bits
    values["value"] = _json_value(metric)
    values["timestamp"] = show_seconds(now)
    values["groupId"] = 0
    return values


def _json_value(metric: Metric) -> Any:
    match metric.value:
        case datetime.datetime() | datetime.timedelta():
            return show_seconds(metric.value)
        case Distribution():
            return _distribution_json(metric.value)
        case float() if not math.isfinite(metric.value):
            return None
    return metric.value


def show_seconds(moment: datetime.datetime | datetime.timedelta) -> str:
    """A time since 1970, or a duration: ``1795392271.660731000``."""
    span = moment - _EPOCH if isinstance(moment, datetime.datetime) else moment
    microseconds = span // _MICROSECOND
    sign = "-" if microseconds < 0 else ""
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    return f"{sign}{seconds}.{rest:06d}000"


def show_float(value: float) -> str:
    """A number in the shortest form that is exact enough."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def quote(text: str) -> str:
    """A string in quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r") + '"'


def _distribution_text(found: Distribution) -> str:
    parts = [
        f"min:{_short(found.least_ms)}",
        f"max:{_short(found.most_ms)}",
        f"avg:{_short(found.average_ms)}",
        f"median:{_short(found.median_ms)}",
        f"sum:{_short(found.total_ms)}",
        f"count:{found.count}",
    ]
    for lower, upper, count in found.ranges():
        if count:
            low = "-inf" if lower is None else show_float(lower)
            high = "inf" if upper is None else show_float(upper)
            parts.append(f"[{low},{high}):{count}")
    return "{" + ";".join(parts) + "}"


def _short(value: float) -> str:
    return f"{value:.6g}"


def _distribution_json(found: Distribution) -> dict[str, Any]:
    ranges = []
    for lower, upper, count in found.ranges():
        bounds = {"lower": lower or 0, "upper": upper, "count": count}
        ranges.append({k: v for k, v in bounds.items() if v is not None})
    return {
        "min": found.least_ms,
        "max": found.most_ms,
        "average": found.average_ms,
        "median": found.median_ms,
        "sum": found.total_ms,
        "count": found.count,
        "generation": found.count,
        "ranges": ranges,
    }
