"""The tools: how long people wait for them.

A tree of 3 GB in 100,000 files goes to a local daemon and comes back; what tar,
sha512sum and cp take for the same tree stands beside it. ``PARTS="start diff"`` does
some of it, ``FILES=10000`` takes a smaller tree.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from processes import Certificates, Daemon

from bench.big_image import make_request
from bench.measure import Row, report
from imageserver import gob
from imageserver.model.image import Image
from imageserver.model.inode import RegularInode

_FILES = int(os.environ.get("FILES", "100000"))
_FILE_BYTES = 30_000
_PER_FOLDER = 100
_STARTS = 10
_DIFFS = 3
_CHANGED = 1_000
_PARTS = ("start", "diff", "add", "get")
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
_TICKS = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Spent:
    """What a command took.

    Attributes:
        wall_s: time.
        cpu_s: its processor time, and that of what it started.
        peak_bytes: the most memory that one process had.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int


def run(command: Sequence[str | Path]) -> Spent:
    """Run a command, which has to succeed."""
    os.sync()  # nobody waits for what was written before
    began_s = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - ours
        command, stdout=subprocess.DEVNULL, env=_ENVIRONMENT
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Spent(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


def make_tree(root: Path) -> None:
    """Files with different contents, a hundred to a folder."""
    block = random.Random(7).randbytes(_FILE_BYTES)
    for number in range(_FILES):
        folder = root / f"{number // 10_000:02}" / f"{number // _PER_FOLDER:05}"
        if number % _PER_FOLDER == 0:
            folder.mkdir(parents=True)
        with open(folder / f"file-{number}", "wb") as file:
            file.write(number.to_bytes(8) + block[8:])


@attrs.frozen
class ToolBench:
    """The daemon, and where the files are."""

    daemon: Daemon
    folder: Path

    def tool(self, *words: str | Path) -> Spent:
        """Run imagetool."""
        flags = [
            "-imageServerHostname=127.0.0.1",
            f"-imageServerPortNum={self.daemon.port}",
            f"-certDirectory={self.daemon.certificates.of('admin')}",
        ]
        program = [sys.executable, "-m", "imageserver.tool.imagetool"]
        return run([*program, *flags, *words])

    def daemon_cpu_s(self) -> float:
        """The processor time of the daemon so far."""
        assert self.daemon.process is not None
        path = Path(f"/proc/{self.daemon.process.pid}/stat")
        text = path.read_text().rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / _TICKS


def starts(it: ToolBench) -> Iterator[Row]:
    """From the start of a command to its end."""
    for command in ("list", "-version"):
        words = command.split()
        spent = min((it.tool(*words) for _ in range(_STARTS)), key=lambda s: s.wall_s)
        target = "0.35 s" if command == "list" else ""
        note = f"{spent.cpu_s:.2f} s of CPU"
        yield Row(f"imagetool {command}", f"{spent.wall_s:.2f} s", target, 0, note)


def diffs(it: ToolBench) -> Iterator[Row]:
    """Two large images, compared in both ways."""
    image = make_request().image
    assert image is not None
    paths = [it.folder / name for name in ("left.image", "right.image")]
    for path, changed in zip(paths, (0, _CHANGED), strict=True):
        path.write_bytes(gob.Encoder().encode(change(image, changed)))
    names = [f"l:{path}" for path in paths]
    for tool, what in (("-", "built in"), ("diff", "diff")):
        runs = [it.tool("diff", tool, *names) for _ in range(_DIFFS)]
        spent = min(runs, key=lambda spent: spent.wall_s)
        yield Row(
            f"diff of two images of 137,000 inodes, {what}",
            f"{spent.wall_s:.2f} s",
            "1.5 s",
            spent.peak_bytes,
            f"{spent.cpu_s:.2f} s of CPU",
        )


def change(image: Image, count: int) -> Image:
    """An image with some other files."""
    assert image.file_system is not None
    inodes = dict(image.file_system.inodes or {})
    for number, inode in list(inodes.items())[:count]:
        if isinstance(inode, RegularInode):
            inodes[number] = gob.evolve(inode, mtime_seconds=inode.mtime_seconds + 1)
    return gob.evolve(image, file_system=gob.evolve(image.file_system, inodes=inodes))


def additions(it: ToolBench) -> Iterator[Row]:
    """A tree goes in, twice."""
    tree = it.folder / "tree"
    hashing = f"tar -C {tree} -c . | sha512sum"
    run(["sh", "-c", hashing])  # until all is in memory
    yardstick = min(
        (run(["sh", "-c", hashing]) for _ in range(2)), key=lambda s: s.wall_s
    )
    yield Row("tar -c | sha512sum", f"{yardstick.wall_s:.1f} s")
    took = []
    for name, has, factor in (("1", "nothing", 1.2), ("2", "everything", 0)):
        before_s = it.daemon_cpu_s()
        spent = it.tool("add", name, tree, "", "")
        server_s = it.daemon_cpu_s() - before_s
        took.append(spent.wall_s)
        target = yardstick.wall_s * factor if factor else took[0] / 5
        yield Row(
            f"add of {_FILES:,} files of which the server has {has}",
            f"{spent.wall_s:.1f} s",
            f"{target:.1f} s",
            spent.peak_bytes,
            f"{spent.cpu_s:.1f} s of CPU, and {server_s:.1f} s of the daemon's",
        )


def downloads(it: ToolBench) -> Iterator[Row]:
    """The tree comes out.

    Nothing is removed meanwhile: ext4 is slow at making files where others have just
    been removed.
    """
    tree = it.folder / "tree"
    if not it.daemon.imagetool("check", "1").returncode == 0:
        it.tool("add", "1", tree, "", "")
    yardstick = run(["cp", "-a", tree, it.folder / "copy"])
    yield Row("cp -a", f"{yardstick.wall_s:.1f} s")
    spent = it.tool("get", "1", it.folder / "image")
    yield Row(
        f"get of {_FILES:,} files",
        f"{spent.wall_s:.1f} s",
        f"{yardstick.wall_s / 0.7:.1f} s",
        spent.peak_bytes,
        f"{spent.cpu_s:.1f} s of CPU",
    )


def _rows(it: ToolBench, parts: Sequence[str]) -> Iterator[Row]:
    if {"add", "get"} & set(parts):
        make_tree(it.folder / "tree")
    for part in parts:
        table = {"start": starts, "diff": diffs, "add": additions, "get": downloads}
        yield from table[part](it)


def main(parts: Sequence[str]) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates(Path(directory))
        daemon = Daemon(Path(directory) / "daemon", certificates)
        daemon.start("-scrubRate=0")
        try:
            it = ToolBench(daemon, Path(directory))
            report("Tools", _rows(it, parts or _PARTS))
        finally:
            daemon.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
