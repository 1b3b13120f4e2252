"""The index is brought in line with the object files."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from imageserver.errors import StoreError
from imageserver.model.hash import hash_of
from imageserver.objects.reconciliation import Findings, Reconciliation

A, B = b"first object", b"second"
LATER_S = time.time() + 1000


def put(store, content, name=None):
    """Put a file there, as another program would."""
    path = store.path(hash_of(content)) if name is None else store.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def reconcile(opened, started_s=LATER_S):
    """A whole pass; what it came across."""
    reconciliation = Reconciliation(opened.store, started_s)
    for number in range(Reconciliation.PIECES):
        reconciliation.run_piece(number)
    return reconciliation.findings


def sizes(opened, *contents):
    """What the index knows of objects."""
    return opened.index.object_sizes(map(hash_of, contents))


def test_in_line(opened) -> None:
    """Where all is right, nothing is found or changed."""
    opened.upload(A, B)
    files = opened.files()
    assert reconcile(opened) == Findings()
    assert opened.files() == files


def test_found(opened) -> None:
    """Unknown objects are recorded, in all corners."""
    contents = [b"%d" % n for n in range(2000)]
    for content in contents:
        put(opened.store, content)
    assert reconcile(opened) == Findings(found=2000)
    assert sizes(opened, *contents) == {hash_of(c): len(c) for c in contents}


def test_found_is_on_disk(open_store, opened) -> None:
    """Unknown objects are brought to disk before they are recorded."""
    path = put(opened.store, A)
    synced = []
    opened.store.disk.sync = synced.append
    reconcile(opened)
    assert set(map(Path, synced)) == {path, *list(path.parents)[:3]}


def test_gone(opened) -> None:
    """Objects without files are forgotten."""
    opened.upload(A, B)
    opened.store.path(hash_of(A)).unlink()
    assert reconcile(opened) == Findings(gone=1)
    assert sizes(opened, A, B) == {hash_of(B): len(B)}


@pytest.mark.parametrize("content", [b"", b"short"])
def test_damaged(opened, content) -> None:
    """Objects of the wrong size are put aside, forgotten, and can be uploaded again."""
    opened.upload(A, B)
    opened.store.path(hash_of(A)).write_bytes(content)
    assert reconcile(opened) == Findings(damaged=1)
    assert sizes(opened, A, B) == {hash_of(B): len(B)}
    aside = opened.store.directory / ".quarantine" / hash_of(A).hex()
    assert aside.read_bytes() == content
    assert len(opened.store.quarantine.names()) == 1
    assert opened.upload(A)[0].added
    assert reconcile(opened) == Findings()


def test_unknown_empty(opened) -> None:
    """An empty file is no object."""
    opened.store.path(hash_of(A)).parent.mkdir(parents=True)
    opened.store.path(hash_of(A)).touch()
    assert reconcile(opened) == Findings(damaged=1)
    assert sizes(opened, A) == {}


def test_temporary(opened) -> None:
    """What another program left unfinished is removed."""
    path = put(opened.store, A)
    path.rename(f"{path}~")
    assert reconcile(opened) == Findings()
    assert opened.files() == {}


def test_recent_temporary(opened) -> None:
    """What another program is perhaps just writing is left alone."""
    path = put(opened.store, A)
    path.rename(f"{path}~")
    assert reconcile(opened, started_s=time.time() - 1000) == Findings()
    assert list(opened.files().values()) == [A]


def test_cannot_put_aside(opened) -> None:
    """A damaged object that cannot be put aside does not keep others from being found.

    It is still known, so that it is not found again as a good one.
    """
    opened.upload(A, B)
    os.truncate(opened.store.path(hash_of(A)), 1)
    found = opened.store.directory / hash_of(A).hex()[:2] / "ff" / ("f" * 124)
    found.parent.mkdir()
    found.write_bytes(B)
    (opened.store.directory / ".quarantine").touch()
    assert reconcile(opened) == Findings(found=1)
    assert sizes(opened, A, B) == {hash_of(A): len(A), hash_of(B): len(B)}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("README", 1),
        ("lost+found/x", 1),
        ("zz/11/" + "0" * 124, 1),
        ("ab/README", 1),
        ("ab/zz/" + "0" * 124, 1),
        ("ab/cd/README", 1),
        ("ab/cd/" + "0" * 123, 1),
        ("ab/cd/" + "A" * 124, 1),
        ("ab/cd/" + "0" * 124 + "/x", 1),
        (".stash/ab/cd/" + "0" * 124, 0),
        (".hidden", 0),
    ],
)
def test_foreign(opened, name, count) -> None:
    """Files that are no objects are left alone, and counted unless hidden."""
    path = put(opened.store, A, name)
    opened.upload(B)
    assert reconcile(opened) == Findings(foreign=count)
    assert path.read_bytes() == A
    assert opened.store.totals().objects == 1


def test_strange_files(opened) -> None:
    """Links, pipes and the like are no objects."""
    directory = opened.store.directory / "ab" / "cd"
    directory.mkdir(parents=True)
    (directory / ("0" * 124)).symlink_to("/etc/passwd")
    os.mkfifo(directory / ("1" * 124))
    (opened.store.directory / "ef").symlink_to(directory)
    assert reconcile(opened) == Findings(foreign=3)


def test_recent(opened) -> None:
    """What came after the start is left to the uploads that brought it."""
    put(opened.store, A)
    opened.upload(B)
    os.truncate(opened.store.path(hash_of(B)), 1)
    assert reconcile(opened, started_s=time.time() - 1000) == Findings()
    assert sizes(opened, A, B) == {hash_of(B): len(B)}


def test_repaired_meanwhile(opened, monkeypatch) -> None:
    """A good file that comes in place of a damaged one is not put aside."""
    opened.upload(A)
    path = opened.store.path(hash_of(A))
    os.truncate(path, 1)
    reconciliation = Reconciliation(opened.store, LATER_S)
    scan = reconciliation._scan

    def scan_slowly(directory):
        for seen in scan(directory):
            opened.upload(A)
            yield seen

    monkeypatch.setattr(reconciliation, "_scan", scan_slowly)
    reconciliation.run_piece(hash_of(A)[0])
    assert reconciliation.findings == Findings()
    assert path.read_bytes() == A
    assert opened.store.is_stored(hash_of(A), len(A))


def test_uploaded_meanwhile(opened, monkeypatch) -> None:
    """An object that comes again while it is missed is not forgotten."""
    opened.upload(A)
    opened.store.path(hash_of(A)).unlink()
    reconciliation = Reconciliation(opened.store, LATER_S)
    scan = reconciliation._scan

    def scan_slowly(directory):
        yield from list(scan(directory))
        opened.upload(A)

    monkeypatch.setattr(reconciliation, "_scan", scan_slowly)
    reconciliation.run_piece(hash_of(A)[0])
    assert opened.store.is_stored(hash_of(A), len(A))


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), StoreError("index: full")]
)
def test_unreadable(opened, monkeypatch, error) -> None:
    """What cannot be read or recorded is left as it is, and the pass goes on."""
    opened.upload(A, B)
    put(opened.store, b"new")

    def fail(*_):
        raise error

    if isinstance(error, OSError):
        monkeypatch.setattr(os, "scandir", fail)
    else:
        monkeypatch.setattr(opened.index, "add_objects", fail)
    findings = reconcile(opened)
    assert findings == Findings(unread=findings.unread)
    assert findings.unread > 0
    assert len(sizes(opened, A, B)) == 2
