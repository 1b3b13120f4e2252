"""Finding what is mounted below a directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from imageserver.trees.mounts import mount_points, parse_mount_points
from imageserver.trees.scan import scan_directory

TABLE = rb"""22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
90 27 254:0 /var/lib/a /srv/with\040space\134 rw - ext4 /dev/vda rw
91 27 254:0 /x\012y /srv/line\012end rw shared:7 master:2 - ext4 /dev/vda rw
"""


def test_table() -> None:
    """Paths are found whatever stands around them, and escapes are undone."""
    points = {b"/proc", b"/", b"/srv/with space\\", b"/srv/line\nend"}
    assert parse_mount_points(TABLE) == points
    assert parse_mount_points(b"") == frozenset()


def test_odd_names() -> None:
    """Of the characters that end lines only the line feed is escaped in paths."""
    points = {b"/srv/carriage\rreturn", b"/srv/\r", b"/srv/form\f\v"}
    lines = [b"92 27 254:0 /x %s rw - ext4 /dev/vda rw\n" % point for point in points]
    assert parse_mount_points(b"".join(lines)) == points


def test_this_machine() -> None:
    """The table of this machine can be read; without one nothing is known."""
    assert all(point.startswith(b"/") for point in mount_points())
    assert mount_points("/nowhere") == frozenset()


def test_scan_passes_over_them(tmp_path: Path) -> None:
    """What is mounted from the same file system is passed over like any other."""
    root = tmp_path / "root"
    (root / "on a").mkdir(parents=True)
    (root / "file").write_bytes(b"")
    (root / "other").write_bytes(b"kept")
    (tmp_path / "from").mkdir()
    (tmp_path / "from/below").write_bytes(b"hidden")
    (tmp_path / "link").symlink_to("root")
    places = {tmp_path / "from": root / "on a", tmp_path / "from/below": root / "file"}
    mounted: list[Path] = []
    try:
        for source, place in places.items():
            command = ["mount", "--bind", str(source), str(place)]
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"nothing can be mounted: {done.stderr.decode()}")
            mounted.append(place)
        found: list[bytes] = []
        tree = scan_directory(
            os.fsencode(tmp_path / "link"), None, lambda *_: None, mounted=found.append
        )
        assert sorted(found) == [b"/file", b"/on a"]
        assert [entry.name for entry in tree.file_system.root.entries] == [b"other"]
        crossed = scan_directory(os.fsencode(root), None, lambda *_: None)
        assert crossed.file_system.regular_count == 3
    finally:
        for place in mounted:
            subprocess.run(["umount", str(place)], check=True)
