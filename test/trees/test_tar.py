"""Scanning a tar archive."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageserver.errors import ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Matcher
from imageserver.model.hash import NO_HASH, hash_of
from imageserver.model.inode import (
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.trees.tar import MalformedArchive, scan_source, scan_tar
from imageserver.trees.tree import FileAccessError, Tree

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def _ignore(_files: int, _bytes: int) -> None:
    pass


def _member(name: str, **fields: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def _directory(name: str, **fields: Any) -> tarfile.TarInfo:
    return _member(name, type=tarfile.DIRTYPE, **fields)


def _link(name: str, target: str) -> tarfile.TarInfo:
    return _member(name, type=tarfile.LNKTYPE, linkname=target)


def _archive(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(
        fileobj=file, mode="w", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for item in members:
            if isinstance(item, tarfile.TarInfo):
                archive.addfile(item)
            else:
                item[0].size = len(item[1])
                archive.addfile(item[0], io.BytesIO(item[1]))
    return file.getvalue()


def _scan(
    directory: Path, *members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]
) -> Tree:
    path = directory / "image.tar"
    path.write_bytes(_archive(*members))
    return scan_tar(path.as_posix(), None, _ignore)


def _find(file_system: FileSystem, path: str) -> Inode:
    inode: Inode = file_system.root
    for name in path.encode("utf-8", "surrogateescape").split(b"/"):
        assert isinstance(inode, DirectoryInode)
        assert file_system.inodes is not None
        numbers = {entry.name: entry.inode_number for entry in inode.entries}
        inode = file_system.inodes[numbers[name]]
    return inode


def _names(inode: Inode) -> list[bytes]:
    assert isinstance(inode, DirectoryInode)
    return [entry.name for entry in inode.entries]


def _read(tree: Tree, path: str) -> bytes:
    inode = _find(tree.file_system, path)
    assert isinstance(inode, RegularInode)
    with tree.contents[inode.hash_].open() as file:
        content = file.read()
    assert hash_of(content) == inode.hash_
    assert len(content) == inode.size == tree.contents[inode.hash_].size
    return content


def test_regular_file(tmp_path: Path) -> None:
    """A file keeps its mode, owner and time, and its content can be read."""
    member = _member("file", mode=0o4751, uid=12, gid=34, mtime=1_700_000_000)
    tree = _scan(tmp_path, (member, b"content"))
    assert _find(tree.file_system, "file") == RegularInode(
        mode=0o104751,
        uid=12,
        gid=34,
        mtime_seconds=1_700_000_000,
        size=7,
        hash_=hash_of(b"content"),
    )
    assert _read(tree, "file") == b"content"


def test_empty_file(tmp_path: Path) -> None:
    """An empty file has no object."""
    tree = _scan(tmp_path, _member("file"))
    inode = _find(tree.file_system, "file")
    assert isinstance(inode, RegularInode)
    assert inode.hash_ == NO_HASH
    assert tree.contents == {}


def test_names_are_brought_into_one_form(tmp_path: Path) -> None:
    """Leading ``./``, trailing and double slashes do not matter."""
    tree = _scan(tmp_path, _directory("./etc/"), (_member("./etc//./a"), b"content"))
    assert _names(tree.file_system.root) == [b"etc"]
    assert _read(tree, "etc/a") == b"content"
    assert tree.file_system.directory_count == 2


def test_root(tmp_path: Path) -> None:
    """An entry for the root gives its mode and owner; else it is 0755, root's."""
    root = _scan(tmp_path, _directory("./", mode=0o1777, uid=5, gid=6)).file_system.root
    assert (root.mode, root.uid, root.gid) == (0o41777, 5, 6)
    root = _scan(tmp_path).file_system.root
    assert (root.mode, root.uid, root.gid) == (0o40755, 0, 0)


def test_missing_directories(tmp_path: Path) -> None:
    """Directories that are not in the archive are made up, or described later."""
    tree = _scan(
        tmp_path, (_member("a/b/c"), b"content"), _directory("a", mode=0o700, uid=7)
    )
    first, second = _find(tree.file_system, "a"), _find(tree.file_system, "a/b")
    assert isinstance(first, DirectoryInode)
    assert isinstance(second, DirectoryInode)
    assert (first.mode, first.uid) == (0o40700, 7)
    assert (second.mode, second.uid) == (0o40755, 0)
    assert _read(tree, "a/b/c") == b"content"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "/etc/passwd"])
