"""Requests, responses and stream values of the ImageServer service.

``docs/protocol.md``, "Methods", says what they mean. Field names on the wire are the
contract with existing clients.
"""

from __future__ import annotations

from imageserver import gob
from imageserver.gob import (
    BOOL,
    BYTE_STRING,
    BYTES,
    INT,
    STRING,
    TIME,
    UINT,
    UINT8,
    Time,
)
from imageserver.model.hash import HASH
from imageserver.model.image import (
    MATCH_TAGS,
    ComputedFile,
    Directory,
    Image,
    ScannedImage,
)
from imageserver.model.inode import INODE, Inode


@gob.struct("AddImageRequest")
class AddImageRequest:
    """AddImage and AddImageTrusted."""

    image_name: str = gob.field("ImageName", STRING)
    image: Image | None = gob.field("Image", gob.Pointer(gob.Struct(Image)))


@gob.struct("AddImageRequest")
class AddScannedImageRequest:
    """The same as the server receives it."""

    image_name: str = gob.field("ImageName", STRING)
    image: ScannedImage | None = gob.field(
        "Image", gob.Pointer(gob.Struct(ScannedImage))
    )


@gob.struct("AddImageResponse")
class AddImageResponse:
    """The image was added."""


@gob.struct("ChangeImageExpirationRequest")
class ChangeImageExpirationRequest:
    """A zero time makes the image permanent."""

    expires_at: Time = gob.field("ExpiresAt", TIME)
    image_name: str = gob.field("ImageName", STRING)


@gob.struct("ChangeImageExpirationResponse")
class ChangeImageExpirationResponse:
    """An empty error means success."""

    error: str = gob.field("Error", STRING)


@gob.struct("ChangeOwnerRequest")
class ChangeOwnerRequest:
    """ChownDirectory."""

    directory_name: str = gob.field("DirectoryName", STRING)
    owner_group: str = gob.field("OwnerGroup", STRING)


@gob.struct("ChangeOwnerResponse")
class ChangeOwnerResponse:
    """The directory was given to the group."""


@gob.struct("CheckDirectoryRequest")
class CheckDirectoryRequest:
    """Is there such a directory?"""

    directory_name: str = gob.field("DirectoryName", STRING)


@gob.struct("CheckDirectoryResponse")
class CheckDirectoryResponse:
    """Whether there is."""

    directory_exists: bool = gob.field("DirectoryExists", BOOL)


@gob.struct("CheckImageRequest")
class CheckImageRequest:
    """Is there such an image?"""

    image_name: str = gob.field("ImageName", STRING)


@gob.struct("CheckImageResponse")
class CheckImageResponse:
    """Whether there is."""

    image_exists: bool = gob.field("ImageExists", BOOL)


@gob.struct("DeleteDirectoryRequest")
class DeleteDirectoryRequest:
    """Remove an empty directory."""

    directory_name: str = gob.field("DirectoryName", STRING)


@gob.struct("DeleteDirectoryResponse")
class DeleteDirectoryResponse:
    """An empty error means success."""

    error: str = gob.field("Error", STRING)


@gob.struct("DeleteImageRequest")
class DeleteImageRequest:
    """Delete an image; its name is not to be used again."""

    image_name: str = gob.field("ImageName", STRING)


@gob.struct("DeleteImageResponse")
class DeleteImageResponse:
    """The image was deleted."""


@gob.struct("DeleteUnreferencedObjectsRequest")
class DeleteUnreferencedObjectsRequest:
    """Delete at least so many percent and so many bytes."""

    percentage: int = gob.field("Percentage", UINT8)
    bytes_: int = gob.field("Bytes", UINT)


@gob.struct("DeleteUnreferencedObjectsResponse")
class DeleteUnreferencedObjectsResponse:
    """That much was deleted."""


@gob.struct("FindLatestImageRequest")
class FindLatestImageRequest:
    """The newest image directly in a directory."""

    build_commit_id: str = gob.field("BuildCommitId", STRING)
    directory_name: str = gob.field("DirectoryName", STRING)
    ignore_expiring_images: bool = gob.field("IgnoreExpiringImages", BOOL)
    tags_to_match: dict[str, tuple[str, ...]] | None = gob.field(
        "TagsToMatch", MATCH_TAGS
    )


