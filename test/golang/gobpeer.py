"""Talks to the program ``gobpeer``: Go's own encoding/gob."""

from __future__ import annotations

import subprocess
from pathlib import Path


class GoError(Exception):
    """Go refuses what it was sent."""


class GobPeer:
    """A running ``gobpeer``; see ``gobpeer/main.go``."""

    def __init__(self, binary: Path) -> None:
        self._process = subprocess.Popen(
            [binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=10)

    def echo(self, type_: str, data: bytes) -> bytes:
        """The stream that Go sends for the value that it has received."""
        return self._ask("echo", type_, 0, data)

    def make(self, type_: str, seed: int) -> bytes:
        """The stream of a random value."""
        return self._ask("make", type_, seed)

    def check_same(self, type_: str, seed: int, data: bytes) -> None:
        """Let Go compare a value with the random one."""
        self._ask("same", type_, seed, data)

    def time(self, type_: str, count: int, data: bytes) -> tuple[float, float, bytes]:
        """Seconds to decode and to encode a value, and the stream that was encoded."""
        times, _, stream = self._ask("time", type_, count, data).partition(b"\n")
        decoding, encoding = (int(time) / 1e9 for time in times.split())
        return decoding, encoding, stream

    def _ask(self, command: str, type_: str, number: int, data: bytes = b"") -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(f"{command} {type_} {number} {len(data)}\n".encode() + data)
        stdin.flush()
        status, length = stdout.readline().split()
        answer = stdout.read(int(length))
        if status != b"ok":
            raise GoError(answer.decode("utf-8", "replace"))
        return answer
