"""A real tree goes in as an image and comes out the same."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from processes import Daemon

pytestmark = pytest.mark.system

AS_ROOT = os.geteuid() == 0
BIG_BYTES = 100 << 20


def make_tree(root: Path) -> None:
    """A tree with everything that is hard to keep."""
    base = os.fsencode(root)
    for directory in ("etc", "usr/bin", "usr/empty", "deep/" + "d/" * 30):
        os.makedirs(root / directory)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/nothing").touch()
    tool = root / "usr/bin/tool"
    tool.write_bytes(os.urandom(70_000))
    tool.chmod(0o4755)
    os.link(tool, root / "usr/bin/hard")
    (root / "usr/bin/same-content").write_bytes(tool.read_bytes())
    os.symlink("../bin/tool", root / "usr/bin/soft")
    os.symlink(b"to-\xff-nowhere", base + b"/usr/dangling")
    os.mkfifo(root / "usr/fifo", 0o640)
    (root / "usr/readonly").write_text("no\n")
    (root / "usr/readonly").chmod(0o444)
    with open(base + b"/etc/not-utf8-\xff\xfe\x80", "wb") as file:
        file.write(b"\x00\xff" * 100)
    with open(root / "usr/big", "wb") as file:
        piece = os.urandom(1 << 20)
        for number in range(BIG_BYTES >> 20):
            file.write(piece[number:] + piece[:number])
    os.chmod(root / "usr/empty", 0o1777)
    for number, path in enumerate(("etc/passwd", "usr/big", "usr/fifo", "etc/nothing")):
        moment_ns = 1_600_000_000_000_000_000 + number * 1_234_567_891
        os.utime(root / path, ns=(moment_ns, moment_ns))
    if AS_ROOT:
        os.mknod(root / "usr/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.chown(root / "etc/passwd", 1234, 4321)
        os.chown(tool, 77, 88)
        os.chown(root / "usr/empty", 5, 6)
        os.lchown(root / "usr/bin/soft", 9, 10)
        tool.chmod(0o6755)


def describe(root: Path) -> dict[bytes, tuple]:
    """All that an image keeps of a tree, by path."""
    found = {}
    base = os.fsencode(root)
    links: dict[tuple[int, int], bytes] = {}
    for path, directories, files in os.walk(base):
        directories.sort()
        for name in sorted(directories + files):
            full = os.path.join(path, name)
            status = os.lstat(full)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(full, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(full)
            elif stat.S_ISCHR(status.st_mode):
                content = status.st_rdev
            keeps_time = not (
                stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)
            )
            first = links.setdefault((status.st_dev, status.st_ino), full[len(base) :])
            found[full[len(base) :]] = (
                status.st_mode,
                (status.st_uid, status.st_gid) if AS_ROOT else None,
                status.st_mtime_ns if keeps_time else None,
                content,
                first,
            )
    return found


def assert_same(before: dict[bytes, tuple], after: dict[bytes, tuple]) -> None:
    """Nothing is missing, and nothing is there but what get adds."""
    for path in (b"/var/lib/initial-image", b"/var/lib", b"/var"):
        after.pop(path, None)
    assert sorted(before) == sorted(after)
    assert [path for path in before if before[path] != after[path]] == []


def run(daemon: Daemon, *arguments: str) -> str:
    """Run imagetool, which must succeed and have nothing to complain about."""
    done = daemon.imagetool(*arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode("utf-8", "surrogateescape")


def test_directory(daemon: Daemon, tmp_path: Path) -> None:
    """A directory comes back byte for byte, and survives a restart in between."""
    source = tmp_path / "source"
    make_tree(source)
    before = describe(source)
    run(daemon, "mkdir", "base")
    run(daemon, "add", "base/1", str(source), "", "")
    assert run(daemon, "list") == "base/1\n"
    assert run(daemon, "listdirs") == ".\nbase\n"
    assert len(run(daemon, "show", "base/1").splitlines()) == len(before) + 1
    run(daemon, "get", "base/1", str(tmp_path / "first"))
    assert_same(before, describe(tmp_path / "first"))
    assert daemon.stop() == 0
    daemon.start()
    run(daemon, "get", "base/1", str(tmp_path / "second"))
    assert_same(before, describe(tmp_path / "second"))
    assert list((daemon.objects / ".incoming").iterdir()) == []


@pytest.mark.parametrize("form", ["tar", "tar.gz"])
def test_tar(daemon: Daemon, tmp_path: Path, form: str) -> None:
    """The same tree in a tar file, compressed or not, is the same image."""
    source = tmp_path / "source"
    make_tree(source)
    before = describe(source)
    archive = tmp_path / f"tree.{form}"
    # Python's own tarfile rounds times.
    compress = ["--gzip"] if form == "tar.gz" else []
    command = ["tar", "--format=posix", *compress, "-cf", archive, "-C", source, "."]
    subprocess.run(command, check=True)
    run(daemon, "mkdir", "base")
    run(daemon, "add", "base/1", str(archive), "", "")
    run(daemon, "get", "base/1", str(tmp_path / "out"))
    after = describe(tmp_path / "out")
    assert_same(before, after)


def test_filter_and_triggers(daemon: Daemon, tmp_path: Path) -> None:
    """What the filter matches stays out; required paths and triggers are checked."""
    source = tmp_path / "source"
    make_tree(source)
    filter_file = tmp_path / "filter"
    filter_file.write_text("# comment\n/usr/big\n/deep(|/.*)$\n")
    triggers_file = tmp_path / "triggers"
    triggers_file.write_text('[{"MatchLines": ["/etc/.*"], "Service": "all"}]')
    run(daemon, "add", "1", str(source), str(filter_file), str(triggers_file))
    listing = run(daemon, "show", "1")
    assert "/usr/bin/tool" in listing
    assert "/usr/big" not in listing
    assert "/deep" not in listing
    (source / "etc/passwd").unlink()
    done = daemon.imagetool("add", "2", str(source), str(filter_file), "")
    assert done.returncode == 1
    assert b"missing path: /etc/passwd" in done.stderr
    triggers_file.write_text("nonsense")
    done = daemon.imagetool("add", "2", str(source), "", str(triggers_file))
    assert done.returncode == 1
    assert b"error decoding triggers" in done.stderr


def test_names_are_used_once(daemon: Daemon, tmp_path: Path) -> None:
    """A name cannot be added twice, nor again after it was deleted."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("content")
    source = str(tmp_path / "source")
    run(daemon, "add", "1", source, "", "")
    assert daemon.imagetool("check", "1").returncode == 0
    done = daemon.imagetool("add", "1", source, "", "")
    assert (done.returncode, done.stderr) == (
        1,
        b'error adding image: "1": image exists\n',
    )
    run(daemon, "delete", "1")
    assert daemon.imagetool("check", "1").returncode == 1
    done = daemon.imagetool("add", "1", source, "", "")
    assert b"cannot add previously deleted image: 1" in done.stderr
    done = daemon.imagetool("delete", "1")
    assert done.stderr == b"error deleting image: image does not exist\n"
