"""Classes that gob can carry.

A struct is an ordinary class whose fields name their Go field and type::

    @struct("CheckImageRequest")
    class CheckImageRequest:
        image_name: str = field("ImageName", STRING)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import attrs

from imageserver.errors import GobTypeError
from imageserver.gob.schema import Struct, Type

T = TypeVar("T")

_METADATA = "gob"


@attrs.frozen
class StructField:
    """A field of a struct.

    Attributes:
        attribute: its name in Python.
        name: its name on the wire.
        type: its type.
        embedded: whether in JSON its members are those of the struct around it.
        omit_empty: whether it is left out of JSON if it is zero.
    """

    attribute: str
    name: str
    type: Type
    embedded: bool = False
    omit_empty: bool = False


@attrs.frozen
class StructInfo:
    """What :func:`struct` knows of a class.

    Attributes:
        name: its name on the wire.
        fields: its fields.
        slots: the places of the fields by their names on the wire.
    """

    name: str
    fields: tuple[StructField, ...]
    slots: dict[str, int] = attrs.field(init=False)

    @slots.default
    def _find_slots(self) -> dict[str, int]:
        return {field.name: slot for slot, field in enumerate(self.fields)}


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
    default = (
        attrs.Factory(lambda: type_.zero) if isinstance(type_, Struct) else type_.zero
    )
    declared = name, type_, embedded, omit_empty
    return attrs.field(default=default, metadata={_METADATA: declared})


@dataclass_transform(frozen_default=True)
def struct(name: str) -> Callable[[type[T]], type[T]]:
    """Make an immutable class whose instances gob can carry.

    Args:
        name: the type's name on the wire; receivers do not look at it.
    """

    def decorate(cls: type[T]) -> type[T]:
        made = attrs.frozen(cls)
        fields = tuple(
            StructField(a.name, *a.metadata[_METADATA])
            for a in attrs.fields(made)  # type: ignore[arg-type]
        )
        made.__gob__ = StructInfo(name, fields)  # type: ignore[attr-defined]
        return made

    return decorate


def struct_info(cls: type) -> StructInfo:
    """The declaration of a class made by :func:`struct`.

    Raises:
        GobTypeError: it was not made so.
    """
    info: StructInfo | None = getattr(cls, "__gob__", None)
    if info is None:
        raise GobTypeError(f"{cls.__name__} was not declared as a struct")
    return info


def evolve(value: T, **changes: Any) -> T:
    """A copy of a struct with some attributes changed."""
    changed: T = attrs.evolve(value, **changes)  # type: ignore[misc]
    return changed
