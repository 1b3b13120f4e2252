"""Classes that gob can carry.

A struct is an ordinary class whose fields name their Go field and type::

    @struct("CheckImageRequest")
    class CheckImageRequest:
        image_name: str = field("ImageName", STRING)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast, dataclass_transform

from imageserver.errors import GobTypeError
from imageserver.gob.schema import Type
from imageserver.gob.struct_class import (
    StructField,
    StructInfo,
    StructInstance,
    make_struct_class,
)

T = TypeVar("T")

__all__ = ["StructField", "StructInfo", "evolve", "field", "struct", "struct_info"]


class _Declaration:
    """What stands for a field while its class is made."""

    def __init__(self, *facts: Any) -> None:
        self.facts = facts


def field(
    name: str, type_: Type, *, embedded: bool = False, omit_empty: bool = False
) -> Any:
    """Declare a field of a struct.

    Args:
        name: the field's name on the wire.
        type_: its type; its zero value is the field's default.
        embedded: whether in JSON its members are those of the struct around it.
        omit_empty: whether it is left out of JSON if it is zero.
    """
    return _Declaration(name, type_, embedded, omit_empty)


@dataclass_transform(frozen_default=True)
def struct(name: str) -> Callable[[type[T]], type[T]]:
    """Make an immutable class whose instances gob can carry.

    Its methods cannot use ``super()``.

    Args:
        name: the type's name on the wire; receivers do not look at it.
    """

    def decorate(cls: type[T]) -> type[T]:
        fields = {
            attribute: StructField(attribute, *declared.facts)
            for attribute, declared in vars(cls).items()
            if isinstance(declared, _Declaration)
        }
        made: Any = make_struct_class(cls, name, fields)
        return cast(type[T], made)

    return decorate


def struct_info(cls: type) -> StructInfo:
    """The declaration of a class made by :func:`struct`.

    Raises:
        GobTypeError: it was not made so.
    """
    if not issubclass(cls, StructInstance):
        raise GobTypeError(f"{cls.__name__} was not declared as a struct")
    return cls.__gob__


def evolve(value: T, **changes: Any) -> T:
    """A copy of a struct with some attributes changed."""
    fields = struct_info(type(value)).fields
    unchanged = {each.attribute: getattr(value, each.attribute) for each in fields}
    return type(value)(**{**unchanged, **changes})
