"""Metrics in all formats."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from web.serving import Server, make_server

from imageserver.config import FLAGS
from imageserver.srpc.accounting import Way
from imageserver.srpc.distribution import Distribution
from imageserver.srpc.metric import Metric
from imageserver.web import metric_format
from imageserver.web.parts import WebOptions
from imageserver.web.status import Surroundings

_BOUNDS = "0.1 0.2 0.5 1 2 5 10 20 50 100 200 500 1e3 2e3 5e3 1e4 2e4 5e4 1e5"
_OWN = "/srpc/server/S/Open"
_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages of a server that has served some calls."""
    options = WebOptions(
        opened=("flags",),
        flags=FLAGS,
        flag_values=FLAGS.show(FLAGS.defaults()),
    )
    server = make_server(tmp_path_factory.mktemp("metrics"), options)
    metrics = server.web.parts.metrics
    accounting = server.calls.accounting
    metrics.add(accounting.metrics)
    account = accounting.methods["S.Open"]
    for duration_ms in (0.05, 0.3, 0.3, 7.0, 200_000.0):
        account.begin(Way())
        account.end(duration_ms, usable=True)
    account.begin(Way())
    accounting.attempted(Way())
    accounting.connected(Way())
    yield server
    server.index.close()


def distribution(*values: float) -> Distribution:
    """Durations in milliseconds."""
    found = Distribution()
    for value in values:
        found.add(value)
    return found


@pytest.mark.parametrize(
    ("value", "kind", "unit", "text", "json_value"),
    [
        (True, "bool", "None", "true", True),
        (42, "uint64", "None", "42", 42),
        (0.0021, "float64", "None", "0.0021", 0.0021),
        (3.0, "float64", "None", "3", 3.0),
        ('a"b\\', "string", "None", '"a\\"b\\\\"', 'a"b\\'),
        (
            _EPOCH + datetime.timedelta(seconds=1795392271, microseconds=660731),
            "time",
            "None",
            "1795392271.660731000",
            "1795392271.660731000",
        ),
        (
            datetime.timedelta(days=1),
            "duration",
            "Seconds",
            "86400.000000000",
            "86400.000000000",
        ),
        (
            -datetime.timedelta(milliseconds=1500),
            "duration",
            "Seconds",
            "-1.500000000",
            "-1.500000000",
        ),
    ],
)
def test_kinds(
    value: object, kind: str, unit: str, text: str, json_value: object
) -> None:
    """Each kind has its name, its unit, and its form in text and JSON."""
    metric = Metric("/x", value, "what it is")
    assert metric_format.as_text(metric) == text
    found = metric_format.as_json(metric, 1.5)
    bits = {"bits": 64} if "64" in kind else {}
    assert found == {
        "path": "/x",
        "description": "what it is",
        "unit": unit,
        "kind": kind,
        **bits,
        "value": json_value,
        "timestamp": "1.500000000",
        "groupId": 0,
    }


def test_distributions() -> None:
    """A distribution has its figures, and counts by range; empty ones are left out."""
    metric = Metric("/x", distribution(0.05, 0.24, 0.3, 200_000.0), "durations")
    text = metric_format.as_text(metric)
    assert text.startswith("{min:0.05;max:200000;avg:50000.1;median:")
    assert text.endswith("count:4;[-inf,0.1):1;[0.2,0.5):2;[100000,inf):1}")
    found = metric_format.as_json(metric, 0)
    assert (found["kind"], found["unit"]) == ("distribution", "Milliseconds")
    value = found["value"]
    keys = ["min", "max", "average", "median", "sum", "count", "generation", "ranges"]
    assert list(value) == keys
    assert value["ranges"][0] == {"lower": 0, "upper": 0.1, "count": 1}
    assert value["ranges"][-1] == {"lower": 100000.0, "count": 1}
    bounds = [it["upper"] for it in value["ranges"][:-1]]
    assert bounds == [float(it) for it in _BOUNDS.split()]


