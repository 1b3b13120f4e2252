"""Regular expressions for values in their shortest form, which all encoders write.

A reader that goes from field to field takes microseconds for each; a compiled
expression walks a whole struct in less than one. Whatever they do not match is for
the ordinary readers: it may be of another form, or an error.

The expressions are for bytes, and to be compiled with ``re.DOTALL``.
"""

from __future__ import annotations

from collections.abc import Sequence

_LONG_FORMS = [
    b"\\x%02x[\\x01-\\xff].{%d}" % (0x100 - size, size - 1) for size in range(2, 9)
]


def number(bits: int = 64, *, zero: bool = False) -> bytes:
    """An unsigned number of at most ``bits`` bits, or a signed one.

    Args:
        bits: a multiple of 8.
        zero: whether it may be zero; a field that is zero is left out.
    """
    short = b"[\\x00-\\x7f]" if zero else b"[\\x01-\\x7f]"
    forms = [short, b"\\xff[\\x80-\\xff]", *_LONG_FORMS[: bits // 8 - 1]]
    return b"(?:" + b"|".join(forms) + b")"


def fields(
    positions: Sequence[int],
    values: Sequence[bytes],
    *,
    after: int = -1,
) -> bytes:
    """Fields of a struct, each of which may be left out.

    Each value is a group; they must be the first ones of the whole expression.

    Args:
        positions: which fields they are in the definition; ascending.
        values: the patterns of their values, without groups.
        after: the position of the last field in front of them.
    """
    pattern = b""
    for index, (position, value) in enumerate(zip(positions, values, strict=True)):
        delta = b"\\x%02x" % (position - after)
        for group, earlier in enumerate(positions[:index], 1):
            delta = b"(?(%d)\\x%02x|%s)" % (group, position - earlier, delta)
        pattern += b"(?:%s(%s))?" % (delta, value)
    return pattern


def fields_up_to(values: Sequence[bytes], last: bytes, after: int = -1) -> bytes:
    """The first fields of a struct, the last of which is always there.

    There is an alternative for each choice of fields, which is much quicker to match
    than conditions. The value in front of the last one is a group in each: the last
    group that matched, empty if the field is left out.

    Args:
        values: the patterns of values that may be left out, without groups.
        last: the pattern of the last value, without groups.
        after: the position of the last field in front of them.
    """
    next_to_last = len(values) - 1
    alternatives = []
    for position in range(after + 1, len(values)):
        value = values[position]
        alternatives.append(
            b"\\x%02x" % (position - after)
            + (b"(%s)" % value if position == next_to_last else value)
            + fields_up_to(values, last, position)
        )
    end = b"\\x%02x" % (len(values) - after) + last
    alternatives.append(end if after == next_to_last else b"()" + end)
    return b"(?:" + b"|".join(alternatives) + b")"


def read_number(encoded: bytes) -> int:
    """An unsigned number that matched."""
    return int.from_bytes(encoded[1:]) if len(encoded) > 1 else encoded[0]
