"""How the process runs."""

from __future__ import annotations

import attrs

from imageserver.errors import ConfigError
from imageserver.flags import BOOL, STRING, Flag

_GROUP = "Process"

FLAGS = (
    Flag(
        "username",
        STRING,
        "",
        "started as root: become this user once the port is bound",
        _GROUP,
    ),
    Flag("permitRoot", BOOL, False, "do run as root", _GROUP),
    Flag("version", BOOL, False, "print the version and exit", _GROUP),
)


@attrs.frozen(slots=False)
class ProcessSettings:
    """How the process runs."""

    username: str
    permit_root: bool
    version: bool

    def check_user(self, user_id: int) -> None:
        """Look whether the server may run as this user.

        Args:
            user_id: of the user that the process runs as.

        Raises:
            ConfigError: it may not; the text says what to do.
        """
        if user_id == 0 and not self.username and not self.permit_root:
            raise ConfigError(
                "Do not run the Image Server as root (see -username and -permitRoot)"
            )
        if user_id != 0 and self.username:
            raise ConfigError("only root can become another user: leave -username out")
