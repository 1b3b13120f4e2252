"""Requests, responses and stream values of the ObjectServer service.

``docs/protocol.md``, "Methods", says what they mean. Field names on the wire are the
contract with existing clients.
"""

from __future__ import annotations

from imageserver import gob
from imageserver.gob import BOOL, INT, STRING, UINT
from imageserver.model.hash import HASH


@gob.struct("AddObjectRequest")
class AddObjectRequest:
    """``length`` raw bytes follow; length 0 ends the stream."""

    length: int = gob.field("Length", UINT)
    expected_hash: bytes | None = gob.field("ExpectedHash", gob.Pointer(HASH))


@gob.struct("AddObjectResponse")
class AddObjectResponse:
    """What became of one object."""

    error: str = gob.field("ErrorString", STRING)
    hash_: bytes = gob.field("Hash", HASH)
    added: bool = gob.field("Added", BOOL)


@gob.struct("CheckObjectsRequest")
class CheckObjectsRequest:
    """Which of these objects are there?"""

    hashes: tuple[bytes, ...] = gob.field("Hashes", gob.Slice(HASH))


@gob.struct("CheckObjectsResponse")
class CheckObjectsResponse:
    """Their sizes; 0: not there."""

    object_sizes: tuple[int, ...] = gob.field("ObjectSizes", gob.Slice(UINT))


@gob.struct("GetObjectsRequest")
class GetObjectsRequest:
    """Send these objects."""

    exclusive: bool = gob.field("Exclusive", BOOL)
    hashes: tuple[bytes, ...] = gob.field("Hashes", gob.Slice(HASH))


@gob.struct("GetObjectsResponse")
class GetObjectsResponse:
    """The content follows, unless there is an error."""

    error: str = gob.field("ResponseString", STRING)
    object_sizes: tuple[int, ...] = gob.field("ObjectSizes", gob.Slice(UINT))


@gob.struct("ImportObjectsRequest")
class ImportObjectsRequest:
    """Fetch objects from a web server."""

    base_remote_url: str = gob.field("BaseRemoteUrl", STRING)
    hashes: tuple[bytes, ...] = gob.field("Hashes", gob.Slice(HASH))
    object_sizes: tuple[int, ...] = gob.field("ObjectSizes", gob.Slice(UINT))


@gob.struct("ImportObjectsResponse")
class ImportObjectsResponse:
    """What was fetched."""

    bytes_added: int = gob.field("BytesAdded", UINT)
    error: str = gob.field("Error", STRING)
    failed_index: int = gob.field("FailedIndex", UINT)
    objects_added: int = gob.field("ObjectsAdded", UINT)


@gob.struct("TestBandwidthRequest")
class TestBandwidthRequest:
    """Send or receive chunks for a time in nanoseconds."""

    duration_ns: int = gob.field("Duration", INT)
    chunk_size: int = gob.field("ChunkSize", UINT)
    send_to_server: bool = gob.field("SendToServer", BOOL)


@gob.struct("TestBandwidthResponse")
class TestBandwidthResponse:
    """How long it took the server, in nanoseconds."""

    server_duration_ns: int = gob.field("ServerDuration", INT)
