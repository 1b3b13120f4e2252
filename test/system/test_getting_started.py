"""``docs/getting-started.md``, run as it stands."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[2] / "docs" / "getting-started.md"
_BLOCK = re.compile(r"(<!-- install -->\n)?```sh\n(.*?)```", re.DOTALL)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody has."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return numbers


def script(page: str) -> str:
    """The commands of the page; what is tested is installed already."""
    commands = "".join(text for install, text in _BLOCK.findall(page) if not install)
    for written, number in zip(("6971", "6972"), free_ports(2), strict=True):
        commands = commands.replace(written, str(number))
    if os.geteuid() == 0:
        commands = commands.replace(
            "imageserver -listen", "imageserver -permitRoot -listen"
        )
    ending = "trap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT\n"
    return "set -emu\n" + ending + commands


def test_page(tmp_path: Path) -> None:
    """Every command does what the page says, and the servers stop at the end."""
    programs = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", script(PAGE.read_text())],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout
    assert "base/1\nbase/2\n" in done.stdout
    for name in ("first", "second"):
        log = (tmp_path / "try" / name / "log" / "latest").read_text()
        assert " stopped\n" in log