@gob.struct("FindLatestImageResponse")
class FindLatestImageResponse:
    """An empty name: there is none."""

    image_name: str = gob.field("ImageName", STRING)
    error: str = gob.field("Error", STRING)


@gob.struct("GetImageArchiveRequest")
class GetImageArchiveRequest:
    """A signed copy of an image."""

    image_name: str = gob.field("ImageName", STRING)


@gob.struct("GetImageArchiveResponse")
class GetImageArchiveResponse:
    """The archive, or where to get it."""

    archive_data: bytes = gob.field("ArchiveData", BYTES)
    error: str = gob.field("Error", STRING)
    replication_master: str = gob.field("ReplicationMaster", STRING)


@gob.struct("GetImageComputedFilesRequest")
class GetImageComputedFilesRequest:
    """The computed files of an image."""

    image_name: str = gob.field("ImageName", STRING)


@gob.struct("GetImageComputedFilesResponse")
class GetImageComputedFilesResponse:
    """Those files."""

    computed_files: tuple[ComputedFile, ...] = gob.field(
        "ComputedFiles", gob.Slice(gob.Struct(ComputedFile))
    )
    image_exists: bool = gob.field("ImageExists", BOOL)


@gob.struct("GetImageExpirationRequest")
class GetImageExpirationRequest:
    """When does an image expire?"""

    image_name: str = gob.field("ImageName", STRING)


@gob.struct("GetImageExpirationResponse")
class GetImageExpirationResponse:
    """A zero time: never."""

    error: str = gob.field("Error", STRING)
    expires_at: Time = gob.field("ExpiresAt", TIME)


@gob.struct("GetImageInodesRequest")
class GetImageInodesRequest:
    """The inodes of some files, by absolute path."""

    file_names: tuple[bytes, ...] = gob.field("Filenames", gob.Slice(BYTE_STRING))
    image_name: str = gob.field("ImageName", STRING)


@gob.struct("GetImageInodesResponse")
class GetImageInodesResponse:
    """Those that exist, and how many names each inode has."""

    error: str = gob.field("Error", STRING)
    image_exists: bool = gob.field("ImageExists", BOOL)
    inode_numbers: dict[bytes, int] | None = gob.field(
        "InodeNumbers", gob.Map(BYTE_STRING, UINT)
    )
    inodes: dict[int, Inode] | None = gob.field("Inodes", gob.Map(UINT, INODE))
    link_counts: dict[int, int] | None = gob.field("NumLinks", gob.Map(UINT, UINT))


@gob.struct("GetImageRequest")
class GetImageRequest:
    """``timeout_ns``: how long to wait for an image that is not there."""

    image_name: str = gob.field("ImageName", STRING)
    ignore_file_system: bool = gob.field("IgnoreFilesystem", BOOL)
    ignore_file_system_if_expiring: bool = gob.field("IgnoreFilesystemIfExpiring", BOOL)
    timeout_ns: int = gob.field("Timeout", INT)


@gob.struct("GetImageResponse")
class GetImageResponse:
    """``None``: there is no such image."""

    image: Image | None = gob.field("Image", gob.Pointer(gob.Struct(Image)))
    information_database_url: str = gob.field("InformationDatabaseURL", STRING)


@gob.struct("GetImageResponse")
class GetScannedImageResponse:
    """The same as a replica receives it."""

    image: ScannedImage | None = gob.field(
        "Image", gob.Pointer(gob.Struct(ScannedImage))
    )


@gob.struct("GetImageUsageEstimateRequest")
class GetImageUsageEstimateRequest:
    """How much space will an image take?"""

    image_name: str = gob.field("ImageName", STRING)


@gob.struct("GetImageUsageEstimateResponse")
class GetImageUsageEstimateResponse:
    """That many bytes."""

    image_exists: bool = gob.field("ImageExists", BOOL)
    usage_estimate: int = gob.field("UsageEstimate", UINT)


@gob.struct("GetFilteredImageUpdatesRequest")
class GetFilteredImageUpdatesRequest:
    """Which images to hear of."""

    ignore_expiring: bool = gob.field("IgnoreExpiring", BOOL)


