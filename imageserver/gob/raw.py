"""Values that are kept as their bytes."""

from __future__ import annotations

import attrs

from imageserver.gob.cursor import Cursor, Recording
from imageserver.gob.reader import Reader, Steps
from imageserver.gob.wiretypes import FIRST_DEFINABLE_ID, WireTypes


@attrs.frozen(eq=False)
class RawValue:
    """A value as it was received, without the definitions that may have cut it.

    Attributes:
        data: the value's bytes.
        type_id: the id of its type in ``types``.
        types: the types of the stream that it came from.
        content_ids: the ids in ``types`` of what interfaces in it hold.
    """

    data: bytes
    type_id: int
    types: WireTypes
    content_ids: frozenset[int] = frozenset()

    def fits(self, types: WireTypes, type_id: int) -> bool:
        """Whether the bytes mean the same in a stream with other types.

        That is so if both types have the same structure *and* everything inside them
        the same ids, since interface values name ids.

        Args:
            types: the types of that stream.
            type_id: the type that is due there.
        """
        if type_id != self.type_id:
            return False
        checked: set[int] = set()
        unchecked = [type_id, *self.content_ids]
        while unchecked:
            id_ = unchecked.pop()
            if id_ < FIRST_DEFINABLE_ID or id_ in checked:
                continue
            checked.add(id_)
            definition = types.get(id_)
            if definition is None or definition != self.types.get(id_):
                return False
            unchecked += definition.inner_ids()
        return True


def raw_reader(id_: int, passing: Reader, types: WireTypes) -> Reader:
    """Pass over a value with the reader for that, and keep its bytes."""

    def end(cursor: Cursor, recording: Recording) -> RawValue:
        cursor.leave_out(cursor.position)
        cursor.recording = None
        data = b"".join(recording.pieces)
        return RawValue(data, id_, types, frozenset(recording.type_ids))

    def read_raw(cursor: Cursor) -> RawValue:
        recording = cursor.recording = Recording(cursor.position)
        passing.read(cursor)
        return end(cursor, recording)

    def resume_raw(cursor: Cursor) -> Steps:
        recording = cursor.recording = Recording(cursor.position)
        yield from passing.read(cursor)
        return end(cursor, recording)

    if passing.resumable:
        return Reader(resume_raw, resumable=True)
    return Reader(read_raw)