def test_tree(server: Server) -> None:
    """Directories and metrics are reached by path; nothing is said of other paths."""
    page = server.text("/metrics/")
    assert 'href="/metrics/srpc"' in page
    assert 'href="/metrics/image-count"' in page
    assert "num-permitted-calls" in server.text(f"/metrics{_OWN}")
    assert server.text(f"/metrics{_OWN}/num-permitted-calls?format=text") == "6\n"
    assert server.text(f"/metrics{_OWN}/num-running-calls?format=text") == "1\n"
    text = server.text(f"/metrics{_OWN}?format=text")
    rows = text.split("\n")[:-1]
    assert rows == sorted(rows)
    assert f"{_OWN}/num-denied-calls 0" in rows
    assert server.text("/metrics/no/such?format=text") == "*Path does not exist.*\n"
    assert "Path does not exist." in server.text("/metrics/no/such")
    for path in ("/metrics", "/metricsapi"):
        code, headers, _ = server.fetch(path)
        assert (code, headers["Location"]) == (301, f"{path}/")


def test_api(server: Server) -> None:
    """The same as JSON, in the form that existing tools read."""
    code, headers, body = server.fetch(f"/metricsapi{_OWN}")
    assert code == 200
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Tricorder-Media-Type"] == "tricorder.v1"
    assert body.startswith(b"[\n\t{\n\t\t")
    found = {it["path"]: it for it in json.loads(body)}
    assert found[f"{_OWN}/num-permitted-calls"]["kind"] == "uint64"
    durations = found[f"{_OWN}/successful-call-durations"]
    assert (durations["value"]["count"], durations["unit"]) == (5, "Milliseconds")
    one = server.json(f"/metricsapi{_OWN}/num-running-calls?singleton=1")
    assert (one["value"], re.fullmatch(r"\d+\.\d{9}", one["timestamp"])) != (1, None)
    assert server.json("/metricsapi/no/such") == []
    code, _, body = server.fetch("/metricsapi/no/such?singleton=1")
    assert (code, body) == (404, b"404 Not Found\n")
    code, headers, body = server.fetch("/metricsapi/", accept_encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("path", "kind", "unit"),
    [
        ("/image-count", "uint64", "None"),
        ("/get-requests", "uint64", "None"),
        ("/objectserver/referenced-object-bytes", "uint64", "Bytes"),
        ("/objectserver/unreferenced-object-bytes", "uint64", "Bytes"),
        ("/objectserver/referenced-utilisation-percent", "float64", "None"),
        ("/objectserver/unreferenced-utilisation-percent", "float64", "None"),
        ("/proc/args", "string", "None"),
        ("/proc/name", "string", "None"),
        ("/proc/start-time", "time", "None"),
        ("/proc/flags/portNum", "uint64", "None"),
        ("/proc/flags/initialLogDebugLevel", "int64", "None"),
        ("/proc/flags/permitRoot", "bool", "None"),
        ("/proc/flags/uploadLease", "duration", "Seconds"),
        ("/proc/flags/imageDir", "string", "None"),
        ("/proc/flags/srpcTrustedUsers", "string", "None"),
        ("/proc/cpu/user", "duration", "Seconds"),
        ("/proc/cpu/sys", "duration", "Seconds"),
        ("/proc/memory/total", "uint64", "Bytes"),
        ("/proc/memory/max-resident-set-size", "int64", "Bytes"),
        ("/proc/memory/shared", "int64", "Bytes"),
        ("/proc/memory/unshared-data", "int64", "Bytes"),
        ("/proc/memory/unshared-stack", "int64", "Bytes"),
        ("/proc/memory/soft-page-fault", "int64", "None"),
        ("/proc/memory/hard-page-fault", "int64", "None"),
        ("/proc/memory/swaps", "int64", "None"),
        ("/proc/io/input", "int64", "None"),
        ("/proc/io/output", "int64", "None"),
        ("/proc/io/num-open-file-descriptors", "int64", "None"),
        ("/proc/ipc/sent", "int64", "None"),
        ("/proc/ipc/received", "int64", "None"),
        ("/proc/signals/received", "int64", "None"),
        ("/proc/scheduler/voluntary-switches", "int64", "None"),
        ("/proc/scheduler/involuntary-switches", "int64", "None"),
        ("/srpc/server/num-connections", "uint64", "None"),
        ("/srpc/server/num-open-connections", "uint64", "None"),
        ("/srpc/server/num-open-raw-connections", "uint64", "None"),
        ("/srpc/server/num-rejected-connections", "uint64", "None"),
        ("/srpc/server/num-running-methods", "uint64", "None"),
        (f"{_OWN}/num-denied-calls", "uint64", "None"),
        (f"{_OWN}/num-permitted-calls", "uint64", "None"),
        (f"{_OWN}/num-running-calls", "uint64", "None"),
        (f"{_OWN}/successful-call-durations", "distribution", "Milliseconds"),
        (f"{_OWN}/failed-call-durations", "distribution", "Milliseconds"),
    ],
)
def test_known_metrics(server: Server, path: str, kind: str, unit: str) -> None:
    """What existing tools look for is there, of the same kind and unit."""
    found = server.json(f"/metricsapi{path}?singleton=1")
    assert (found["path"], found["kind"], found["unit"]) == (path, kind, unit)
    assert ("bits" in found) is ("64" in kind)
    assert found["description"]


