"""The methods of ImageServer: which there are, and who may call them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from twisted.internet.interfaces import IReactorTime

from imageserver.gob import Limits
from imageserver.images.database import ImageDatabase
from imageserver.images.information import InformationTemplate
from imageserver.model import image_messages as messages
from imageserver.rpc.image_archives import ImageArchives
from imageserver.rpc.image_changes import ImageChanges
from imageserver.rpc.image_download import ImageDownload
from imageserver.rpc.image_lists import ImageLists
from imageserver.rpc.image_queries import ImageQueries
from imageserver.rpc.image_updates import ImageUpdates
from imageserver.srpc.methods import SMALL, Method
from imageserver.worker import Worker

_SERVICE = "ImageServer"
_IMAGE_BYTES = 512 << 20
_IMAGE_ELEMENTS = 4 << 20


class ImageService:
    """ImageServer, on an image database.

    Attributes:
        changes: the methods that change something.
        archives: those for archives.
        queries: those that answer questions.
        download: GetImage.
        lists: those that list.
        updates: those that follow.
    """

    def __init__(
        self,
        database: ImageDatabase,
        metadata: Worker,
        clock: IReactorTime,
        template: InformationTemplate | None = None,
        pending: Collection[str] = (),
    ) -> None:
        """Serve ``database``.

        Args:
            database: the images.
            metadata: does the database's work.
            clock: for clients that wait for images.
            template: makes addresses of pages about images.
            pending: names of images that the database will know soon.
        """
        template = template or InformationTemplate("")
        self.changes = ImageChanges(database, metadata)
        self.archives = ImageArchives(database, metadata)
        self.queries = ImageQueries(database, metadata)
        self.download = ImageDownload(database, metadata, clock, template)
        self.lists = ImageLists(database, metadata, pending)
        self.updates = ImageUpdates(database, metadata)

    def methods(
        self, *, open_reads: bool, image_bytes: int = _IMAGE_BYTES
    ) -> list[Method]:
        """The methods, with the access and the limits that the server's flags give."""
        images = Limits(message_bytes=image_bytes, elements=_IMAGE_ELEMENTS)
        return [
            *self._changing(images),
            *self._answering(open_reads),
            *self._streaming(open_reads),
        ]

    def _changing(self, images: Limits) -> list[Method]:
        changes = self.changes

        def method(
            name: str,
            request: type,
            reply: Any,
            *,
            public: bool = False,
            limits: Limits = SMALL,
        ) -> Method:
            return Method(
                _SERVICE,
                name,
                public=public,
                request=request,
                reply=reply,
                limits=limits,
            )

        image = messages.AddScannedImageRequest
        return [
            method("AddImage", image, changes.add, limits=images),
            method("AddImageTrusted", image, changes.add_trusted, limits=images),
            method(
                "ChangeImageExpiration",
                messages.ChangeImageExpirationRequest,
                changes.change_expiration,
                public=True,
            ),
            method(
                "ChownDirectory",
                messages.ChangeOwnerRequest,
                changes.change_owner,
                public=True,
            ),
            method(
                "DeleteDirectory",
                messages.DeleteDirectoryRequest,
                changes.delete_directory,
            ),
            method(
                "DeleteImage",
                messages.DeleteImageRequest,
                changes.delete,
                public=True,
            ),
            method(
                "RestoreImageFromArchive",
                messages.RestoreImageFromArchiveRequest,
                self.archives.restore,
                limits=images,
            ),
            method(
                "MakeDirectory",
                messages.MakeDirectoryRequest,
                changes.make_directory,
            ),
        ]

    def _answering(self, open_reads: bool) -> list[Method]:
        queries = self.queries
        replies: dict[str, tuple[type, Any]] = {
            "CheckDirectory": (messages.CheckDirectoryRequest, queries.check_directory),
            "CheckImage": (messages.CheckImageRequest, queries.check_image),
            "FindLatestImage": (
                messages.FindLatestImageRequest,
                queries.find_latest_image,
            ),
            "GetImage": (messages.GetImageRequest, self.download.get_image),
            "GetImageArchive": (messages.GetImageArchiveRequest, self.archives.get),
            "GetImageComputedFiles": (
                messages.GetImageComputedFilesRequest,
                queries.get_computed_files,
            ),
            "GetImageExpiration": (
                messages.GetImageExpirationRequest,
                queries.get_expiration,
            ),
            "GetImageInodes": (messages.GetImageInodesRequest, queries.get_inodes),
            "GetImageUsageEstimate": (
                messages.GetImageUsageEstimateRequest,
                queries.get_usage_estimate,
            ),
            "GetObjectStatisticsForImages": (
                messages.GetObjectStatisticsForImagesRequest,
                queries.get_object_statistics,
            ),
            "GetReplicationMaster": (
                messages.GetReplicationMasterRequest,
                queries.get_replication_master,
            ),
        }
        return [
            Method(
                _SERVICE,
                name,
                public=True,
                unauthenticated=open_reads,
                request=request,
                reply=reply,
            )
            for name, (request, reply) in replies.items()
        ]

    def _streaming(self, open_reads: bool) -> list[Method]:
        streams = {
            "GetFilteredImageUpdates": self.updates.get_filtered_image_updates,
            "GetImageUpdates": self.updates.get_image_updates,
            "ListDirectories": self.lists.list_directories,
            "ListImages": self.lists.list_images,
            "ListSelectedImages": self.lists.list_selected_images,
        }
        return [
            Method(
                _SERVICE,
                name,
                public=True,
                unauthenticated=open_reads,
                stream=stream,
            )
            for name, stream in streams.items()
        ]
