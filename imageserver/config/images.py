"""How long images are kept, and what is known about them elsewhere."""

from __future__ import annotations

import attrs

from imageserver.flags import DURATION, STRING, Flag
from imageserver.images.expiration import PRIVILEGED_NS, REGULAR_NS, ExpirationLimits

_GROUP = "Images"

FLAGS = (
    Flag(
        "maximumExpirationDuration",
        DURATION,
        REGULAR_NS,
        "how far off the expiration of an image may be put",
        _GROUP,
        least=1,
    ),
    Flag(
        "maximumExpirationDurationPrivileged",
        DURATION,
        PRIVILEGED_NS,
        "... by users with power over the method",
        _GROUP,
        least=1,
    ),
    Flag(
        "informationDatabaseTemplate",
        STRING,
        "",
        "makes the address of a page about an image: http://db/{{.Name}}",
        _GROUP,
    ),
)


@attrs.frozen(slots=False)
class ImageSettings:
    """How long images are kept, and what is known about them elsewhere."""

    maximum_expiration_duration: int
    maximum_expiration_duration_privileged: int
    information_database_template: str

    @property
    def expiration_limits(self) -> ExpirationLimits:
        """How far off expirations may be put."""
        return ExpirationLimits(
            self.maximum_expiration_duration,
            self.maximum_expiration_duration_privileged,
        )
