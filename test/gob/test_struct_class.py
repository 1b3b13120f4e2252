"""The classes of structs."""

from __future__ import annotations

import copy
import pickle

import pytest
from attrs.exceptions import FrozenInstanceError

from imageserver import gob
from imageserver.errors import GobTypeError
from imageserver.gob import INT, STRING


@gob.struct("point")
class Point:
    """Two numbers."""

    x: int = gob.field("X", INT)
    y: int = gob.field("Y", INT)

    @property
    def sum(self) -> int:
        """Both of them."""
        return self.x + self.y


@gob.struct("named")
class Named(Point):
    """A point with a name, and another one around it."""

    name: str = gob.field("Name", STRING)
    around: Point = gob.field("Around", gob.Struct(Point))


@gob.struct("empty")
class Empty:
    """Nothing at all."""


def test_construction() -> None:
    """Fields come by place or by name; those that are left out are zero."""
    assert Point(1, 2).sum == Point(y=2, x=1).sum == Point(1, y=2).sum == 3
    assert (Point().x, Point().y) == (0, 0)
    assert Named().around == Point()


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1, 2, 3), {}), ((), {"z": 1}), ((1,), {"x": 1})]
)
def test_wrong_construction(args, kwargs) -> None:
    """What is no field is refused."""
    with pytest.raises(TypeError, match="argument"):
        Point(*args, **kwargs)


def test_inheritance() -> None:
    """Fields of the class above come first, whichever class is used first."""
    first = gob.struct("first")(type("First", (Point,), {"z": gob.field("Z", INT)}))
    assert Point(1, 2) == Point(1, 2)
    value = first(1, 2, 3)
    assert (value.x, value.y, value.z, value.sum) == (1, 2, 3, 3)
    assert [field.name for field in gob.struct_info(first).fields] == ["X", "Y", "Z"]
    assert isinstance(value, Point)


def test_other_declaration() -> None:
    """A field can be declared anew; it stays in its place."""
    fields = {"x": gob.field("Z", STRING)}
    other = gob.struct("other")(type("Other", (Point,), fields))
    assert (other("a", 2).x, other().x, other("a", 2).y) == ("a", "", 2)
    assert [field.name for field in gob.struct_info(other).fields] == ["Z", "Y"]


def test_comparison() -> None:
    """Instances of the same class are equal if their fields are."""
    assert Point(1, 2) == Point(1, 2) != Point(1, 3)
    assert len({Point(1, 2), Point(1, 2), Point(1, 3)}) == 2
    assert Empty() == Empty() != Point()
    assert Named(1, 2) != Point(1, 2)
    assert {Empty()} == {Empty()}


def test_unchangeable() -> None:
    """Instances stay as they are."""
    point = Point(1, 2)
    with pytest.raises(FrozenInstanceError):
        point.x = 3  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del point.x
    with pytest.raises(FrozenInstanceError):
        point.other = 3  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")
    assert point == Point(1, 2)


def test_evolve() -> None:
    """A struct can be copied with changes."""
    assert gob.evolve(Point(1, 2), y=3) == Point(1, 3)
    with pytest.raises(TypeError, match="argument"):
        gob.evolve(Point(1, 2), z=3)


def test_copies() -> None:
    """Copies are equal, those that went through bytes, too."""
    value = Named(1, 2, "a", Point(3, 4))
    assert copy.copy(value) == copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own


def test_representation() -> None:
    """It shows what an instance is made of."""
    assert repr(Named(1, 2, "a")) == (
        "Named(x=1, y=2, name='a', around=Point(x=0, y=0))"
    )
    assert repr(Empty()) == "Empty()"
    assert Point.__doc__ == "Two numbers."


def test_no_struct() -> None:
    """Other classes are none."""
    with pytest.raises(GobTypeError, match="int was not declared as a struct"):
        gob.struct_info(int)
