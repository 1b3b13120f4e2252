"""The types that can be declared.

Python representation: numbers, ``str`` (or ``bytes`` for names that need not be
UTF-8), ``bytes`` for byte slices and for arrays of bytes, tuples for slices and
other arrays, ``dict`` or ``None`` for maps (a nil map differs from an empty one),
``None`` or the value for pointers, instances for structs, :class:`Time` for
times. Interfaces hold an instance of a registered struct class, an
:class:`InterfaceValue` for anything else, or ``None``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from imageserver.gob.times import Time

if TYPE_CHECKING:
    from imageserver.gob.reader import Reader
    from imageserver.gob.readers import Readers


@attrs.frozen
class Type(ABC):
    """What a value is declared to be; one subclass for each kind.

    Those without attributes of their own inherit all methods: that two types are of the
    same class is compared here.
    """

    @property
    @abstractmethod
    def zero(self) -> Any:
        """The value that an absent field has."""


class Bool(Type):
    """A truth value."""

    __slots__ = ()
    zero = False


@attrs.frozen
class Number(Type):
    """An integer of ``bits`` bits."""

    bits: int = 64
    zero = 0


class Int(Number):
    """A signed integer."""

    __slots__ = ()


class Uint(Number):
    """An unsigned integer."""

    __slots__ = ()


class Float(Type):
    """A floating point number."""

    __slots__ = ()
    zero = 0.0


class Complex(Type):
    """A complex number."""

    __slots__ = ()
    zero = 0j


class String(Type):
    """A string, as ``str``; bytes that are not UTF-8 are surrogates in it."""

    __slots__ = ()
    zero = ""


class ByteString(Type):
    """A string of the wire, as ``bytes``: for names that need not be UTF-8."""

    __slots__ = ()
    zero = b""


class Bytes(Type):
    """A byte slice."""

    __slots__ = ()
    zero = b""


class TimeType(Type):
    """A time."""

    __slots__ = ()
    zero = Time.ZERO


@attrs.frozen
class Array(Type):
    """``length`` elements of one type."""

    element: Type
    length: int
    name: str = attrs.field(default="", eq=False)

    @property
    def zero(self) -> Any:
        """As many zero elements."""
        return (self.element.zero,) * self.length


@attrs.frozen
class ByteArray(Type):
    """``length`` bytes; on the wire an array of unsigned integers."""

    length: int
    name: str = attrs.field(default="", eq=False)

    @property
    def zero(self) -> bytes:
        """As many zero bytes."""
        return bytes(self.length)


@attrs.frozen
class Slice(Type):
    """Any number of elements of one type."""

    element: Type
    zero = ()


@attrs.frozen
class Map(Type):
    """Keys of one type to values of another."""

    key: Type
    value: Type
    name: str = attrs.field(default="", eq=False)
    zero = None


@attrs.frozen
class Pointer(Type):
    """A value or ``None``."""

    target: Type
    zero = None


@attrs.frozen(eq=False)
class Struct(Type):
    """An instance of ``cls``, a class declared as a struct.

    ``cls`` may be a function that returns the class, for types that contain
    themselves.
    """

    source: Callable[[], Any]

    @property
    def cls(self) -> type:
        """The class."""
        return self.source if isinstance(self.source, type) else self.source()

    @property
    def zero(self) -> Any:
        """An instance whose fields are all zero."""
        return self.cls()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Struct) and self.cls is other.cls

    def __hash__(self) -> int:
        return hash(self.source if isinstance(self.source, type) else self.cls)


class Registry:
    """The concrete types that an interface may hold, by their registered names."""

    def __init__(self) -> None:
        self.by_name: dict[str, Type] = {}
        self.by_class: dict[type, str] = {}

    def register(self, name: str, type_: Type) -> None:
        """Let interfaces hold ``type_`` under ``name``.

        To be called before the first value is read or written.
        """
        type_ = on_wire(type_)
        self.by_name[name] = type_
        if isinstance(type_, Struct):
            self.by_class[type_.cls] = name


@attrs.frozen
class Interface(Type):
    """A value of one of the registered types, or ``None``."""

    registry: Registry
    zero = None


@attrs.frozen
class InterfaceValue:
    """What an interface holds if it is not an instance of a struct class.

    Attributes:
        name: the registered name of its type.
        value: the value itself.
    """

    name: str
    value: Any


@attrs.frozen
class Scanned(Type):
    """A value that has a reader of its own, for what would be too many objects.

    Attributes:
        target: the type that it is on the wire.
        make_reader: from the readers of a stream to the reader.
    """

    target: Type
    make_reader: Callable[[Readers], Reader]
    zero = None


class Skipped(Type):
    """A value that nobody wants."""

    __slots__ = ()
    zero = None


SKIP = Skipped()
BOOL = Bool()
INT = Int()
INT32 = Int(32)
UINT = Uint()
UINT8 = Uint(8)
UINT32 = Uint(32)
FLOAT = Float()
COMPLEX = Complex()
STRING = String()
BYTE_STRING = ByteString()
BYTES = Bytes()
TIME = TimeType()


def as_type(type_: Type | type) -> Type:
    """``type_`` itself, or the struct type of a class declared as a struct."""
    return type_ if isinstance(type_, Type) else Struct(type_)


def on_wire(type_: Type) -> Type:
    """The type as it travels: pointers and ways of reading leave no trace."""
    while isinstance(type_, Pointer | Scanned):
        type_ = type_.target
    return type_
