"""The API for programs that do not use Twisted: calls wait for their answers.

::

    with BlockingServer("imageserver.example") as server:
        for name in server.list_names():
            ...

Twisted's reactor runs in a thread of its own, one for all servers; calls may come from
any other thread. A program that runs the reactor itself uses
:class:`~imageserver.client.server.Server`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from queue import Queue
from typing import Any, Self, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from imageserver.client import operations
from imageserver.client.receiving import Progress
from imageserver.client.server import PORT, Access, Server
from imageserver.model.image import Image
from imageserver.trees.differences import Difference
from imageserver.trees.unpack import LeftOut

T = TypeVar("T")

_lock = threading.Lock()
_PIECES = 16


def _running_reactor() -> Any:
    """The reactor, in a thread of its own that ends with the process."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    running: Any = reactor
    with _lock:
        if not running.running:
            started = threading.Event()
            running.callWhenRunning(started.set)
            threading.Thread(
                target=running.run, args=(False,), name="reactor", daemon=True
            ).start()
            started.wait()
    return running


def _nobody_watches(objects: int, size: int) -> None:
    """Progress of which nobody wants to hear."""


class BlockingServer:
    """An imageserver; a context manager.

    All methods raise ``ConnectionFailed`` if the server is not to be reached,
    ``CallError`` if it refuses, and ``ProtocolError`` if the connection breaks.

    Attributes:
        server: the server, for coroutines that :meth:`run` runs.
        reactor: Twisted's.
    """

    def __init__(
        self, host: str = "localhost", port: int = PORT, access: Access | None = None
    ) -> None:
        """Talk to the server at ``host`` and ``port``; nothing is done yet."""
        self.reactor = _running_reactor()
        self.server = Server(self.reactor, host, port, access)

    def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine in the reactor's thread, and wait for it.

        Args:
            function: makes it.
            args: for ``function``.

        Raises:
            Exception: what the coroutine raised.
        """
        call: Any = blockingCallFromThread  # it loses types
        result: T = call(self.reactor, lambda: Deferred.fromCoroutine(function(*args)))
        return result

    def list_names(
        self,
        directory: str = "",
        tags: Mapping[str, Sequence[str]] | None = None,
        *,
        ignore_expiring: bool = False,
    ) -> list[str]:
        """See :func:`~imageserver.client.operations.list_names`."""

        async def work() -> list[str]:
            return await operations.list_names(
                self.server, directory, tags, ignore_expiring=ignore_expiring
            )

        return self.run(work)

    def fetch_image(self, name: str, timeout_s: float = 0.0) -> Image:
        """See :func:`~imageserver.client.operations.fetch_image`."""
        return self.run(operations.fetch_image, self.server, name, timeout_s)

    def add_image(
        self,
        name: str,
        source: str,
        image: Image | None = None,
        progress: Progress = _nobody_watches,
    ) -> None:
        """See :func:`~imageserver.client.operations.add_image`."""
        self.run(
            operations.add_image,
            self.server,
            self.reactor,
            name,
            source,
            image,
            progress,
        )

    def unpack_image(
        self, name: str, target: str, progress: Progress = _nobody_watches
    ) -> tuple[LeftOut, ...]:
        """See :func:`~imageserver.client.operations.unpack_image`."""
        return self.run(
            operations.unpack_image, self.server, self.reactor, name, target, progress
        )

    def compare_images(self, left: str, right: str) -> list[Difference]:
        """See :func:`~imageserver.client.operations.compare_images`."""
        return self.run(operations.compare_images, self.server, left, right)

    def delete_image(self, name: str) -> None:
        """Delete an image."""
        self.run(self.server.images.delete_image, name)

    def make_directory(self, name: str) -> None:
        """Make a directory."""
        self.run(self.server.images.make_directory, name)

    def add_contents(self, contents: Iterable[bytes]) -> list[bytes]:
        """See :func:`~imageserver.client.operations.add_contents`."""
        return self.run(
            operations.add_contents, self.server, self.reactor, list(contents)
        )

    def stream_object(self, hash_: bytes) -> Iterator[bytes]:
        """The content of an object, in pieces.

        Only at its end it is known whether it was right.

        Raises:
            CallError: the server lacks it.
            CorruptObject: what came was another one.
        """
        pieces: Queue[bytes | BaseException | None] = Queue(_PIECES)
        left = threading.Event()

        def put(_: bytes, data: bytes) -> None:
            if left.is_set():
                raise RuntimeError("nobody reads on")
            pieces.put(data)

        def fetch() -> None:
            try:
                self.run(operations.stream_objects, self.server, [hash_], put)
            except BaseException as error:
                pieces.put(error)
            else:
                pieces.put(None)

        thread = threading.Thread(target=fetch, name="stream", daemon=True)
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            left.set()
            while thread.is_alive():  # it may wait for room
                while not pieces.empty():
                    pieces.get_nowait()
                thread.join(0.01)

    def close(self) -> None:
        """End all connections."""
        blockingCallFromThread(self.reactor, self.server.close)

    def __enter__(self) -> Self:
        self.run(self.server.connect)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
