"""The codec on a large image and on small messages, beside Go's own encoding/gob.

What is decoded are the bytes that Go sends for the image.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from golang.gobpeer import GobPeer
from golang.toolchain import build

from bench.big_image import OBJECTS, make_hashes, make_request
from bench.measure import Row, measure, report
from imageserver import gob
from imageserver.daemon import keep_pauses_short
from imageserver.images.admission import dismiss
from imageserver.images.admission import measure as measure_image
from imageserver.images.canonical import make_image_file
from imageserver.model.image_messages import (
    AddImageRequest,
    AddScannedImageRequest,
    CheckImageRequest,
)
from imageserver.model.object_messages import GetObjectsRequest

T = TypeVar("T")

_LIMITS = gob.Limits(message_bytes=512 << 20)
_CACHE = Path("build/bench").resolve()
_RUNS = 5
_PAUSE_RUNS = 3
_SMALL_RUNS = 20_000
_TICK_S = 0.001


def _messages(path: str) -> list[bytes]:
    """The messages of a stream, the last one first."""
    data, position, messages = Path(path).read_bytes(), 0, []
    while position < len(data):
        message, position = gob.next_message(data, position, _LIMITS)
        messages.append(message)
    return messages[::-1]


def _receive(path: str, type_: type[T]) -> T:
    """The value of a stream, of which messages come one by one, as from the network."""
    messages, decoder = _messages(path), gob.Decoder(_LIMITS)
    while True:
        value = decoder.feed(messages.pop(), type_)
        if value is not gob.MORE:
            received: T = value
            return received


def decode_image(path: str) -> None:
    """Decode the request of AddImage into objects, as a client does."""
    _receive(path, AddImageRequest)


def encode_image(path: str) -> float:
    """Encode the image; seconds, without the decoding before."""
    request = _receive(path, AddImageRequest)
    return _least_seconds(lambda: gob.Encoder().encode(request))


def summarize_image(path: str) -> None:
    """What the server does with the request: scan, check the tree, measure."""
    measure_image(_receive(path, AddScannedImageRequest).image)


def pause_others(path: str) -> tuple[float, float]:
    """The longest times that another thread waits while an image is taken in."""
    keep_pauses_short()
    messages = _messages(path)
    decoder = gob.Decoder(_LIMITS)
    gaps: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(_TICK_S)
            now = time.perf_counter()
            gaps.append(now - last - _TICK_S)
            last = now

    ticking = threading.Thread(target=tick)
    ticking.start()
    time.sleep(20 * _TICK_S)
    while messages:
        request = decoder.feed(messages.pop(), AddScannedImageRequest)
    admitted = measure_image(request.image)
    make_image_file(admitted)
    dismiss(request.image)
    stop.set()
    ticking.join()
    return sorted(gaps)[-1], sorted(gaps)[-2]


def decode_small(path: str) -> None:
    """Decode a request with one name, as each call does it."""
    data = Path(path).read_bytes()
    definition, position = gob.next_message(data, 0, _LIMITS)
    value, _ = gob.next_message(data, position, _LIMITS)
    for _ in range(_SMALL_RUNS):
        decoder = gob.Decoder()
        decoder.feed(definition, CheckImageRequest)
        decoder.feed(value, CheckImageRequest)


def decode_hashes(path: str) -> None:
    """Decode a list of hashes."""
    gob.decode(Path(path).read_bytes(), GetObjectsRequest, _LIMITS)


def encode_hashes(_: str) -> float:
    """Encode it."""
    request = GetObjectsRequest(False, make_hashes())
    return _least_seconds(lambda: gob.Encoder().encode(request))


def _least_seconds(function: Callable[[], object]) -> float:
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def _time_go(peer: GobPeer, value: object, runs: int) -> tuple[float, float, bytes]:
    """What Go takes to decode and encode a value, and the stream that it decoded."""
    name = type(value).__name__
    _, _, stream = peer.time(name, 1, gob.Encoder().encode(value))
    decoding, encoding, _ = peer.time(name, runs, stream)
    return decoding, encoding, stream


def _rows(peer: GobPeer, directory: Path) -> Iterator[Row]:
    image, small, hashes = (
        str(directory / name) for name in ("image", "small", "hashes")
    )
    go_decoding, go_encoding, stream = _time_go(peer, make_request(), _RUNS)
    Path(image).write_bytes(stream)
    beside = "Go {:.3f} s: {:.1f} times"
    memory = measure(summarize_image, image, runs=1)
    done = measure(summarize_image, image)
    yield Row(
        f"image of {len(stream) / 1e6:.1f} MB: verified summary",
        f"{done.wall_s:.3f} s, CPU {done.cpu_s:.3f} s",
        "Go's decoding, 150 MB",
        memory.peak_bytes,
        beside.format(go_decoding, done.wall_s / go_decoding),
    )
    pauses = [measure(pause_others, image, runs=1).result for _ in range(_PAUSE_RUNS)]
    longest, second = min(pauses)  # other processes only make them longer
    yield Row(
        "  longest pause of others while it is taken in",
        f"{longest * 1e3:.1f} ms",
        "5 ms",
        note=f"then {second * 1e3:.1f} ms",
    )
    done = measure(decode_image, image)
    note = beside.format(go_decoding, done.wall_s / go_decoding)
    yield Row("  decoded", f"{done.wall_s:.3f} s", "", done.peak_bytes, note)
    done = measure(encode_image, image, runs=1)
    note = beside.format(go_encoding, done.result / go_encoding)
    yield Row("  encoded", f"{done.result:.3f} s", "3 times Go", 0, note)

    request = CheckImageRequest("base/2026-01-01:00:00:00")
    decoding, _, stream = _time_go(peer, request, 1000)
    Path(small).write_bytes(stream)
    done = measure(decode_small, small)
    each_us = done.wall_s / _SMALL_RUNS * 1e6
    note = f"Go {decoding * 1e6:.1f} us"
    yield Row("small request decoded", f"{each_us:.1f} us", "20 us", 0, note)

    decoding, encoding, stream = _time_go(
        peer, GetObjectsRequest(False, make_hashes()), _RUNS
    )
    Path(hashes).write_bytes(stream)
    done = measure(decode_hashes, hashes)
    note = beside.format(decoding, done.wall_s / decoding)
    what = f"{OBJECTS:,} hashes decoded"
    yield Row(what, f"{done.wall_s:.3f} s", "0.12 s", done.peak_bytes, note)
    done = measure(encode_hashes, "", runs=1)
    note = beside.format(encoding, done.result / encoding)
    yield Row("  encoded", f"{done.result:.3f} s", "", 0, note)


def main() -> None:
    """Measure everything."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    peer = GobPeer(build(_CACHE, "gobpeer"))
    try:
        with tempfile.TemporaryDirectory() as directory:
            report("gob", _rows(peer, Path(directory)))
    finally:
        peer.close()


if __name__ == "__main__":
    main()