def test_leading_out(tmp_path: Path, name: str) -> None:
    """Names that are absolute or go up are refused, also as targets of links."""
    for member in (_member(name), _directory(name), _link("link", name)):
        with pytest.raises(MalformedArchive, match="leads out of the archive"):
            _scan(tmp_path, member)


def test_later_replaces_earlier(tmp_path: Path) -> None:
    """The last entry of a path counts, whatever its type; nothing is left of others."""
    tree = _scan(
        tmp_path,
        (_member("file"), b"old"),
        (_member("file"), b"new"),
        (_member("d/file"), b"gone"),
        _member("d", type=tarfile.SYMTYPE, linkname="x"),
        (_member("f"), b"gone too"),
        _directory("f"),
    )
    assert _read(tree, "file") == b"new"
    assert isinstance(_find(tree.file_system, "d"), SymlinkInode)
    assert isinstance(_find(tree.file_system, "f"), DirectoryInode)
    assert list(tree.contents) == [hash_of(b"new")]
    assert tree.file_system.regular_count == 1


def test_directory_twice(tmp_path: Path) -> None:
    """A directory that comes again keeps what is in it."""
    tree = _scan(
        tmp_path,
        _directory("d"),
        (_member("d/file"), b"x"),
        _directory("d", mode=0o700),
    )
    directory = _find(tree.file_system, "d")
    assert isinstance(directory, DirectoryInode)
    assert directory.mode == 0o40700
    assert _read(tree, "d/file") == b"x"


def test_hard_links(tmp_path: Path) -> None:
    """Links share an inode, and keep it when the first name gets another file."""
    tree = _scan(
        tmp_path,
        (_member("a"), b"content"),
        _link("d/b", "./a"),
        _link("c", "d/b"),
        (_member("a"), b"other"),
    )
    assert _find(tree.file_system, "d/b") is _find(tree.file_system, "c")
    assert _read(tree, "c") == b"content"
    assert _read(tree, "a") == b"other"


@pytest.mark.parametrize("target", ["absent", "d", "absent/x", ".", ""])
def test_bad_hard_link(tmp_path: Path, target: str) -> None:
    """A hard link to what is no file is refused."""
    with pytest.raises(MalformedArchive):
        _scan(tmp_path, _directory("d"), _link("link", target))


def test_specials(tmp_path: Path) -> None:
    """Devices keep their numbers; FIFOs have none."""
    null = {"devmajor": 1, "devminor": 3, "mode": 0o666}
    tree = _scan(
        tmp_path,
        _member("null", type=tarfile.CHRTYPE, **null),
        _member("disk", type=tarfile.BLKTYPE, devmajor=259, devminor=70_000),
        _member("fifo", type=tarfile.FIFOTYPE, mode=0o600),
    )
    assert _find(tree.file_system, "null") == SpecialInode(
        mode=stat.S_IFCHR | 0o666, device=os.makedev(1, 3)
    )
    assert _find(tree.file_system, "fifo") == SpecialInode(mode=stat.S_IFIFO | 0o600)
    disk = _find(tree.file_system, "disk")
    assert isinstance(disk, SpecialInode)
    assert disk.device == os.makedev(259, 70_000)


def test_symlink(tmp_path: Path) -> None:
    """The target of a symbolic link is taken as it is."""
    target = "../\udcff//x/"
    tree = _scan(tmp_path, _member("l", type=tarfile.SYMTYPE, linkname=target))
    inode = _find(tree.file_system, "l")
    assert isinstance(inode, SymlinkInode)
    assert inode.target == b"../\xff//x/"


def test_below_a_symlink(tmp_path: Path) -> None:
    """An entry below what is not a directory is refused."""
    link = _member("lib", type=tarfile.SYMTYPE, linkname="/etc")
    with pytest.raises(MalformedArchive, match="not a directory in the archive: /lib"):
        _scan(tmp_path, link, (_member("lib/x"), b"x"))


def test_root_is_no_directory(tmp_path: Path) -> None:
    """The root cannot be a file."""
    with pytest.raises(MalformedArchive, match="root of the archive"):
        _scan(tmp_path, _member("./."))


def test_unknown_type(tmp_path: Path) -> None:
    """An entry of a type that no file system has is refused, and named."""
    with pytest.raises(MalformedArchive, match="unsupported type of entry: x"):
        _scan(tmp_path, _member("x", type=b"D"))


def test_volume_label(tmp_path: Path) -> None:
    """The label that GNU tar writes is not an entry."""
    tree = _scan(tmp_path, _member("label", type=b"V"), _directory("d"))
    assert _names(tree.file_system.root) == [b"d"]


