"""Lists a file system, a line for each name: the format of ``imagetool show``.

::

    drwxr-xr-x   1     0     0                                     /etc
    -rw-r--r--   1     0     0         11 22 Nov 2026 23:54:05 UTC /etc/passwd 48ab...

Names that are not UTF-8 are listed as they are, so lines are bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Matcher
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.model.paths import link_counts
from imageserver.model.tree import check_tree
from imageserver.trees.tree import PERMISSION_BITS

_SIZE_COLUMNS = 10
_TIME_COLUMNS = 24
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_NANO = 1_000_000_000
# Dates repeat themselves after that long, leap years and all.
_CYCLE_YEARS = 400
_CYCLE_S = 146_097 * 86_400
_FIRST_CYCLE = -4
_LAST_CYCLE = 19


def list_image(
    file_system: FileSystem,
    time_zone: tzinfo | None = None,
    skip_fields: str = "",
    matcher: Matcher | None = None,
) -> Iterator[bytes]:
    """List a file system, depth first in the order of the directory entries.

    Args:
        file_system: what to list.
        time_zone: the zone of the times; ``None`` for that of this machine.
        skip_fields: letters of columns to leave out: ``m`` mode, ``l`` links, ``u``
            user, ``g`` group, ``s`` size or device, ``t`` time, ``n`` name, ``d`` data.
        matcher: matches the paths to leave out, each with all that is below it.

    Yields:
        Lines without their ends.

    Raises:
        InvalidImage: the tree contradicts itself.
    """
    check_tree(file_system)
    inodes = file_system.inodes or {}
    links = link_counts(file_system)
    yield list_inode(b"/", file_system.root, 1, time_zone, skip_fields)
    walk = [(b"/", iter(file_system.root.entries))]
    while walk:
        prefix, entries = walk[-1]
        entry = next(entries, None)
        if entry is None:
            walk.pop()
            continue
        inode = inodes[entry.inode_number]
        path = prefix + entry.name
        if matcher is not None and matcher.matches(path):
            continue
        yield list_inode(path, inode, links[entry.inode_number], time_zone, skip_fields)
        if isinstance(inode, DirectoryInode):
            walk.append((path + b"/", iter(inode.entries)))


def list_inode(
    path: bytes,
    inode: Inode,
    link_count: int,
    time_zone: tzinfo | None = None,
    skip_fields: str = "",
) -> bytes:
    """The line of one name.

    Args:
        path: the full path, starting with ``/``.
        inode: what it stands for.
        link_count: how many names the inode has.
        time_zone: as for :func:`list_image`.
        skip_fields: as for :func:`list_image`.
    """
    columns = columns_of(inode, time_zone)
    columns["l"] = f"{link_count:3d}"
    line = "".join(f"{columns[key]} " for key in "mlugst" if key not in skip_fields)
    name = b"" if "n" in skip_fields else path
    data = b"" if "d" in skip_fields else data_of(inode)
    return line.encode() + name + (b" " + data if data else b"")


def columns_of(
    inode: Inode, time_zone: tzinfo | None, moment: str | None = None
) -> dict[str, str]:
    """The columns in front of the name, but for the links, by their letters.

    Args:
        inode: which one.
        time_zone: as for :func:`list_image`.
        moment: its time, if that is known already.
    """
    return {
        "m": _mode(inode),
        "u": f"{inode.uid:5d}",
        "g": f"{inode.gid:5d}",
        "s": _size(inode).rjust(_SIZE_COLUMNS),
        "t": (moment or _time(inode, time_zone)).rjust(_TIME_COLUMNS),
    }


def _mode(inode: Inode) -> str:
    if isinstance(inode, SymlinkInode):
        return "lrwxrwxrwx"
    permissions = inode.mode & PERMISSION_BITS
    if isinstance(inode, DirectoryInode):
        return stat.filemode(stat.S_IFDIR | permissions)
    if isinstance(inode, SpecialInode):
        return stat.filemode(inode.mode)
    return stat.filemode(stat.S_IFREG | permissions)


def _size(inode: Inode) -> str:
    if isinstance(inode, RegularInode):
        return str(inode.size)
    if isinstance(inode, ComputedRegularInode):
        return "computed"
    if isinstance(inode, SpecialInode) and (
        stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode)
    ):
        return f"{inode.device:#x}"
    return ""


def _time(inode: Inode, time_zone: tzinfo | None) -> str:
    if not isinstance(inode, RegularInode | SpecialInode):
        return ""
    seconds = inode.mtime_seconds + inode.mtime_nanoseconds // _NANO
    # Years that Python does not know are brought into those that it knows.
    cycle = seconds // _CYCLE_S
    shift = cycle - min(max(cycle, _FIRST_CYCLE), _LAST_CYCLE)
    time = datetime.fromtimestamp(seconds - shift * _CYCLE_S, UTC).astimezone(time_zone)
    year = time.year + shift * _CYCLE_YEARS
    return (
        f"{time.day:02d} {_MONTHS[time.month - 1]} {year:04d} "
        f"{time:%H:%M:%S} {time.tzname()}"
    )


def data_of(inode: Inode) -> bytes:
    """What stands behind the name; empty: nothing."""
    if isinstance(inode, RegularInode) and inode.size > 0:
        return inode.hash_.hex().encode()
    if isinstance(inode, ComputedRegularInode):
        return b"<- " + inode.source.encode("utf-8", "surrogateescape")
    if isinstance(inode, SymlinkInode):
        return b"-> " + inode.target
    return b""