def test_prometheus(server: Server) -> None:
    """Prometheus gets metrics that its own parser reads, named as it likes them."""
    text = server.text("/metrics/prometheus")
    families = {it.name: it for it in text_string_to_metric_families(text)}
    assert families["imageserver_images"].samples[0].value == 0
    calls = families["imageserver_calls"].samples
    found = {
        it.labels["method"]: it.value for it in calls if it.name.endswith("_total")
    }
    assert found == {"S.Open": 6, "S.Closed": 0}
    durations = families["imageserver_call_duration_seconds"]
    assert durations.type == "histogram"
    buckets = [it for it in durations.samples if it.name.endswith("_bucket")]
    counts = [it.value for it in buckets]
    assert counts == sorted(counts)
    assert (buckets[-1].labels["le"], counts[-1]) == ("+Inf", 5)
    assert "process_cpu_seconds" in families
    for name, family in families.items():
        assert family.documentation, name
        assert re.fullmatch("(imageserver|process|python)_[a-z0-9_]+", name)
        if family.type == "counter":
            names = {it.name for it in family.samples}
            assert all(it.endswith(("_total", "_created")) for it in names)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text"),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,"
            "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "application/openmetrics-text",
        ),
    ],
)
def test_negotiation(server: Server, accept: str, kind: str) -> None:
    """Prometheus gets its format where it looks by itself; browsers do not."""
    code, headers, body = server.fetch("/metrics", accept=accept)
    assert (code, headers["Content-Type"].partition(";")[0]) == (200, kind)
    if kind != "text/plain":
        assert list(parse_openmetrics(body.decode()))
    browser = "text/html,application/xhtml+xml,*/*;q=0.8"
    assert server.fetch("/metrics", accept=browser)[0] == 301


def test_replication_metrics(tmp_path: Path) -> None:
    """How replication goes is measured where there is any."""
    state = {"lag_s": 5.0, "images_to_go": 2, "problem": "", "failures": ()}
    server = make_server(tmp_path, surroundings=Surroundings(replication=lambda: state))
    text = server.text("/metrics/prometheus")
    server.index.close()
    families = {it.name: it for it in text_string_to_metric_families(text)}
    for name, value in (
        ("replication_lag_seconds", 5),
        ("replication_pending_images", 2),
        ("replication_connected", 1),
        ("replication_failures", 0),
    ):
        assert families[f"imageserver_{name}"].samples[0].value == value