@pytest.mark.parametrize(
    ("text", "seconds", "nanoseconds"),
    [
        ("1700000000.123456789", 1_700_000_000, 123_456_789),
        ("1700000000.1234567899", 1_700_000_000, 123_456_789),
        ("1700000000.5", 1_700_000_000, 500_000_000),
        ("1700000000", 1_700_000_000, 0),
        ("1700000000.", 1_700_000_000, 0),
        ("-1.25", -2, 750_000_000),
        ("", 77, 0),
    ],
)
def test_exact_times(tmp_path: Path, text: str, seconds: int, nanoseconds: int) -> None:
    """Fractions of seconds are kept to the nanosecond."""
    member = _member("file", mtime=77)
    member.pax_headers = {"mtime": text}
    inode = _find(_scan(tmp_path, (member, b"x")).file_system, "file")
    assert isinstance(inode, RegularInode)
    if text:
        assert (inode.mtime_seconds, inode.mtime_nanoseconds) == (seconds, nanoseconds)
    else:
        assert inode.mtime_nanoseconds == 0


@pytest.mark.parametrize("text", ["nan", "inf", "1e3", "1" * 30, "x"])
def test_malformed_times(tmp_path: Path, text: str) -> None:
    """What is not a time is refused."""
    member = _member("file")
    member.pax_headers = {"mtime": text}
    with pytest.raises(MalformedArchive, match="malformed time"):
        _scan(tmp_path, member)


@pytest.mark.parametrize("field", ["uid", "gid"])
@pytest.mark.parametrize("value", [-1, 2**32])
def test_owners_out_of_range(tmp_path: Path, field: str, value: int) -> None:
    """Owners that no file can have are refused."""
    member = _member("file", **{field: value})
    member.pax_headers = {field: str(value)}
    with pytest.raises(MalformedArchive, match="owner out of range: file"):
        _scan(tmp_path, member)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("tar", bytes),
        ("tar.gz", gzip.compress),
        ("tgz", gzip.compress),
        ("tar.xz", lzma.compress),
        ("tar.bz2", bz2.compress),
        ("tar.zst", zstd.compress),
    ],
)
def test_compression(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    """The end of the name tells the compression; contents outlive the archive."""
    path = tmp_path / f"image.{suffix}"
    content = b"content" * 100_000
    path.write_bytes(compress(_archive((_member("file"), content))))
    tree = scan_source(path.as_posix(), None, _ignore)
    path.unlink()
    assert _read(tree, "file") == content


def test_readers_are_independent(tmp_path: Path) -> None:
    """Two readers of a content do not move each other."""
    tree = _scan(tmp_path, (_member("file"), b"content"))
    content = tree.contents[hash_of(b"content")]
    with content.open() as first, content.open() as second:
        assert first.read(3) == b"con"
        assert second.read() == b"content"
        assert first.read() == b"tent"


def test_descriptors_are_closed(tmp_path: Path) -> None:
    """The archive is closed with the last content."""
    before = len(os.listdir("/proc/self/fd"))
    tree = _scan(tmp_path, (_member("file"), b"content"))
    del tree
    assert len(os.listdir("/proc/self/fd")) == before


def test_filter(tmp_path: Path) -> None:
    """What the filter matches is left out with all below it, but links work."""
    path = tmp_path / "image.tar"
    path.write_bytes(
        _archive(
            (_member("tmp/a"), b"linked"),
            (_member("tmp/b"), b"gone"),
            _link("etc/a", "tmp/a"),
        )
    )
    reports: list[tuple[int, int]] = []
    matcher = Matcher(["/tmp"])  # noqa: S108 - an expression
    tree = scan_tar(path.as_posix(), matcher, lambda *report: reports.append(report))
    assert _names(tree.file_system.root) == [b"etc"]
    assert _read(tree, "etc/a") == b"linked"
    assert reports == [(1, 6)]


@pytest.mark.parametrize("sparse_format", ["0.0", "0.1", "1.0", "gnu"])
def test_sparse_files(tmp_path: Path, sparse_format: str) -> None:
    """The holes of sparse files are read as zeros, in all forms that GNU tar writes."""
    contents = {}
    for name, start in (("a", 1 << 20), ("b", 3 << 20)):
        with open(tmp_path / name, "wb") as file:
            file.seek(start)
            file.write(b"data" * 1_000)
            file.truncate(5 << 20)
        contents[name] = (tmp_path / name).read_bytes()
    form = (
        ["--format=gnu"]
        if sparse_format == "gnu"
        else ["--format=pax", f"--sparse-version={sparse_format}"]
    )
    command = ["tar", "--sparse", *form, "-cf", "image.tar", "a", "b"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "image.tar").stat().st_size < 1 << 20
    tree = scan_tar((tmp_path / "image.tar").as_posix(), None, _ignore)
    assert _names(tree.file_system.root) == [b"a", b"b"]
    for name, content in contents.items():
        assert _read(tree, name) == content


def test_truncated(tmp_path: Path) -> None:
    """An archive that ends too early is refused wherever it was cut."""
    path = tmp_path / "image.tar"
    whole = _archive((_member("a"), b"x" * 2_000), (_member("b"), b"y"))
    for length in (0, 100, 512, 1_000, 512 + 2_048 + 100, 512 + 2_048 + 512):
        path.write_bytes(whole[:length])
        with pytest.raises(MalformedArchive):
            scan_tar(path.as_posix(), None, _ignore)


def test_shortened_later(tmp_path: Path) -> None:
    """An archive that was cut after the scan does not yield short contents."""
    tree = _scan(tmp_path, (_member("a"), b"x" * 2_000))
    os.truncate(tmp_path / "image.tar", 1_000)
    with tree.contents[hash_of(b"x" * 2_000)].open() as file:
        with pytest.raises(FileAccessError, match="unexpected end"):
            file.read()


def test_damaged_header(tmp_path: Path) -> None:
    """A header with a wrong checksum is not taken for the end."""
    path = tmp_path / "image.tar"
    whole = bytearray(_archive((_member("a"), b"x"), (_member("b"), b"y")))
    whole[1_024] ^= 1
    path.write_bytes(whole)
    with pytest.raises(MalformedArchive, match="bad header at 1024"):
        scan_tar(path.as_posix(), None, _ignore)


@pytest.mark.parametrize("suffix", ["tar", "tgz", "tar.xz", "tar.bz2", "tar.zst"])
def test_not_an_archive(tmp_path: Path, suffix: str) -> None:
    """A file that is no archive, or ends in the middle, is an error of ours."""
    path = tmp_path / f"image.{suffix}"
    for content in (b"no archive" * 100, gzip.compress(bytes(10_000))[:-9]):
        path.write_bytes(content)
        with pytest.raises((MalformedArchive, FileAccessError)):
            scan_tar(path.as_posix(), None, _ignore)


def test_source(tmp_path: Path) -> None:
    """A directory is scanned as one; other files are told by their names."""
    (tmp_path / "d.tar").mkdir()
    (tmp_path / "d.tar" / "file").write_bytes(b"x")
    tree = scan_source((tmp_path / "d.tar").as_posix(), None, _ignore)
    assert _read(tree, "file") == b"x"
    (tmp_path / "image.raw").touch()
    for scan in (scan_source, scan_tar):
        with pytest.raises(ImageServerError) as caught:
            scan((tmp_path / "image.raw").as_posix(), None, _ignore)
        assert str(caught.value) == "unrecognised image type"
    with pytest.raises(FileAccessError, match=r"absent\.tar: No such file"):
        scan_source((tmp_path / "absent.tar").as_posix(), None, _ignore)


COMPONENTS = st.binary(min_size=1, max_size=120).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)


