"""One thing that a replica has to do to have what its master has."""

from __future__ import annotations

import enum

import attrs


class Kind(enum.Enum):
    """What is to be done."""

    MAKE = "make directory"
    """Also: give it to another group."""
    BRING = "add image"
    """Also: let it expire later."""
    DELETE = "delete image"
    REMOVE = "delete directory"

    @property
    def is_of_image(self) -> bool:
        """Whether it is done to an image."""
        return self in (Kind.BRING, Kind.DELETE)


Key = tuple[bool, str]


@attrs.define(eq=False)
class Task:
    """See the module.

    Attributes:
        kind: what is to be done.
        name: to which image or directory.
        since_s: when the master told of it.
        owner_group: of the directory.
        is_unlisted: whether it is because the master did not mention the name.
        attempts: how often it was tried in vain.
        not_before_s: when it may be tried again.
        reason: why it failed the last time; empty: it did not.
        is_refused: whether trying again does not help unless the master changes
            something.
    """

    kind: Kind
    name: str
    since_s: float
    owner_group: str = ""
    is_unlisted: bool = False
    attempts: int = 0
    not_before_s: float = 0.0
    reason: str = ""
    is_refused: bool = False

    @property
    def key(self) -> Key:
        """What it is done to."""
        return self.kind.is_of_image, self.name
