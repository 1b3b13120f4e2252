"""Flags of the reference implementation that mean nothing here.

They are accepted, so that command lines and flags files can stay as they are; the log
says that they have no effect.
"""

from __future__ import annotations

from imageserver.flags import BOOL, DURATION, SECOND, Flag

_GROUP = "Accepted, without effect"

FLAGS = (
    Flag("debug", BOOL, False, "see -initialLogDebugLevel", _GROUP),
    Flag("lockCheckInterval", DURATION, 2 * SECOND, "there are no such locks", _GROUP),
    Flag("lockLogTimeout", DURATION, 5 * SECOND, "there are no such locks", _GROUP),
    Flag(
        "srpcTrustVmOwners",
        BOOL,
        True,
        "owners of the virtual machine are not trusted; see -srpcTrustedUsers",
        _GROUP,
    ),
)
