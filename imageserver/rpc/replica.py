"""The methods of a server that follows a master: ``docs/protocol.md``, "Replicas".

What would change something here alone is refused; who wants it is told where to go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore

from imageserver.errors import PeerClosed, RequestError
from imageserver.images.admission import Admitted, dismiss
from imageserver.images.canonical import add_request, make_image_file
from imageserver.images.database import ImageDatabase
from imageserver.model.image_messages import (
    AddImageResponse,
    AddScannedImageRequest,
    ChangeImageExpirationResponse,
    GetImageArchiveResponse,
    GetImageRequest,
    GetReplicationMasterResponse,
    ImportTreeResponse,
    RestoreImageFromArchiveResponse,
)
from imageserver.model.object_messages import ImportObjectsResponse
from imageserver.replication.forward import Forwarder
from imageserver.replication.replicator import Replicator
from imageserver.rpc.image_changes import signed
from imageserver.srpc.access import Caller
from imageserver.srpc.call import Call
from imageserver.srpc.methods import Method, Reply, Stream
from imageserver.worker import Worker

_REFUSED = frozenset(
    f"ImageServer.{name}"
    for name in ("ChownDirectory", "DeleteDirectory", "DeleteImage", "MakeDirectory")
)
_REFUSED_IN_RESPONSE: dict[str, Callable[[str], object]] = {
    "ImageServer.ChangeImageExpiration": (ChangeImageExpirationResponse),
    "ImageServer.ImportTree": lambda text: ImportTreeResponse(error=text),
    "ObjectServer.ImportObjects": lambda text: ImportObjectsResponse(error=text),
}
_TOLD_THE_MASTER: dict[str, Callable[[str], object]] = {
    "ImageServer.GetImageArchive": (
        lambda master: GetImageArchiveResponse(replication_master=master)
    ),
    "ImageServer.GetReplicationMaster": (
        lambda master: GetReplicationMasterResponse(replication_master=master)
    ),
    "ImageServer.RestoreImageFromArchive": (
        lambda master: RestoreImageFromArchiveResponse(replication_master=master)
    ),
}
_ADDED_AT_ONCE = 2
_ON_DEMAND_S = 60.0
_NANOSECONDS = 1_000_000_000


class ReplicaMethods:
    """See the module."""

    def __init__(
        self,
        replicator: Replicator,
        forwarder: Forwarder,
        database: ImageDatabase,
        metadata: Worker,
        *,
        on_demand: bool,
    ) -> None:
        """Change methods.

        Args:
            replicator: follows the master.
            forwarder: passes on to it what is added.
            database: the images.
            metadata: does its work.
            on_demand: whether images are fetched when somebody asks for them.
        """
        self._replicator = replicator
        self._forwarder = forwarder
        self._database = database
        self._metadata = metadata
        self._on_demand = on_demand
        self._adding = DeferredSemaphore(_ADDED_AT_ONCE)

    def gate(self, methods: Iterable[Method]) -> Iterator[Method]:
        """The same methods, as a replica has them."""
        for method in methods:
            name, reply, stream = method.full_name, method.reply, method.stream
            if name == "ImageServer.AddImage":
                reply = self._add
            elif name == "ImageServer.AddImageTrusted":
                reply = self._add_trusted
            elif name in _TOLD_THE_MASTER:
                reply = self._answer(_TOLD_THE_MASTER[name], self._replicator.address)
            elif name in _REFUSED_IN_RESPONSE:
                reply = self._answer(_REFUSED_IN_RESPONSE[name], self._refusal)
            elif name in _REFUSED:
                reply = self._refuse
            elif name == "ImageServer.CheckImage" and reply is not None:
                reply = self._recognize(reply)
            elif name == "ImageServer.GetImage" and reply is not None:
                reply = self._fetch_first(reply) if self._on_demand else reply
            elif name.endswith("ImageUpdates") and stream is not None:
                stream = self._when_complete(stream)
            yield attrs.evolve(method, reply=reply, stream=stream)

    @property
    def _refusal(self) -> str:
        return (
            "cannot make changes while under replication control, go to master: "
            + self._replicator.address
        )

    def _answer(self, make: Callable[[str], object], text: str) -> Reply:
        async def answer(_caller: Caller, _request: Any) -> Any:
            return make(text)

        return answer

    async def _refuse(self, _caller: Caller, _request: Any) -> Any:
        raise RequestError(self._refusal)

    def _recognize(self, reply: Reply) -> Reply:
        async def look_and_reply(caller: Caller, request: Any) -> Any:
            self._replicator.recognition.look(request.image_name)
            return await reply(caller, request)

        return look_and_reply

    def _fetch_first(self, reply: Reply) -> Reply:
        async def fetch_and_reply(caller: Caller, request: GetImageRequest) -> Any:
            index, name = self._database.index, request.image_name
            if await self._metadata.run(index.image, name) is None:
                wanted_s = request.timeout_ns / _NANOSECONDS
                await self._replicator.bring_now(name, max(wanted_s, _ON_DEMAND_S))
            return await reply(caller, request)

        return fetch_and_reply

    def _when_complete(self, stream: Stream) -> Stream:
        async def wait_and_stream(call: Call) -> None:
            complete = Deferred.fromCoroutine(self._replicator.complete())
            departure = call.channel.departure()
            departure.addCallbacks(lambda _: complete.cancel(), lambda _: None)
            try:
                await complete
            except Exception as error:
                raise PeerClosed("the client has left, or the server stops") from error
            finally:
                departure.cancel()
            await stream(call)

        return wait_and_stream

    async def _add(
        self, caller: Caller, request: AddScannedImageRequest
    ) -> AddImageResponse:
        """Add an image, made by the caller, now."""
        request = signed(request, caller, self._database.now_ns())
        return await self._add_trusted(caller, request)

    async def _add_trusted(
        self, caller: Caller, request: AddScannedImageRequest
    ) -> AddImageResponse:
        """Add an image here once the master has it."""
        name, image = request.image_name, request.image
        held = ExitStack()
        admitting = self._database.admitted(name, image, caller)
        try:
            async with self._adding:
                admitted = await self._metadata.run(held.enter_context, admitting)
                if admitted is not None:
                    await self._add_at_both(name, admitted)
        finally:
            await self._metadata.run(held.close)
            await self._metadata.run(dismiss, image)
        return AddImageResponse()

    async def _add_at_both(self, name: str, admitted: Admitted) -> None:
        encode = self._encode
        pieces = await self._metadata.run(encode, name, admitted)
        with self._replicator.holding(name):
            await self._forwarder.add_image(pieces)
            add = self._database.store
            await self._metadata.run(add, name, admitted, revive=True)

    def _encode(self, name: str, admitted: Admitted) -> list[bytes | bytearray]:
        return add_request(name, make_image_file(admitted))
