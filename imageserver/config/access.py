"""Who may do what."""

from __future__ import annotations

import attrs

from imageserver.flags import BOOL, LIST, Flag
from imageserver.rpc.import_sources import ImportSources

_GROUP = "Access"

FLAGS = (
    Flag(
        "allowPublicAddObjects",
        BOOL,
        False,
        "any authenticated user may call AddObjects",
        _GROUP,
    ),
    Flag(
        "allowPublicCheckObjects",
        BOOL,
        False,
        "any authenticated user may call CheckObjects",
        _GROUP,
    ),
    Flag(
        "allowPublicGetObjects",
        BOOL,
        False,
        "any authenticated user may call GetObjects",
        _GROUP,
    ),
    Flag(
        "allowUnauthenticatedReads",
        BOOL,
        False,
        "reading needs no certificate",
        _GROUP,
    ),
    Flag(
        "importSources",
        LIST,
        (),
        "URLs below which ImportObjects may fetch; empty: none",
        _GROUP,
    ),
    Flag("srpcTrustedUsers", LIST, (), "users who may call everything", _GROUP),
    Flag(
        "srpcTrustedGroups",
        LIST,
        (),
        "groups whose members may call everything",
        _GROUP,
    ),
)


@attrs.frozen(slots=False)
class AccessSettings:
    """Who may do what."""

    allow_public_add_objects: bool
    allow_public_check_objects: bool
    allow_public_get_objects: bool
    allow_unauthenticated_reads: bool
    import_sources: tuple[str, ...]
    srpc_trusted_users: tuple[str, ...]
    srpc_trusted_groups: tuple[str, ...]

    @property
    def sources(self) -> ImportSources:
        """From where objects may be imported.

        Raises:
            ConfigError: one of them is not a plain URL.
        """
        return ImportSources(self.import_sources)
