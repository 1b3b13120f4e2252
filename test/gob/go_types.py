"""The Go types of the recorded values, declared as a program of ours would."""

from __future__ import annotations

from typing import Any

from imageserver import gob
from imageserver.gob import BOOL, BYTES, COMPLEX, FLOAT, INT, STRING, TIME, UINT, Time

REGISTRY = gob.Registry()
ANY = gob.Interface(REGISTRY)
HASH = gob.ByteArray(64, "Hash")
STRINGS = gob.Slice(STRING)
STRING_TO_INT = gob.Map(STRING, INT)


@gob.struct("Point")
class Point:
    """Two numbers."""

    x: int = gob.field("X", INT)
    y: int = gob.field("Y", INT)


@gob.struct("SubPoint")
class SubPoint:
    """One field in common with a point."""

    y: int = gob.field("Y", INT)
    z: int = gob.field("Z", INT)


@gob.struct("Empty")
class Empty:
    """No fields."""


@gob.struct("Emb")
class Emb:
    """Embedded in :class:`Outer`."""

    name: str = gob.field("Name", STRING)


@gob.struct("Inner")
class Inner:
    """A string and strings."""

    a: str = gob.field("A", STRING)
    b: tuple[str, ...] = gob.field("B", STRINGS)


@gob.struct("Rec")
class Rec:
    """A type that contains itself."""

    v: int = gob.field("V", INT)
    next: Rec | None = gob.field("Next", gob.Pointer(gob.Struct(lambda: Rec)))
    kids: tuple[Rec, ...] = gob.field("Kids", gob.Slice(gob.Struct(lambda: Rec)))


@gob.struct("AllZeroArr")
class AllZeroArr:
    """Arrays of bytes and of strings."""

    a: bytes = gob.field("A", gob.ByteArray(4))
    b: tuple[str, str] = gob.field("B", gob.Array(STRING, 2))
    n: int = gob.field("N", INT)


@gob.struct("Maps")
class Maps:
    """Nil, empty and other maps."""

    nil: dict[str, str] | None = gob.field("NilM", gob.Map(STRING, STRING))
    empty: dict[str, str] | None = gob.field("EmptyM", gob.Map(STRING, STRING))
    m: dict[str, str] | None = gob.field("M", gob.Map(STRING, STRING))
    mu: dict[int, Any] | None = gob.field("MU", gob.Map(UINT, ANY))
    mm: dict[str, tuple[str, ...]] | None = gob.field("MM", gob.Map(STRING, STRINGS))


@gob.struct("Ptrs")
class Ptrs:
    """Pointers, nil and others."""

    zero: int | None = gob.field("PZero", gob.Pointer(INT))
    nil: int | None = gob.field("PNil", gob.Pointer(INT))
    value: int | None = gob.field("PVal", gob.Pointer(INT))
    string: str | None = gob.field("PStr", gob.Pointer(STRING))
    point: Point | None = gob.field("PPt", gob.Pointer(gob.Struct(Point)))


@gob.struct("IfaceHolder")
class IfaceHolder:
    """Three interfaces."""

    a: Any = gob.field("A", ANY)
    b: Any = gob.field("B", ANY)
    c: Any = gob.field("C", ANY)


@gob.struct("Wrap")
class Wrap:
    """An interface among other fields."""

    tag: str = gob.field("Tag", STRING)
    v: Any = gob.field("V", ANY)
    end: int = gob.field("End", INT)


@gob.struct("")
class Unnamed:
    """A nested struct and a time, which are zero."""

    s: Inner = gob.field("S", gob.Struct(Inner))
    t: Time = gob.field("T", TIME)
    n: int = gob.field("N", INT)


@gob.struct("hashHolder")
class HashHolder:
    """Hashes by value, by pointer and in a slice."""

    v: bytes = gob.field("V", HASH)
    p: bytes | None = gob.field("P", gob.Pointer(HASH))
    s: tuple[bytes, ...] = gob.field("Sl", gob.Slice(HASH))
    n: int = gob.field("N", INT)


