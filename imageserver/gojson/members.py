"""What the members of a struct's JSON object are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import attrs

from imageserver.gob import Struct, Type, struct_info


@attrs.frozen
class Member:
    """One member of an object.

    Attributes:
        name: its name.
        attributes: lead to its value; more than one for members of embedded structs.
        type: its type.
        omit_empty: whether it is left out if it is zero.
    """

    name: str
    attributes: tuple[str, ...]
    type: Type
    omit_empty: bool


@lru_cache(maxsize=256)
def all_members(cls: type) -> tuple[Member, ...]:
    """The members of a struct, in order, those of embedded structs in their place."""
    return tuple(_members(cls, ()))


def _members(cls: type, path: tuple[str, ...]) -> Iterator[Member]:
    for field in struct_info(cls).fields:
        attributes = (*path, field.attribute)
        if field.embedded and isinstance(field.type, Struct):
            yield from _members(field.type.cls, attributes)
        else:
            yield Member(field.name, attributes, field.type, field.omit_empty)
