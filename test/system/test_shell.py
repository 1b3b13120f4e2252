"""Shell scripts of the project, and the units of systemd."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SCRIPTS = (
    "init.d/imageserver",
    ".ci/run",
    ".ci/clean-room",
    ".ci/clean-room-inside",
    *(f"debian/imageserver.{name}" for name in ("postinst", "postrm", "prerm")),
)


def test_shellcheck() -> None:
    """There is nothing to complain about."""
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck on this machine")
    defaults = ["--shell=sh", "--exclude=SC2034", "etc/default/imageserver"]
    for arguments in (list(SCRIPTS), defaults):
        done = subprocess.run(
            ["shellcheck", *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["imageserver.service", "imageserver.socket"])
def test_units(tmp_path: Path, name: str) -> None:
    """The units say nothing that systemd does not know."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze on this machine")
    for unit in ("imageserver.service", "imageserver.socket"):
        text = (ROOT / "etc/systemd" / unit).read_text()
        (tmp_path / unit).write_text(text.replace("/usr/sbin/imageserver", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        check=False,
        capture_output=True,
        text=True,
    )
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert done.returncode == 0, done.stderr
    assert not complaints, done.stderr
