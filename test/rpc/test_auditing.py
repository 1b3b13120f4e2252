"""Which calls are written into the audit log."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from imageserver.audit import Entry
from imageserver.errors import AccessDenied
from imageserver.gob import Time
from imageserver.model.image_messages import (
    AddScannedImageRequest,
    ChangeImageExpirationRequest,
    ChangeImageExpirationResponse,
    ChangeOwnerRequest,
    CheckImageRequest,
    DeleteImageRequest,
    DeleteImageResponse,
    DeleteUnreferencedObjectsRequest,
)
from imageserver.rpc.auditing import SUBJECTS, audited
from imageserver.srpc.access import Caller, Identity
from imageserver.srpc.methods import Method
from imageserver.testing import InlineWorker

CALLER = Caller(Identity("alice"), True, "192.0.2.1:5")


class Auditing(SynchronousTestCase):
    """Methods that change something, and a log that may fail."""

    def setUp(self) -> None:
        """Nothing was written yet."""
        self.entries: list[Entry] = []
        self.answer: Any = DeleteImageResponse()
        self.failure: Exception | None = None

    def append(self, entry: Entry) -> None:
        """Write a line."""
        if self.failure is not None:
            raise self.failure
        self.entries.append(entry)

    async def reply(self, caller: Caller, request: Any) -> Any:
        """Do what is asked for."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def call(self, name: str, request: Any) -> Deferred[Any]:
        """Call a method."""
        plain = Method("ImageServer", name, request=type(request), reply=self.reply)
        (method,) = audited([plain], self, InlineWorker())
        assert method.reply is not None
        return Deferred.fromCoroutine(method.reply(CALLER, request))

    def subject(self, name: str, request: Any) -> str:
        """What is written of a request."""
        self.successResultOf(self.call(name, request))
        return self.entries[-1].subject

    def test_done(self) -> None:
        """What was done is written down, and answered."""
        done = self.call("DeleteImage", DeleteImageRequest("dir/x"))
        self.assertIs(self.successResultOf(done), self.answer)
        entry = ("alice", "192.0.2.1:5", "ImageServer.DeleteImage", "dir/x", "ok")
        self.assertEqual(self.entries, [Entry(*entry)])

    def test_refused(self) -> None:
        """So is what was refused, by an error or in the response."""
        self.answer = AccessDenied("no access to image")
        done = self.call("DeleteImage", DeleteImageRequest("dir/x"))
        self.failureResultOf(done, AccessDenied)
        self.answer = ChangeImageExpirationResponse("image not found")
        self.subject("ChangeImageExpiration", ChangeImageExpirationRequest())
        outcomes = [entry.outcome for entry in self.entries]
        self.assertEqual(outcomes, ["no access to image", "image not found"])

    def test_crash(self) -> None:
        """What goes wrong inside is written down, without the details."""
        self.answer = ZeroDivisionError("secret")
        done = self.call("DeleteImage", DeleteImageRequest("dir/x"))
        self.failureResultOf(done, ZeroDivisionError)
        self.assertEqual(self.entries[0].outcome, "internal error")

    def test_log_fails(self) -> None:
        """What was done is not denied because it could not be written down."""
        self.failure = OSError("full")
        done = self.call("DeleteImage", DeleteImageRequest("dir/x"))
        self.successResultOf(done)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_subjects(self) -> None:
        """A line says what was to be changed, and into what."""
        self.assertEqual(
            self.subject("AddImage", AddScannedImageRequest("dir/x")), "dir/x"
        )
        self.assertEqual(
            self.subject("ChownDirectory", ChangeOwnerRequest("dir", "")),
            "dir to nobody",
        )
        times = (Time(0), Time.ZERO, Time(1 << 60))
        found = [
            self.subject("ChangeImageExpiration", ChangeImageExpirationRequest(t, "x"))
            for t in times
        ]
        expected = ["x until 1970-01-01T00:00:00Z", "x for ever", "x until some time"]
        self.assertEqual(found, expected)
        self.assertEqual(
            self.subject(
                "DeleteUnreferencedObjects", DeleteUnreferencedObjectsRequest(5, 7)
            ),
            "5 % and 7 bytes",
        )
        long = self.subject("DeleteImage", DeleteImageRequest("x" * 100_000))
        self.assertEqual(len(long), 4_096)

    def test_others(self) -> None:
        """What changes nothing is not written down."""
        self.successResultOf(self.call("CheckImage", CheckImageRequest("x")))
        self.assertEqual(self.entries, [])
        self.assertNotIn("ImageServer.CheckImage", SUBJECTS)
