"""Who may change what: ``docs/security.md``, "Owners"."""

from __future__ import annotations

import grp

from imageserver.errors import AccessDenied
from imageserver.index.base import ImageIndex, ImageRecord
from imageserver.model.names import directory_of
from imageserver.srpc.access import Caller


def is_group(name: str) -> bool:
    """Whether the system knows a group of that name."""
    try:
        grp.getgrnam(name)
    except (KeyError, ValueError, UnicodeEncodeError):
        return False
    return True


def check_image_change(
    index: ImageIndex, caller: Caller, name: str, record: ImageRecord | None
) -> None:
    """Refuse callers who may not add, change or delete an image.

    Args:
        index: knows the directories.
        caller: who wants to.
        name: the name of the image.
        record: the image, if it is there.

    Raises:
        AccessDenied: the caller is not permitted.
    """
    if caller.has_method_access:
        return
    groups = caller.identity.groups
    if record is not None and caller.user:
        owners = {record.created_by, record.created_for, *record.owner_users}
        if caller.user in owners or groups & set(record.owner_groups):
            return
    directory = directory_of(name)
    owner_group = index.owner_group(directory)
    if owner_group is None:
        raise AccessDenied(f'no metadata for: "{directory}"')
    if not owner_group or owner_group not in groups:
        raise AccessDenied("no access to image")


def check_new_directory(caller: Caller, owner_group: str) -> None:
    """Refuse callers who may not make a directory in one owned by ``owner_group``.

    Raises:
        AccessDenied: the caller is not permitted.
    """
    if caller.has_method_access:
        return
    if not owner_group:
        raise AccessDenied("no access to image")
    if owner_group not in caller.identity.groups:
        raise AccessDenied(f"no membership of {owner_group} group")


def check_owner_change(
    caller: Caller, owner_group: str, parent_group: str, new_group: str
) -> None:
    """Refuse callers who may not give a directory to another group.

    Args:
        caller: who wants to.
        owner_group: owns the directory; may be empty.
        parent_group: owns the directory above it; may be empty.
        new_group: is to own it; may be empty.

    Raises:
        AccessDenied: the caller is not permitted.
    """
    groups = caller.identity.groups
    if caller.has_method_access or (parent_group and parent_group in groups):
        return
    if new_group not in groups:
        raise AccessDenied(f"no membership of {new_group} group")
    if not owner_group or owner_group not in groups:
        raise AccessDenied("no access to image")
