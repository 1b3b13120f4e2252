"""Runs the program ``srpcpeer``: calls as existing Go programs make and answer them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def take_steps(
    binary: Path,
    port: int,
    steps: Sequence[str],
    *flags: str,
    certificates: Sequence[Path] = (),
) -> list[str]:
    """Let a Go client connect and take steps: see ``srpcpeer/steps.go``.

    Args:
        binary: the program.
        port: of a server on 127.0.0.1.
        steps: what to do.
        flags: of the program.
        certificates: folders.

    Returns:
        What came of connecting, and of each step: ``ok`` or ``error``, and a text.
    """
    folders = f"-certificates={','.join(map(str, certificates))}"
    where = f"127.0.0.1:{port}"
    done = subprocess.run(
        [binary, folders, *flags, "client", where, *steps],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


class GoServer:
    """A running Go server.

    Attributes:
        port: where it listens.
        ways: when it has ended: how calls came in on each connection.
    """

    def __init__(self, binary: Path, *flags: str) -> None:
        self._process = subprocess.Popen(
            [binary, *flags, "server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.ways: list[str] = []

    def __enter__(self) -> GoServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.ways = self._process.communicate(timeout=10)[0].splitlines()
