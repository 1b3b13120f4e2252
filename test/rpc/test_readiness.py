"""Calls while images are being loaded."""

from __future__ import annotations

from typing import Any, cast

from srpc.peers import GatedWorker
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from imageserver.errors import PeerClosed
from imageserver.images.loading import Loading, Progress
from imageserver.model.image_messages import (
    CheckDirectoryRequest,
    CheckImageRequest,
    FindLatestImageRequest,
)
from imageserver.rpc.readiness import NEEDING_ALL, Readiness
from imageserver.srpc.methods import Method
from imageserver.testing import POWERFUL


class FakeLoading:
    """Images that were not read yet."""

    def __init__(self) -> None:
        self.pending = {"dir/a": None, "dir/b": None}
        self.progress = Progress()
        self.loaded: list[str] = []

    def load(self, name: str) -> None:
        """Read one."""
        if name in self.pending:
            del self.pending[name]
            self.loaded.append(name)


class Waiting(SynchronousTestCase):
    """Methods that need one image, all, or none."""

    def setUp(self) -> None:
        """Two images are still to be read."""
        self.loading = FakeLoading()
        self.worker = GatedWorker()
        self.readiness = Readiness(cast(Loading, self.loading), cast(Any, self.worker))
        self.calls: list[Any] = []

    async def reply(self, caller: Any, request: Any) -> str:
        """Answer."""
        self.calls.append(request)
        return "answer"

    async def stream(self, call: Any) -> None:
        """Answer at length."""
        self.calls.append(call)

    def call(self, name: str, request: Any) -> Deferred[Any]:
        """Call a method."""
        plain = Method("ImageServer", name, request=type(request), reply=self.reply)
        (method,) = self.readiness.gate([plain])
        assert method.reply is not None
        return Deferred.fromCoroutine(cast(Any, method.reply(POWERFUL, request)))

    def follow(self) -> Deferred[Any]:
        """Call a method with a stream."""
        plain = Method("ImageServer", "GetImageUpdates", stream=self.stream)
        (method,) = self.readiness.gate([plain])
        assert method.stream is not None
        return Deferred.fromCoroutine(cast(Any, method.stream(cast(Any, "call"))))

    def test_one(self) -> None:
        """An image that somebody wants is read first, others are not waited for."""
        wanted = self.call("CheckImage", CheckImageRequest("dir/b"))
        self.assertNoResult(wanted)
        self.assertEqual(self.calls, [])
        self.worker.release()
        self.assertEqual(self.successResultOf(wanted), "answer")
        self.assertEqual(self.loading.loaded, ["dir/b"])

    def test_known(self) -> None:
        """An image that is known, or that there is not, keeps nobody waiting."""
        for request in (CheckImageRequest("dir/c"), CheckDirectoryRequest("dir")):
            self.successResultOf(self.call("CheckImage", request))
        self.assertEqual(self.worker.runs, 0)

    def test_all(self) -> None:
        """What takes all images waits for all of them."""
        waiting = [self.call("FindLatestImage", FindLatestImageRequest())]
        waiting.append(self.follow())
        for deferred in waiting:
            self.assertNoResult(deferred)
        self.loading.progress.finished = True
        self.readiness.complete()
        for deferred in waiting:
            self.successResultOf(deferred)
        self.successResultOf(self.follow())
        self.assertEqual(len(self.calls), 3)

    def test_stop(self) -> None:
        """A server that stops keeps nobody waiting."""
        waiting = self.follow()
        self.readiness.stop()
        self.failureResultOf(waiting, PeerClosed)
        self.failureResultOf(self.follow(), PeerClosed)
        self.assertEqual(self.calls, [])

    def test_names(self) -> None:
        """Names of methods are those of methods."""
        self.assertTrue(all(name.startswith("ImageServer.") for name in NEEDING_ALL))
