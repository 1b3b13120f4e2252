"""The alert rules and the board: they ask for metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from web.serving import Server, make_server

from imageserver.srpc.accounting import Way
from imageserver.web.status import Surroundings

_FILES = Path(__file__).parents[2] / "etc" / "monitoring"
_STATE = {
    "lag_s": 1.0,
    "images_to_go": 1,
    "objects_to_go": 1,
    "bytes_to_go": 1,
    "rate": 1.0,
    "problem": "",
}
_SUFFIXES = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_count", "_sum"),
    "gauge": ("",),
}
_ALWAYS = frozenset({"instance", "job", "le"})
_NAME = re.compile(r"\b(?:imageserver|process|python)_[a-z0-9_]+|\bup\b")
_DURATION = re.compile(r"\[(\d+[smhdw])\]")
_FUNCTIONS = frozenset(
    "sum min max rate increase predict_linear histogram_quantile time by or and".split()
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """All metrics, with their labels."""
    path = tmp_path_factory.mktemp("monitoring")
    server: Server = make_server(
        path, surroundings=Surroundings(replication=lambda: _STATE)
    )
    accounting = server.calls.accounting
    accounting.attempted(Way())
    account = accounting.methods["S.Open"]
    account.begin(Way())
    account.end(1, usable=True)
    text = server.text("/metrics/prometheus")
    server.index.close()
    labels: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(text):
        for suffix in _SUFFIXES.get(family.type, ("",)):
            found = labels.setdefault(family.name + suffix, set())
            for sample in family.samples:
                found.update(sample.labels)
    for name in ("method", "outcome"):
        labels["imageserver_reply_duration_seconds_bucket"].add(name)
    labels["imageserver_certificate_expiry_timestamp_seconds"] |= {"kind", "subject"}
    yield labels


def check_expression(text: str, known: dict[str, set[str]]) -> None:
    """Refuse what Prometheus would refuse, or what finds nothing."""
    names = _NAME.findall(text)
    assert names, text
    allowed = set(_ALWAYS)
    for name in names:
        assert name in known, f"{name} in {text}"
        allowed |= known[name]
    for opening, closing in ("()", "{}", "[]"):
        assert text.count(opening) == text.count(closing), text
    for selector in re.findall(r"\{([^}]*)\}", text):
        for label, _ in re.findall(r'([a-z_]+)(?:=~|!~|!=|=)"([^"]*)"', selector):
            assert label in allowed, f"{label} in {text}"
    for group in re.findall(r"by \(([^)]*)\)", text):
        assert set(group.replace(" ", "").split(",")) <= allowed, text
    for ranged in re.findall(r"(?:rate|increase)\(([^()]*)\)", text):
        assert _DURATION.search(ranged), text
        assert re.search(r"_(total|bucket|count|sum)\b", ranged), text
    rest = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)', " ", text)
    words = set(re.findall(r"[a-z_]+", _NAME.sub(" ", rest)))
    assert words <= _FUNCTIONS, words - _FUNCTIONS


def test_alerts(known: dict[str, set[str]]) -> None:
    """Each rule has an expression that works, and tells what to do."""
    rules = yaml.safe_load((_FILES / "alerts.yml").read_text())
    seen = set()
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["alert"] not in seen
            seen.add(rule["alert"])
            check_expression(rule["expr"], known)
            assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0s"))
            assert rule["labels"]["severity"] in ("critical", "warning")
            texts = rule["annotations"]
            assert set(texts) == {"summary", "description"}
            for text in texts.values():
                assert text.endswith(".")
                assert text.count("{{") == text.count("}}")
                allowed = set().union(*(known[n] for n in _NAME.findall(rule["expr"])))
                for label in re.findall(r"\$labels\.([a-z]+)", text):
                    assert label in allowed | _ALWAYS, (rule["alert"], label)
    assert len(seen) > 10


def test_board(known: dict[str, set[str]]) -> None:
    """Each panel of the board asks for what is there, in a place of its own."""
    board = json.loads((_FILES / "grafana.json").read_text())
    variables = {it["name"] for it in board["templating"]["list"]}
    taken = set()
    ids = set()
    for panel in board["panels"]:
        ids.add(panel["id"])
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            expression = target["expr"]
            for variable in re.findall(r"\$(?!__)\{?([a-z]+)", expression):
                assert variable in variables
            check_expression(expression, known)
            allowed = set().union(*(known[n] for n in _NAME.findall(expression)))
            for label in re.findall(r"\{\{([a-z]+)\}\}", target["legendFormat"]):
                assert label in allowed | _ALWAYS, (panel["title"], label)
    assert len(ids) == len(board["panels"])


@pytest.mark.parametrize(
    "text",
    [
        "imageserver_nothing > 0",
        "rate(imageserver_calls_total)",
        "rate(imageserver_images[5m])",
        'imageserver_images{colour="red"}',
        "sum(imageserver_images",
        "median(imageserver_images)",
        "1 > 0",
    ],
)
def test_check(text: str, known: dict[str, set[str]]) -> None:
    """What is wrong is found."""
    with pytest.raises(AssertionError):
        check_expression(text, known)
