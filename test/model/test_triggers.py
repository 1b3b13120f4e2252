"""Triggers files."""

from __future__ import annotations

import pytest

from imageserver.errors import InvalidImage
from imageserver.model.triggers import Trigger, Triggers, parse_triggers


@pytest.mark.parametrize(
    ("text", "triggers"),
    [
        ("[]", ()),
        ("[{}]", (Trigger(),)),
        (
            '[{"MatchLines": ["/a", "/b#c"], "Service": "ssh", "SortName": "1",'
            ' "DoReboot": true, "DoReload": true, "HighImpact": true}]',
            (Trigger(("/a", "/b#c"), "ssh", "1", True, True, True),),
        ),
        (
            '# a comment\n[\n  // another\n\t# one more\n{"Service": "x"}\n]\n',
            (Trigger(service="x"),),
        ),
        ('[{"Service": "//x", "Unknown": 1}]', (Trigger(service="//x"),)),
        ('[{"Filename": "/f", "Source": "s"}]', (Trigger(),)),
        ('[{"MatchLines": null, "Service": null}]', (Trigger(),)),
    ],
)
def test_parse(text, triggers) -> None:
    """A file is a JSON array; comment lines and unknown keys do not count."""
    assert parse_triggers(text) == Triggers(triggers)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        "[{]",
        '[{"Service": 1}]',
        '[{"DoReboot": "yes"}]',
        '[{"MatchLines": "/a"}]',
        '[{"MatchLines": [1]}]',
        '[{"Service": "x"}] // no comment line',
    ],
)
def test_bad(text) -> None:
    """Anything else is refused with the known beginning."""
    with pytest.raises(InvalidImage, match=r"^error decoding triggers"):
        parse_triggers(text)


def test_deep() -> None:
    """Nonsense that nests deep is refused, too."""
    with pytest.raises(InvalidImage, match=r"^error decoding triggers"):
        parse_triggers("[" * 100_000)
