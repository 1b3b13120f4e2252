"""Which packages a tree has, by the databases of Debian and of RPM in it.

Damaged databases are no reason to refuse a tree: what they do not say is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter
from typing import BinaryIO

from imageserver.errors import ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.image import Package
from imageserver.model.inode import DirectoryInode, RegularInode
from imageserver.model.paths import find
from imageserver.trees.rpm_database import read_rpm_database
from imageserver.trees.tree import Tree

OpenFile = Callable[[bytes], BinaryIO | None]

_DPKG = b"/var/lib/dpkg/status"
_DPKG_FOLDER = b"/var/lib/dpkg/status.d"
_RPM = [
    folder + b"/" + name
    for folder in (b"/usr/lib/sysimage/rpm", b"/var/lib/rpm")
    for name in (b"rpmdb.sqlite", b"Packages.db", b"Packages")
]
_LIMIT_BYTES = 1 << 30
_KIB = 1024
_FIELD = re.compile(
    r"^(Package|Version|Status|Installed-Size):[ \t]*(.*?)[ \t]*$", re.M
)
_INSTALLED = "installed"


def packages_of(tree: Tree) -> tuple[Package, ...]:
    """The packages of a tree that was scanned, by name."""

    def open_file(path: bytes) -> BinaryIO | None:
        node = find(tree.file_system, path)
        if node is None or not isinstance(node.inode, RegularInode):
            return None
        content = tree.contents.get(node.inode.hash_)
        return None if content is None else content.open()

    return read_packages(open_file, _names_in(tree.file_system, _DPKG_FOLDER))


def read_packages(
    open_file: OpenFile, dpkg_names: tuple[bytes, ...] = ()
) -> tuple[Package, ...]:
    """The packages of a tree, by name.

    Args:
        open_file: opens a file by its path; ``None``: there is none.
        dpkg_names: what is in the folder that some trees have in place of the
            database of Debian.
    """
    found: dict[str, Package] = {}
    for path in (_DPKG, *(_DPKG_FOLDER + b"/" + name for name in dpkg_names)):
        for package in parse_dpkg_status(_read(open_file, path)):
            found[package.name] = package
    for path in _RPM:
        if data := _read(open_file, path):
            for package in read_rpm_database(data):
                found[package.name] = package
            break
    return tuple(sorted(found.values(), key=attrgetter("name")))


def parse_dpkg_status(data: bytes) -> list[Package]:
    """The packages that a status file of dpkg says are installed."""
    packages = []
    for paragraph in data.decode("utf-8", "replace").split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        name, version = fields.get("Package"), fields.get("Version")
        if not (name and version):
            continue
        if "Status" in fields and fields["Status"].split()[-1:] != [_INSTALLED]:
            continue
        size = fields.get("Installed-Size", "")
        size_bytes = int(size) * _KIB if re.fullmatch("[0-9]{1,12}", size) else 0
        packages.append(Package(name, size_bytes, version))
    return packages


def _read(open_file: OpenFile, path: bytes) -> bytes:
    try:
        file = open_file(path)
        if file is None:
            return b""
        with file:
            return file.read(_LIMIT_BYTES)
    except (ImageServerError, OSError):
        return b""


def _names_in(file_system: FileSystem, path: bytes) -> tuple[bytes, ...]:
    node = find(file_system, path)
    if node is None or not isinstance(node.inode, DirectoryInode):
        return ()
    return tuple(e.name for e in node.inode.entries if not e.name.endswith(b".md5sums"))
