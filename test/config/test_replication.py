"""The flags of replication."""

from __future__ import annotations

from pathlib import Path

import pytest

from imageserver import config
from imageserver.errors import ConfigError

MASTER = "-imageServerHostname=first"


def settings(directory: Path, *flags: str) -> config.Settings:
    """Settings whose directories exist."""
    both = (f"-imageDir={directory}", f"-objectDir={directory}")
    return config.parse([*both, *flags], ())


def test_master(tmp_path: Path) -> None:
    """Who has a master is told where it is; filters are read."""
    assert settings(tmp_path).replication_master == ""
    found = settings(tmp_path, MASTER, "-imageServerPortNum=7000")
    assert found.replication_master == "first:7000"
    exclude = tmp_path / "exclude"
    exclude.write_text("# comment\ntemporary/\n")
    found = settings(tmp_path, MASTER, f"-replicationExcludeFilter={exclude}")
    rules = found.read_rules()
    assert not rules.wants("temporary/image")
    assert rules.wants("image/temporary/")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["-archiveMode"], "replication master required in archive mode"),
        ([MASTER, "-archiveMode", "-scrubRate=0"], "-archiveMode needs -scrubRate"),
        ([MASTER, "-replicationExcludeFilter=/none"], "cannot read /none"),
        ([MASTER, "-replicationIncludeFilter={bad}"], "invalid expression"),
        ([MASTER, "-imageServerCAfile=/none"], "there is no /none"),
        ([MASTER, "-replicationBandwidthSchedule=8-9=1M"], "not like 08:00-18:00"),
    ],
)
def test_refused(tmp_path: Path, flags: list[str], text: str) -> None:
    """What cannot work is refused before anything is begun."""
    bad = tmp_path / "bad"
    bad.write_text("(\n")
    flags = [flag.replace("{bad}", str(bad)) for flag in flags]
    with pytest.raises(ConfigError, match=text):
        config.check(settings(tmp_path, *flags), 1000)