@gob.struct("Outer")
class Outer:
    """Everything in one struct."""

    emb: Emb = gob.field("Emb", gob.Struct(Emb))
    p: Point | None = gob.field("P", gob.Pointer(gob.Struct(Point)))
    inner: Inner = gob.field("In", gob.Struct(Inner))
    m: dict[str, int] | None = gob.field("M", STRING_TO_INT)
    l_: tuple[Inner, ...] = gob.field("L", gob.Slice(gob.Pointer(gob.Struct(Inner))))
    f: float = gob.field("F", FLOAT)
    f32: float = gob.field("F32", FLOAT)
    c: complex = gob.field("C", COMPLEX)
    by: bytes = gob.field("By", BYTES)
    arr: tuple[int, ...] = gob.field("Arr", gob.Array(gob.Uint(16), 3))
    arr8: bytes = gob.field("Arr8", gob.ByteArray(4))
    any: Any = gob.field("Any", ANY)
    bo: bool = gob.field("Bo", BOOL)
    t: Time = gob.field("T", TIME)
    pt: Time | None = gob.field("PT", gob.Pointer(TIME))
    i8: int = gob.field("I8", gob.Int(8))
    u64: int = gob.field("U64", UINT)
    d: int = gob.field("D", INT)
    s: str = gob.field("S", STRING)
    nil: tuple[int, ...] = gob.field("NilSl", gob.Slice(INT))
    last: int = gob.field("Last", gob.UINT8)


for _name, _type in {
    "int": INT,
    "string": STRING,
    "bool": BOOL,
    "float64": FLOAT,
    "[]uint8": BYTES,
    "map[string]int": STRING_TO_INT,
    "main.Point": gob.Struct(Point),
    "alias/Inner": gob.Pointer(gob.Struct(Inner)),
    "main.Wrap": gob.Struct(Wrap),
}.items():
    REGISTRY.register(_name, _type)

TYPES: dict[str, gob.Type] = {
    "bool": BOOL,
    "int": INT,
    "int8": gob.Int(8),
    "int64": INT,
    "time.Duration": INT,
    "uint": UINT,
    "uint8": gob.UINT8,
    "uint64": UINT,
    "float32": FLOAT,
    "float64": FLOAT,
    "complex128": COMPLEX,
    "string": STRING,
    "main.NamedStr": STRING,
    "[]uint8": BYTES,
    "main.NamedBytes": BYTES,
    "time.Time": TIME,
    "[]int": gob.Slice(INT),
    "[]string": STRINGS,
    "[]uint64": gob.Slice(UINT),
    "[]bool": gob.Slice(BOOL),
    "[][]uint8": gob.Slice(BYTES),
    "[]main.Point": gob.Slice(gob.Struct(Point)),
    "[]*main.Point": gob.Slice(gob.Pointer(gob.Struct(Point))),
    "[]hash.Hash": gob.Slice(HASH),
    "[]interface {}": gob.Slice(ANY),
    "[4]uint8": gob.ByteArray(4),
    "[3]int": gob.Array(INT, 3),
    "[2]string": gob.Array(STRING, 2),
    "hash.Hash": HASH,
    "map[string]int": STRING_TO_INT,
    "map[string][]string": gob.Map(STRING, STRINGS),
    "map[uint64]main.Point": gob.Map(UINT, gob.Struct(Point)),
    "map[uint64]interface {}": gob.Map(UINT, ANY),
    "main.StrMap": gob.Map(STRING, UINT, "StrMap"),
    "main.Point": gob.Struct(Point),
    "main.SubPoint": gob.Struct(SubPoint),
    "main.Empty": gob.Struct(Empty),
    "main.Rec": gob.Struct(Rec),
    "main.AllZeroArr": gob.Struct(AllZeroArr),
    "main.Maps": gob.Struct(Maps),
    "main.Ptrs": gob.Struct(Ptrs),
    "main.IfaceHolder": gob.Struct(IfaceHolder),
    "struct { S main.Inner; T time.Time; N int }": gob.Struct(Unnamed),
    "main.hashHolder": gob.Struct(HashHolder),
    "main.Outer": gob.Struct(Outer),
}
"""The declared types, by their Go names in the recordings."""
