"""Images and what belongs to them: ``docs/protocol.md``, "Images"."""

from __future__ import annotations

from imageserver import gob
from imageserver.gob import STRING, TIME, UINT, Time
from imageserver.model.file_system import FileSystem, ScannedFileSystem
from imageserver.model.filter import Filter
from imageserver.model.hash import HASH
from imageserver.model.triggers import Triggers


@gob.struct("Annotation")
class Annotation:
    """A text: either an object, or an address."""

    object_hash: bytes | None = gob.field("Object", gob.Pointer(HASH))
    url: str = gob.field("URL", STRING)


@gob.struct("Package")
class Package:
    """A package that is installed in an image; ``size`` in bytes."""

    name: str = gob.field("Name", STRING)
    size: int = gob.field("Size", UINT)
    version: str = gob.field("Version", STRING)


TAGS = gob.Map(STRING, STRING, "Tags")
MATCH_TAGS = gob.Map(STRING, gob.Slice(STRING), "MatchTags")


@gob.struct("ImageMetadata")
class ImageMetadata:
    """An image without its file system.

    The expiration and the file system come last, so that a stored image can be
    served without the one or with another of the other by leaving its bytes alone
    up to there: ``docs/formats.md``, "Canonical image files".
    """

    build_branch: str = gob.field("BuildBranch", STRING)
    build_commit_id: str = gob.field("BuildCommitId", STRING)
    build_git_url: str = gob.field("BuildGitUrl", STRING)
    created_by: str = gob.field("CreatedBy", STRING)
    created_for: str = gob.field("CreatedFor", STRING)
    filter: Filter | None = gob.field("Filter", gob.Pointer(gob.Struct(Filter)))
    triggers: Triggers | None = gob.field("Triggers", gob.Pointer(gob.Struct(Triggers)))
    release_notes: Annotation | None = gob.field(
        "ReleaseNotes", gob.Pointer(gob.Struct(Annotation))
    )
    build_log: Annotation | None = gob.field(
        "BuildLog", gob.Pointer(gob.Struct(Annotation))
    )
    created_on: Time = gob.field("CreatedOn", TIME)
    owner_groups: tuple[str, ...] = gob.field("OwnerGroups", gob.Slice(STRING))
    owner_users: tuple[str, ...] = gob.field("OwnerUsers", gob.Slice(STRING))
    packages: tuple[Package, ...] = gob.field(
        "Packages", gob.Slice(gob.Struct(Package))
    )
    source_image: str = gob.field("SourceImage", STRING)
    tags: dict[str, str] | None = gob.field("Tags", TAGS)
    expires_at: Time = gob.field("ExpiresAt", TIME)


@gob.struct("Image")
class Image(ImageMetadata):
    """An image."""

    file_system: FileSystem | None = gob.field(
        "FileSystem", gob.Pointer(gob.Struct(FileSystem))
    )


@gob.struct("Image")
class ScannedImage(ImageMetadata):
    """An image as the server receives it: the inodes are scanned only."""

    file_system: ScannedFileSystem | None = gob.field(
        "FileSystem", gob.Pointer(gob.Struct(ScannedFileSystem))
    )


@gob.struct("ImageArchive")
class ImageArchive:
    """What an archive signs."""

    image_name: str = gob.field("ImageName", STRING)
    image: Image = gob.field("Image", gob.Struct(Image), embedded=True)


@gob.struct("ImageArchive")
class ScannedImageArchive:
    """The same as the server receives it."""

    image_name: str = gob.field("ImageName", STRING)
    image: ScannedImage = gob.field("Image", gob.Struct(ScannedImage), embedded=True)


@gob.struct("DirectoryMetadata")
class DirectoryMetadata:
    """What a directory of images has besides its name."""

    owner_group: str = gob.field("OwnerGroup", STRING)


@gob.struct("Directory")
class Directory:
    """A directory of images; the root is named ``.``."""

    name: str = gob.field("Name", STRING)
    metadata: DirectoryMetadata = gob.field("Metadata", gob.Struct(DirectoryMetadata))


@gob.struct("ComputedFile")
class ComputedFile:
    """A computed file of an image, by its absolute path."""

    file_name: str = gob.field("Filename", STRING)
    source: str = gob.field("Source", STRING)
