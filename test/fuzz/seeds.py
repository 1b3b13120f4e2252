"""Where fuzzing starts: recorded streams, hostile ones, and mutations of both."""

from __future__ import annotations

import random
from collections.abc import Iterator

import recorded
from fuzz.hostile import GROWING, TINY
from fuzz.targets import Target

SMALL_BYTES = 200
LINES = (
    b"CONNECT /_goSRPC_/ HTTP/1.0\n\n",
    b"CONNECT /_go_TLS_SRPC_/?doNotUseMethodPowers=true HTTP/1.0\r\n\r\n",
    b"CONNECT /_SRPC_/TLS/JSON?a=%20;b HTTP/1.1\r\nHost: a\r\n\r\nrest",
    b"GET /_goSRPC_/listMethods HTTP/1.1\n\n",
    b"ImageServer.CheckImage\n",
    b"\nObjectServer.AddObjects\r\n",
    b"\xff.\xfe.\n",
    b"HTTP/1.0 200 Connected to Go SRPC\n\n",
    b"A" * 600,
    b'{"ImageName":"\\ud83d\\ude00\\udc80","x":[null,true,-1.5e3]} ',
    b'{"ExpiresAt":"2030-01-02T03:04:05.5+00:00"}',
    b'{"Hashes":["' + b"0a" * 64 + b'"]}',
    b'{"InodeTable":{"1":{"Mode":1,"Size":3,"Hash":null},"2":{"Symlink":"a"}}}',
    b"{[" * 100,
    b'{"' + b"\\\\" * 99 + b'":',
)


def streams() -> list[bytes]:
    """All streams: what was recorded, what is hostile, and lines and texts."""
    vectors = [
        bytes.fromhex(vector["hex"])
        for name in ("gob-primitives", "gob-composites", "gob-messages")
        for vector in recorded.load(name)
    ]
    texts = [
        text.encode()
        for vector in recorded.load("gob-messages")
        for text in vector["json"] or ()
        if text is not None
    ]
    files = sorted((recorded.DIRECTORY / "image").glob("*.bin"))
    hostile = [*TINY.values(), *(make(SMALL_BYTES) for make in GROWING.values())]
    return [*vectors, *texts, *(file.read_bytes() for file in files), *hostile, *LINES]


def mutations(target: Target, seed: int, count: int) -> Iterator[bytes]:
    """Inputs made from any of the streams, always the same ones for a seed."""
    numbers = random.Random(seed)
    sources = [stream for stream in streams() if len(stream) < 20_000]
    for _ in range(count):
        data = bytearray(numbers.choice(target.inputs(numbers.choice(sources))))
        for _ in range(numbers.randint(1, 4)):
            start = numbers.randrange(len(data) + 1)
            end = start + numbers.choice((0, 1, 1, 1, 2, 9))
            other = numbers.choice(sources)
            piece = other[(cut := numbers.randrange(len(other))) : cut + 12]
            few = numbers.randbytes(numbers.choice((0, 1, 1, 2)))
            data[start:end] = numbers.choice((few, few, few, b"\0", b"\xf8", piece))
        yield bytes(data)
