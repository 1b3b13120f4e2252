"""Making archives of stored images, and bringing images back from them."""

from __future__ import annotations

from twisted.logger import Logger

from imageserver import gob
from imageserver.errors import ImageNotFound, RequestError
from imageserver.gob import Time
from imageserver.images.admission import admit, dismiss, measure
from imageserver.images.archive import Archive, make_archive, read_archive
from imageserver.images.database import ImageDatabase
from imageserver.images.expiration import format_duration
from imageserver.images.secret import Secret
from imageserver.images.telling import told
from imageserver.model.image import ScannedImage
from imageserver.model.names import check_image_name
from imageserver.srpc.access import Caller

_SECOND = 1_000_000_000


class Archives:
    """Archives of the images of a database. Plain blocking code, for any thread."""

    _log = Logger()

    def __init__(self, database: ImageDatabase) -> None:
        """Sign with the key that is beside the images."""
        self._database = database
        self._secret = Secret(database.directory, database.disk, database.quarantine)

    def make(self, name: str) -> bytes:
        """A signed copy of an image.

        Raises:
            ImageNotFound: there is no such image.
            StoreError: it cannot be read, or signed.
        """
        stored = self._database.open_stored(name)
        if stored is None:
            raise ImageNotFound(f"image: {name} does not exist")
        with open(stored.descriptor, "rb") as file:
            file.seek(stored.record.value_offset)
            value = file.read(stored.record.value_bytes)
        with told(f"cannot sign image: {name}"):
            return make_archive(name, value, self._secret.key)

    def restore(self, data: bytes, expires_at: Time, caller: Caller) -> str:
        """Bring an archived image back; its name.

        One that we have signed ourselves comes back as it was, even if it was deleted.
        Any other is made by the caller, now, and needs a name that was never used.

        Args:
            data: the archive.
            expires_at: when the image is to expire, if it has done so already.
            caller: who wants it back.

        Raises:
            RequestError: the archive, the time or the caller is refused.
            StoreError: it cannot be stored.
        """
        with told("cannot verify the archive"):
            archive = read_archive(data, self._secret.key)
        try:
            self._restore(archive, expires_at, caller)
        finally:
            dismiss(archive.image)
        return archive.name

    def _restore(self, archive: Archive, expires_at: Time, caller: Caller) -> None:
        check_image_name(archive.name)
        image = self._put_off(archive.image, expires_at, caller)
        if not archive.is_genuine:
            self._log.warn(
                "{user!r} restores {name} from an archive that is not ours",
                user=caller.user,
                name=archive.name,
            )
            now = Time.from_nanoseconds(self._database.now_ns())
            image = gob.evolve(image, created_by=caller.user, created_on=now)
        admitted = measure(image)
        objects = self._database.objects
        with objects.leases.holding(admitted.references):
            admit(admitted, objects)
            revive = archive.is_genuine
            self._database.store(archive.name, admitted, revive=revive)

    def _put_off(
        self, image: ScannedImage, expires_at: Time, caller: Caller
    ) -> ScannedImage:
        """The image with a new expiration, if it had one, which has to be over."""
        if image.expires_at.is_zero:
            return image
        database = self._database
        now_ns = database.now_ns()
        left_ns = image.expires_at.to_nanoseconds() - now_ns
        if left_ns > 0:
            left = format_duration(left_ns // _SECOND)
            raise RequestError(f"cannot restore for: {left}")
        database.expiration_limits.check(caller, expires_at, now_ns)
        image = gob.evolve(image, expires_at=expires_at)
        if database.has_expired(image):
            raise RequestError("the expiration is in the past")
        return image