@given(
    st.dictionaries(COMPONENTS, st.binary(max_size=5), max_size=8),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_any_names(files: dict[bytes, bytes], form: int) -> None:
    """Names survive byte for byte, long ones and ones that are not UTF-8 included."""
    options: Any = {"format": form, "encoding": "utf-8", "errors": "surrogateescape"}
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(fileobj=file, mode="w", **options) as archive:
            for name, content in files.items():
                text = name.decode("utf-8", "surrogateescape")
                member = _member(text, size=len(content))
                archive.addfile(member, io.BytesIO(content))
        file.flush()
        tree = scan_tar(file.name, None, _ignore)
    assert _names(tree.file_system.root) == sorted(files)
    for name, content in files.items():
        if content:
            assert _read(tree, name.decode("utf-8", "surrogateescape")) == content


@given(st.data())
def test_any_damage(data: st.DataObject) -> None:
    """Whatever bytes are damaged, the error is one of ours."""
    member = _member("a")
    member.pax_headers = {"mtime": "1.5", "comment": "x"}
    whole = bytearray(_archive((member, b"x"), _link("b", "a"), _directory("c")))
    for _ in range(data.draw(st.integers(1, 5))):
        position = data.draw(st.integers(0, len(whole) - 1))
        whole[position] = data.draw(st.integers(0, 255))
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        file.write(whole)
        file.flush()
        try:
            scan_tar(file.name, None, _ignore)
        except ImageServerError:
            pass
