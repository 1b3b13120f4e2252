"""Hostile streams and mutations through everything that is fuzzed, without a fuzzer."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest
from fuzz.bounds import CPU_S, MEMORY_BYTES, bounded
from fuzz.hostile import GROWING, TINY
from fuzz.seeds import mutations, streams
from fuzz.targets import LIMITS, MESSAGES, TARGETS

from imageserver import gob
from imageserver.errors import GobDecodeError, InvalidImage
from imageserver.gob import schema
from imageserver.images.admission import measure
from imageserver.images.canonical import make_image_file
from imageserver.model.image_messages import AddImageRequest, AddScannedImageRequest
from imageserver.model.object_messages import GetObjectsRequest

BASE_BYTES = 1 << 17
TYPED, UNTYPED = 48, 84
"""Bytes of memory for each byte that arrived: ``docs/gob.md``, "Limits"."""


def admit(data: bytes) -> None:
    """Take an image in, but for its objects."""
    request = gob.decode(data, AddScannedImageRequest, LIMITS).value
    if request.image is not None:
        make_image_file(measure(request.image))


RECEIVERS: dict[str, tuple[Callable[[bytes], object], int]] = {
    "untyped": (lambda data: gob.decode(data, None, LIMITS), UNTYPED),
    "image": (lambda data: gob.decode(data, AddImageRequest, LIMITS), TYPED),
    "hashes": (lambda data: gob.decode(data, GetObjectsRequest, LIMITS), TYPED),
    "admission": (admit, TYPED),
}


def run(receive: Callable[[bytes], object], data: bytes) -> None:
    """Receive what may be an error."""
    try:
        receive(data)
    except (GobDecodeError, InvalidImage):
        pass


def peak_bytes(receive: Callable[[bytes], object], data: bytes) -> int:
    """The memory that receiving takes, beyond the data."""
    tracemalloc.start()
    try:
        run(receive, data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_streams(name) -> None:
    """Nothing comes of any stream that a target does not expect."""
    target = TARGETS[name]
    for stream in streams():
        for data in target.inputs(stream):
            target.run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name) -> None:
    """Nothing comes of damaged streams either."""
    target = TARGETS[name]
    for data in mutations(target, seed=1, count=1_500):
        target.run(data)


@pytest.mark.parametrize(
    ("taken_bytes", "taken_s", "passes"),
    [
        (MEMORY_BYTES + 6, CPU_S, True),
        (MEMORY_BYTES + 7, 0, False),
        (0, CPU_S * 2, False),
    ],
)
def test_bounds(taken_bytes, taken_s, passes) -> None:
    """An input that takes too much is a finding."""
    peaks, times, inputs = iter([50, 50 + taken_bytes]), iter([0, taken_s]), []
    run = bounded(inputs.append, lambda: next(peaks), lambda: next(times))
    if passes:
        run(b"abc")
    else:
        with pytest.raises(AssertionError):
            run(b"abc")
    assert inputs == [b"abc"]


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_memory_of_small_streams(receiver) -> None:
    """A small stream takes little memory, whatever it announces."""
    receive, factor = RECEIVERS[receiver]
    samples = [*TINY.values(), *mutations(TARGETS["untyped"], seed=2, count=100)]
    for data in samples:
        assert peak_bytes(receive, data) < BASE_BYTES + factor * len(data)


@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("name", GROWING)
def test_memory_grows_with_input(name, receiver) -> None:
    """Memory is bounded by the bytes that arrived."""
    receive, factor = RECEIVERS[receiver]
    data = GROWING[name](1 << 15)
    assert peak_bytes(receive, data) < BASE_BYTES + factor * len(data)


def cpu_seconds(receive: Callable[[bytes], object], data: bytes) -> float:
    """The time that receiving takes at best."""
    found = []
    for _ in range(2):
        before = time.process_time()
        run(receive, data)
        found.append(time.process_time() - before)
    return min(found)


@pytest.mark.parametrize("name", GROWING)
def test_time_grows_with_input(name) -> None:
    """Four times the input takes about four times as long, not the square of it."""
    small, large = GROWING[name](1 << 14), GROWING[name](1 << 16)
    for receive, _ in RECEIVERS.values():
        once = max(cpu_seconds(receive, small), 0.002)
        assert cpu_seconds(receive, large) < 10 * once


def contained(type_: gob.Type) -> list[gob.Type]:
    """A type and the types inside of it, but for interfaces."""
    if isinstance(type_, schema.Struct):
        fields = gob.struct_info(type_.cls).fields
        return [type_, *[inner for f in fields for inner in contained(f.type)]]
    inner = [
        getattr(type_, name)
        for name in ("element", "key", "value", "target")
        if hasattr(type_, name) and not isinstance(type_, schema.Scanned)
    ]
    return [type_, *[found for each in inner for found in contained(each)]]


def test_keys_of_maps() -> None:
    """No request that the server decodes has a map with numbers as keys.

    Keys that all collide make a dict quadratic. Whoever sends text or bytes cannot know
    which do, since each process hashes them in another way; numbers hash to themselves.
    """
    requests = [cls for cls in MESSAGES if cls.__name__.endswith("Request")]
    requests.remove(AddImageRequest)  # what clients send; the server scans it
    assert AddScannedImageRequest in requests
    maps = [
        found
        for cls in requests
        for found in contained(gob.Struct(cls))
        if isinstance(found, schema.Map)
    ]
    assert maps
    assert {type(found.key) for found in maps} <= {schema.String, schema.ByteString}
