"""Values that are kept as their bytes."""

from __future__ import annotations

import attrs

from imageserver.gob.wiretypes import FIRST_DEFINABLE_ID, WireTypes


@attrs.frozen(eq=False)
class RawValue:
    """A value as it was received, without the definitions that may have cut it.

    Attributes:
        data: the value's bytes.
        type_id: the id of its type in ``types``.
        types: the types of the stream that it came from.
    """

    data: bytes
    type_id: int
    types: WireTypes


def same_type(
    left: WireTypes,
    left_id: int,
    right: WireTypes,
    right_id: int,
    open_: set[int] | None = None,
) -> bool:
    """Whether values of a type of one stream can stand in another as they are.

    That is so if both types have the same structure *and* everything inside them
    the same ids, since interface values name ids.
    """
    if left_id != right_id:
        return False
    open_ = set() if open_ is None else open_
    if left_id < FIRST_DEFINABLE_ID or left_id in open_:
        return True
    open_.add(left_id)
    definition = left[left_id]
    if definition != right[right_id]:
        return False
    return all(
        same_type(left, id_, right, id_, open_) for id_ in definition.inner_ids()
    )
