"""Recorded scalars, strings and byte slices."""

from __future__ import annotations

import math

import pytest
import recorded
from gob.go_types import TYPES

VECTORS = recorded.load("gob-primitives")


def same(left: object, right: object) -> bool:
    """Whether two values are equal; NaN counts as equal to itself."""
    if isinstance(left, float) and math.isnan(left):
        return isinstance(right, float) and math.isnan(right)
    return type(left) is type(right) and left == right


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_scalar(vector, encode_all) -> None:
    """A recorded scalar decodes to its value, and that encodes to the same bytes."""
    type_ = TYPES[vector["go_type"]]
    data = bytes.fromhex(vector["hex"])
    (expected,) = [recorded.from_notation(value, type_) for value in vector["values"]]
    (typed,) = recorded.decode_all(data, type_)
    (untyped,) = recorded.decode_all(data)
    assert same(typed, expected)
    assert same(untyped, expected)
    assert encode_all([typed], type_) == data
