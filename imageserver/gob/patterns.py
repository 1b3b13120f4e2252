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
    first_group: int = 1,
) -> bytes:
    """Fields of a struct, each of which may be left out.

    Each value is a group.

    Args:
        positions: which fields they are in the definition; ascending.
        values: the patterns of their values, without groups.
        after: the position of the last field in front of them.
        first_group: how many groups are in front of the pattern, and one more.
    """
    pattern = b""
    for index, (position, value) in enumerate(zip(positions, values, strict=True)):
        delta = b"\\x%02x" % (position - after)
        for group, earlier in enumerate(positions[:index], first_group):
            delta = b"(?(%d)\\x%02x|%s)" % (group, position - earlier, delta)
        pattern += b"(?:%s(%s))?" % (delta, value)
    return pattern


def read_number(encoded: bytes) -> int:
    """An unsigned number that matched."""
    return int.from_bytes(encoded[1:]) if len(encoded) > 1 else encoded[0]
