"""Trees that are hard to keep, as root and as somebody else, there and back."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import tempfile
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from trees.random_trees import AS_ROOT, RandomTree, describe, scan

from imageserver.trees.tar import MalformedArchive, scan_tar
from imageserver.trees.tar_writing import TarWriter
from imageserver.trees.tree import Content, FileAccessError, Tree
from imageserver.trees.unpack import LeftOut, Unpacker

NOBODY = 65_534
MANY = 5_000  # 100,000 take half a minute


def unpack(tree: Tree, target: Path) -> tuple[LeftOut, ...]:
    """Unpack a tree; what was left out."""
    with Unpacker(tree.file_system, bytes(target)) as plan:
        plan.make_skeleton()
        for hash_, _ in plan.wanted():
            with plan.receive(hash_) as writer, tree.contents[hash_].open() as file:
                writer.write(file.read())
                writer.finish()
        return plan.finish()


def in_memory(tree: Tree) -> Tree:
    """A tree whose contents anybody can read."""
    contents = {}
    for hash_, content in tree.contents.items():
        with content.open() as file:
            data = file.read()
        contents[hash_] = Content(hash_, len(data), partial(io.BytesIO, data))
    return Tree(tree.file_system, contents)


def write_tar(tree: Tree, path: Path) -> None:
    """Write an archive of a tree."""
    with open(path, "wb") as file:
        archive = TarWriter(tree.file_system, file)
        for hash_ in archive.hashes:
            writer = archive.receive(hash_)
            with tree.contents[hash_].open() as content:
                writer.write(content.read())
            writer.finish()
        archive.finish()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can reach."""
    path = Path(tempfile.mkdtemp(prefix="hostile-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def as_user(work: Callable[[], object]) -> None:
    """Do something as nobody, if we are root; what it raises fails the test."""
    if not AS_ROOT:
        work()
        return
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("seed", range(4))
def test_there_and_back(tmp_path: Path, seed: int) -> None:
    """As whoever runs this, a tree comes back the same, by way of a tar file, too."""
    RandomTree(tmp_path / "source", seed + 50).grow(60)
    tree = scan(tmp_path / "source")
    assert unpack(tree, tmp_path / "copy") == ()
    assert describe(scan(tmp_path / "copy").file_system) == describe(tree.file_system)
    write_tar(tree, tmp_path / "tree.tar")
    again = scan_tar(bytes(tmp_path / "tree.tar"), None, lambda files, size: None)
    assert describe(again.file_system) == describe(tree.file_system)


@pytest.mark.parametrize("seed", range(3))
def test_as_somebody_else(folder: Path, seed: int) -> None:
    """Without privileges owners are lost, and with them what they would give away."""
    RandomTree(folder / "source", seed + 80).grow(60)
    tree = in_memory(scan(folder / "source"))

    def work() -> None:
        left_out = {item.path for item in unpack(tree, folder / "copy")}
        wanted, copied = (
            {path: item for path, item in describe(t.file_system).items() if path}
            for t in (tree, scan(folder / "copy"))
        )
        missing = wanted.keys() - copied.keys()
        assert copied.keys() <= wanted.keys()
        assert missing <= left_out  # devices
        for path in copied:
            status = os.lstat(bytes(folder / "copy") + path)
            assert status.st_uid == os.geteuid()
            risky = status.st_mode & (stat.S_ISUID | stat.S_ISGID)
            assert not (AS_ROOT and risky) or status.st_gid == os.getegid()

    as_user(work)


def test_what_somebody_cannot_read(folder: Path) -> None:
    """A file that cannot be read is an error that names it, never an empty file."""
    (folder / "source/closed").mkdir(parents=True)
    (folder / "source/secret").write_text("secret")
    (folder / "source/secret").chmod(0)
    (folder / "source/closed").chmod(0)

    def work() -> None:
        with pytest.raises(FileAccessError, match=r"closed|secret"):
            scan(folder / "source")

    if AS_ROOT:
        assert len(scan(folder / "source").contents) == 1
    as_user(work)


def test_depth(tmp_path: Path) -> None:
    """Directories may nest as deep as paths can be."""
    path = bytes(tmp_path / "source")
    os.mkdir(path)
    here = os.open(path, os.O_RDONLY)
    for _ in range(900):
        os.mkdir(b"d", dir_fd=here)
        below = os.open(b"d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with open(os.open(b"f", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:
        file.write(b"deep")
    os.close(here)
    tree = scan(tmp_path / "source")
    assert tree.file_system.directory_count == 901
    assert unpack(tree, tmp_path / "copy") == ()
    assert describe(scan(tmp_path / "copy").file_system) == describe(tree.file_system)
    write_tar(tree, tmp_path / "tree.tar")
    again = scan_tar(bytes(tmp_path / "tree.tar"), None, lambda files, size: None)
    assert describe(again.file_system) == describe(tree.file_system)


def test_many_in_one_folder(tmp_path: Path) -> None:
    """A folder may have very many names."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(MANY):
        (source / f"{number}").write_text(str(number % 1_000))
    tree = scan(source)
    assert len(tree.file_system.root.entries) == MANY
    assert len(tree.contents) == 1_000
    assert unpack(tree, tmp_path / "copy") == ()
    assert describe(scan(tmp_path / "copy").file_system) == describe(tree.file_system)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/etc/passwd", tarfile.REGTYPE),
        ("../../etc/passwd", tarfile.REGTYPE),
        ("a/../../b", tarfile.REGTYPE),
        ("a/..", tarfile.DIRTYPE),
        ("..", tarfile.SYMTYPE),
    ],
)
def test_tars_that_lead_out(tmp_path: Path, name: str, kind: bytes) -> None:
    """No member of an archive gets anywhere else."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "x"
        archive.addfile(member)
    with pytest.raises(MalformedArchive, match="leads out"):
        scan_tar(bytes(tmp_path / "a.tar"), None, lambda files, size: None)


def test_links_of_tars_that_lead_out(tmp_path: Path) -> None:
    """Symbolic links stay what they are, and nothing is put behind them."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("link/file"))
    with pytest.raises(MalformedArchive, match="not a directory"):
        scan_tar(bytes(tmp_path / "a.tar"), None, lambda files, size: None)