@gob.struct("GetObjectStatisticsForImagesRequest")
class GetObjectStatisticsForImagesRequest:
    """Measure images together."""

    ignore_missing: bool = gob.field("IgnoreMissing", BOOL)
    image_names: tuple[str, ...] = gob.field("ImageNames", gob.Slice(STRING))


@gob.struct("GetObjectStatisticsForImagesResponse")
class GetObjectStatisticsForImagesResponse:
    """Times in nanoseconds."""

    computation_time_ns: int = gob.field("ComputationTime", INT)
    error: str = gob.field("Error", STRING)
    file_inode_count: int = gob.field("NumFileInodes", UINT)
    image_count: int = gob.field("NumImages", UINT)
    object_count: int = gob.field("NumObjects", UINT)
    file_inode_bytes: int = gob.field("TotalFileInodeBytes", UINT)
    object_bytes: int = gob.field("TotalObjectBytes", UINT)


@gob.struct("GetReplicationMasterRequest")
class GetReplicationMasterRequest:
    """Whom does this server follow?"""


@gob.struct("GetReplicationMasterResponse")
class GetReplicationMasterResponse:
    """``host:port``, empty for a master."""

    error: str = gob.field("Error", STRING)
    replication_master: str = gob.field("ReplicationMaster", STRING)


@gob.struct("ImageUpdate")
class ImageUpdate:
    """One change of the image database."""

    name: str = gob.field("Name", STRING)
    directory: Directory | None = gob.field(
        "Directory", gob.Pointer(gob.Struct(Directory))
    )
    operation: int = gob.field("Operation", UINT)


@gob.struct("ImportTreeRequest")
class ImportTreeRequest:
    """Make an image of a published tree."""

    directory_name: str = gob.field("DirectoryName", STRING)
    expires_at: Time = gob.field("ExpiresAt", TIME)
    tree_url: str = gob.field("TreeUrl", STRING)


@gob.struct("ImportTreeResponse")
class ImportTreeResponse:
    """What was imported; times in nanoseconds."""

    file_bytes_added: int = gob.field("FileBytesAdded", UINT)
    file_objects_added: int = gob.field("FileObjectsAdded", UINT)
    files_download_time_ns: int = gob.field("FilesDownloadTime", INT)
    error: str = gob.field("Error", STRING)
    image_name: str = gob.field("ImageName", STRING)
    tree_bytes_added: int = gob.field("TreeBytesAdded", UINT)
    tree_objects_added: int = gob.field("TreeObjectsAdded", UINT)
    trees_download_time_ns: int = gob.field("TreesDownloadTime", INT)


@gob.struct("ListSelectedImagesRequest")
class ListSelectedImagesRequest:
    """Which images to list."""

    directory_name: str = gob.field("DirectoryName", STRING)
    ignore_expiring_images: bool = gob.field("IgnoreExpiringImages", BOOL)
    tags_to_match: dict[str, tuple[str, ...]] | None = gob.field(
        "TagsToMatch", MATCH_TAGS
    )


@gob.struct("MakeDirectoryRequest")
class MakeDirectoryRequest:
    """``make_all``: missing parents, too."""

    directory_name: str = gob.field("DirectoryName", STRING)
    make_all: bool = gob.field("MakeAll", BOOL)


@gob.struct("MakeDirectoryResponse")
class MakeDirectoryResponse:
    """The directory was made."""


@gob.struct("RestoreImageFromArchiveRequest")
class RestoreImageFromArchiveRequest:
    """Bring an archived image back."""

    archive_data: bytes = gob.field("ArchiveData", BYTES)
    expires_at: Time = gob.field("ExpiresAt", TIME)


@gob.struct("RestoreImageFromArchiveResponse")
class RestoreImageFromArchiveResponse:
    """An empty error means success."""

    error: str = gob.field("Error", STRING)
    replication_master: str = gob.field("ReplicationMaster", STRING)


@gob.struct("Object")
class Object:
    """An unreferenced object; size 0 ends the list."""

    hash_: bytes = gob.field("Hash", HASH)
    size: int = gob.field("Size", UINT)
