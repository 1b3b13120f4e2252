"""What the index keeps of an image."""

from __future__ import annotations

import os

import attrs

from imageserver.gob import Time
from imageserver.images.admission import Admitted
from imageserver.images.canonical import ImageFile
from imageserver.index.base import ImageRecord
from imageserver.model.names import directory_of


def make_record(
    name: str, admitted: Admitted, image_file: ImageFile, status: os.stat_result
) -> ImageRecord:
    """The record of an image whose file has been written."""
    image, summary = admitted.image, admitted.summary
    return ImageRecord(
        name=name,
        directory=directory_of(name),
        created_on_ns=to_nanoseconds(image.created_on),
        expires_at_ns=to_nanoseconds(image.expires_at),
        created_by=image.created_by,
        created_for=image.created_for,
        build_branch=image.build_branch,
        build_commit_id=image.build_commit_id,
        owner_users=image.owner_users,
        owner_groups=image.owner_groups,
        tags=image.tags or {},
        file_count=summary.regular_count,
        data_bytes=summary.data_bytes,
        usage_bytes=summary.usage_bytes,
        value_offset=image_file.value_offset,
        value_bytes=image_file.value_bytes,
        file_system_offset=image_file.file_system_offset,
        file_bytes=status.st_size,
        file_mtime_ns=status.st_mtime_ns,
        file_inode=status.st_ino,
        computed_count=summary.computed_count,
        filter_lines=None if image.filter is None else len(image.filter.lines),
        trigger_count=(
            None if image.triggers is None else len(image.triggers.triggers)
        ),
        package_count=len(image.packages),
    )


def make_changed_record(
    record: ImageRecord, expires_at: Time, image_file: ImageFile, status: os.stat_result
) -> ImageRecord:
    """The record of an image that expires at another time now."""
    return attrs.evolve(
        record,
        expires_at_ns=to_nanoseconds(expires_at),
        value_offset=image_file.value_offset,
        value_bytes=image_file.value_bytes,
        file_system_offset=image_file.file_system_offset,
        file_bytes=status.st_size,
        file_mtime_ns=status.st_mtime_ns,
        file_inode=status.st_ino,
        is_being_rewritten=False,
    )


def is_file_of(status: os.stat_result | None, record: ImageRecord) -> bool:
    """Whether a file (``None``: none) is still the one that was recorded."""
    return status is not None and (
        record.file_bytes,
        record.file_mtime_ns,
        record.file_inode,
    ) == (status.st_size, status.st_mtime_ns, status.st_ino)


def to_nanoseconds(time: Time) -> int | None:
    """Nanoseconds since 1970, or the nearest that a database can hold."""
    if time.is_zero:
        return None
    return max(-(1 << 63), min((1 << 63) - 1, time.to_nanoseconds()))
