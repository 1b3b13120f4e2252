"""Making a directory equal to a file system."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from trees.random_trees import AS_ROOT, RandomTree, describe, scan

from imageserver import gob
from imageserver.errors import CorruptObject
from imageserver.model.inode import ComputedRegularInode
from imageserver.model.paths import find
from imageserver.trees.patch_plan import plan_patch
from imageserver.trees.patching import Patcher
from imageserver.trees.tree import FileAccessError, Tree


def patch(wanted: Tree, target: Path, *, removes: bool = True) -> list[tuple]:
    """Patch a directory; what was done."""
    plan = plan_patch(wanted.file_system, scan(target).file_system, removes=removes)
    done: list[tuple] = []
    with Patcher(bytes(target), plan) as patcher:
        patcher.begin()
        for hash_ in patcher.wanted():
            writer = patcher.receive(hash_)
            with wanted.contents[hash_].open() as file:
                writer.write(file.read())
            writer.finish()
        assert patcher.apply(lambda what, path: done.append((what, path))) == []
    return done


@pytest.mark.parametrize("seed", range(12))
def test_any_trees(tmp_path: Path, seed: int) -> None:
    """Whatever there was, afterwards it is the same; a second time nothing is done."""
    before, after = tmp_path / "before", tmp_path / "after"
    tree = RandomTree(after, seed)
    tree.grow()
    if seed % 3:
        shutil.copytree(after, before, symlinks=True, ignore=_ignore_special)
        tree.change()
    else:
        RandomTree(before, seed + 1_000).grow()
    wanted = scan(after)
    patch(wanted, before)
    assert describe(scan(before).file_system) == describe(wanted.file_system)
    assert patch(wanted, before) == []


def _ignore_special(folder: str, names: list[str]) -> list[str]:
    paths = [(name, os.path.join(folder, name)) for name in names]
    return [
        name
        for name, path in paths
        if not (os.path.isfile(path) or os.path.isdir(path) or os.path.islink(path))
    ]


def test_changes_are_small(tmp_path: Path) -> None:
    """Only what is different is touched, and a mode is changed in place."""
    for name in ("old", "new"):
        (tmp_path / name / "d").mkdir(parents=True)
        for file in ("same", "mode", "content"):
            path = tmp_path / name / "d" / file
            path.write_text(file)
            path.chmod(0o644)
            os.utime(path, (1, 1))
        (tmp_path / name / "d").chmod(0o755)
    (tmp_path / "new/d/mode").chmod(0o600)
    (tmp_path / "new/d/content").write_text("other")
    inode = (tmp_path / "old/d/mode").stat().st_ino
    assert sorted(patch(scan(tmp_path / "new"), tmp_path / "old")) == [
        ("changed", b"/d/mode"),
        ("made", b"/d/content"),
    ]
    assert (tmp_path / "old/d/mode").stat().st_ino == inode


def test_sparse(tmp_path: Path) -> None:
    """Where nothing is to be removed, what the file system lacks stays."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old/mine").write_text("mine")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/theirs").write_text("theirs")
    patch(scan(tmp_path / "new"), tmp_path / "old", removes=False)
    assert sorted(os.listdir(tmp_path / "old")) == ["mine", "theirs"]


def test_computed_files_stay(tmp_path: Path) -> None:
    """The content of a computed file is not ours; a missing one is made empty."""
    for name in ("new", "old", "bare"):
        (tmp_path / name).mkdir()
    (tmp_path / "new/computed").touch()
    (tmp_path / "old/computed").write_text("for this machine")
    tree = scan(tmp_path / "new")
    node = find(tree.file_system, b"/computed")
    assert node is not None
    owner = node.inode.uid, node.inode.gid
    computed = ComputedRegularInode(0o100600, *owner, "host:1")
    inodes = {**(tree.file_system.inodes or {}), node.number: computed}
    wanted = Tree(gob.evolve(tree.file_system, inodes=inodes), {})
    for name, content in (("old", "for this machine"), ("bare", "")):
        patch(wanted, tmp_path / name)
        assert (tmp_path / name / "computed").read_text() == content
        assert (tmp_path / name / "computed").stat().st_mode & 0o777 == 0o600
        assert patch(wanted, tmp_path / name) == []


def test_nothing_is_written_through_links(tmp_path: Path) -> None:
    """A link where a directory is to be is replaced, not followed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "new/etc").mkdir(parents=True)
    (tmp_path / "new/etc/passwd").write_text("content")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/etc").symlink_to(outside)
    patch(scan(tmp_path / "new"), tmp_path / "old")
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "old/etc").is_symlink()


def test_a_link_that_appears_meanwhile(tmp_path: Path) -> None:
    """Somebody who puts a link in the way gets an error, and nothing outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("new", "old"):
        (tmp_path / name / "etc").mkdir(parents=True)
    (tmp_path / "new/etc/passwd").write_text("content")
    wanted = scan(tmp_path / "new")
    target = tmp_path / "old"
    plan = plan_patch(wanted.file_system, scan(target).file_system, removes=True)
    with Patcher(bytes(target), plan) as patcher:
        patcher.begin()
        (hash_,) = patcher.wanted()
        writer = patcher.receive(hash_)
        writer.write(b"content")
        writer.finish()
        (target / "etc").rmdir()
        (target / "etc").symlink_to(outside)
        with pytest.raises(FileAccessError, match="/etc"):
            patcher.apply(lambda what, path: None)
    assert list(outside.iterdir()) == []
    assert os.listdir(target) == ["etc"]


def test_damaged_objects(tmp_path: Path) -> None:
    """Nothing is changed if an object is another one; it may be sent again."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "new/file").write_text("content")
    wanted = scan(tmp_path / "new")
    target = tmp_path / "old"
    plan = plan_patch(wanted.file_system, scan(target).file_system, removes=True)
    with Patcher(bytes(target), plan) as patcher:
        patcher.begin()
        (hash_,) = patcher.wanted()
        writer = patcher.receive(hash_)
        writer.write(b"another")
        with pytest.raises(CorruptObject):
            writer.finish()
        longer = patcher.receive(hash_)
        longer.write(b"con")
        with pytest.raises(CorruptObject, match="longer than 7 bytes"):
            longer.write(b"tents")
        assert patcher.wanted() == [hash_]
    assert os.listdir(target) == []


@pytest.mark.skipif(not AS_ROOT, reason="takes root")
def test_set_id_bits(tmp_path: Path) -> None:
    """Set-ID bits come with their owner only."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new/tool").write_text("x")
    os.chown(tmp_path / "new/tool", 7, 8)
    (tmp_path / "new/tool").chmod(0o6755)
    (tmp_path / "old").mkdir()
    patch(scan(tmp_path / "new"), tmp_path / "old")
    status = (tmp_path / "old/tool").stat()
    assert (status.st_uid, status.st_gid) == (7, 8)
    assert status.st_mode & 0o7777 == 0o6755
