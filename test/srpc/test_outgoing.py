"""What waits to be handed to the transport."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from imageserver.srpc.outgoing import PIECE_BYTES, Outgoing

sizes = st.sampled_from([0, 1, 1000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])


@settings(deadline=None)
@given(st.lists(sizes, max_size=5))
def test_pieces(chunks: list[int]):
    """Pieces hold the bytes in order, all but the last one of full size."""
    outgoing = Outgoing()
    for number, size in enumerate(chunks):
        outgoing.append(bytes([number]) * size)
    assert len(outgoing) == sum(chunks)
    pieces = []
    while outgoing:
        pieces.append(outgoing.take_piece())
    assert b"".join(pieces) == b"".join(bytes([n]) * s for n, s in enumerate(chunks))
    assert all(len(piece) == PIECE_BYTES for piece in pieces[:-1])
    assert len(outgoing) == 0


def test_clear():
    """Nothing is left."""
    outgoing = Outgoing()
    outgoing.append(b"x")
    outgoing.clear()
    assert not outgoing
    assert outgoing.take_piece() == b""
