"""Changes are told in order, from the picture on that goes with them."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from imageserver.images.changes import Change, Changes, Operation


def added(name: str) -> Change:
    """An image was added."""
    return Change(Operation.ADD_IMAGE, name)


def test_order_and_leaving() -> None:
    """Listeners hear what succeeds, in order, until they leave."""
    changes, first, second = Changes(), [], []
    changes.listen(first.append, lambda: None)
    with changes.announced(added("a")):
        assert first == []
    changes.listen(second.append, lambda: None)
    with pytest.raises(KeyError), changes.announced(added("b")):
        raise KeyError
    changes.leave(first.append)
    with changes.announced(added("c")):
        pass
    assert (first, second) == ([added("a")], [added("c")])


def test_leaving_for_good() -> None:
    """Who has left hears nothing; leaving twice does no harm."""
    changes, heard = Changes(), []
    listener = heard.append
    changes.listen(listener, lambda: None)
    changes.leave(listener)
    changes.leave(listener)
    with changes.announced(added("a")):
        pass
    assert heard == []


def test_picture_and_changes_go_together() -> None:
    """Whenever one begins to listen, picture and changes make the whole, once."""
    queue: deque = deque()
    changes = Changes(lambda function, *arguments: queue.append((function, arguments)))
    there: list[str] = []
    pictures, heard = [], [[] for _ in range(50)]

    def write() -> None:
        for number in range(500):
            with changes.announced(added(str(number))):
                there.append(str(number))

    writer = threading.Thread(target=write)
    writer.start()
    for listening in heard:
        pictures.append(
            changes.listen(lambda c, h=listening: h.append(c.name), there.copy)
        )
    writer.join()
    for function, arguments in queue:
        function(*arguments)
    for picture, listening in zip(pictures, heard, strict=True):
        assert picture + listening == [str(number) for number in range(500)]
