"""The classes of structs: immutable, with slots, and compared by their fields.

There are many of them, and most programs need few: so their methods are shared, and
``__init__``, which is quickest if compiled for its class, is made for the first
instance.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar, NoReturn

import attrs
from attrs.exceptions import FrozenInstanceError

from imageserver.gob.schema import Type

_IN_THE_WAY = ("__dict__", "__weakref__")


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
    """What is known of a class of structs.

    Attributes:
        name: its name on the wire.
        fields: its fields.
        slots: the places of the fields by their names on the wire.
        values: from an instance to what its fields hold, for comparisons.
    """

    name: str
    fields: tuple[StructField, ...]
    slots: dict[str, int] = attrs.field(init=False)
    values: Callable[[Any], Any] = attrs.field(init=False)

    @slots.default
    def _find_slots(self) -> dict[str, int]:
        return {field.name: slot for slot, field in enumerate(self.fields)}

    @values.default
    def _make_values(self) -> Callable[[Any], Any]:
        names = [field.attribute for field in self.fields]
        return attrgetter(*names) if names else lambda _: ()


class StructInstance:
    """What the instances of all structs can do."""

    __slots__ = ()
    __gob__: ClassVar[StructInfo]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        cls: Any = type(self)
        cls.__init__ = _compile_init(cls)
        cls.__init__(self, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        values = self.__gob__.values
        return bool(values(self) == values(other))

    def __hash__(self) -> int:
        return hash(self.__gob__.values(self))

    def __repr__(self) -> str:
        names = [field.attribute for field in self.__gob__.fields]
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({shown})"

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        fields = self.__gob__.fields
        return type(self), tuple(getattr(self, field.attribute) for field in fields)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError


def make_struct_class(
    cls: type, name: str, declared: dict[str, StructField]
) -> type[StructInstance]:
    """The class that a declaration is for; methods cannot use ``super()``.

    Args:
        cls: the declaration.
        name: the type's name on the wire.
        declared: its own fields; those of the class above come in front of them.
    """
    namespace = {
        key: value
        for key, value in vars(cls).items()
        if key not in declared and key not in _IN_THE_WAY
    }
    above = [base for base in cls.__bases__ if issubclass(base, StructInstance)]
    fields = {each.attribute: each for base in above for each in base.__gob__.fields}
    fields.update(declared)
    namespace["__slots__"] = tuple(declared)
    namespace["__gob__"] = StructInfo(name, tuple(fields.values()))
    namespace["__init__"] = StructInstance.__init__  # not what was compiled above
    bases = cls.__bases__ if above else (StructInstance,)
    return type(cls.__name__, bases, namespace)


def _compile_init(cls: type[StructInstance]) -> Callable[..., None]:
    """``__init__`` for one class, in which each field is put into its slot."""
    scope: dict[str, Any] = {}
    parameters = ["self"]
    steps = ["pass"]
    for number, field in enumerate(cls.__gob__.fields):
        scope[f"put_{number}"] = getattr(cls, field.attribute).__set__
        scope[f"zero_{number}"] = field.type.zero
        parameters.append(f"{field.attribute}=zero_{number}")
        steps.append(f"put_{number}(self, {field.attribute})")
    body = "\n    ".join(steps)
    source = f"def __init__({', '.join(parameters)}):\n    {body}\n"
    exec(source, scope)  # noqa: S102 - made of names that are identifiers
    made: Callable[..., None] = scope["__init__"]
    return made
