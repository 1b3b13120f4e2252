"""The recordings are read completely."""

from __future__ import annotations

import pytest
import recorded
from transcripts.conversation import ACCEPTED, RECORDINGS

ENTRIES = {entry["name"]: entry for entry in recorded.load("transcripts-gob")}


def test_names() -> None:
    """There are as many recordings as the file has entries."""
    assert RECORDINGS.keys() == ENTRIES.keys()
    assert len(ENTRIES) == 38


@pytest.mark.parametrize("name", ENTRIES)
def test_nothing_is_left_out(name: str) -> None:
    """The calls of a recording, put together, are its bytes in both directions."""
    streams = {"client": b"", "server": b""}
    for event in ENTRIES[name]["connections"][0]["events"]:
        streams[event["from"]] += bytes.fromhex(event.get("hex", ""))
    recording = RECORDINGS[name]
    said = [recording.head, *(call.line + call.sent for call in recording.calls)]
    assert b"".join(said) == streams["client"]
    answers = [
        f"{call.acceptance}\n".encode() + call.received for call in recording.calls
    ]
    assert ACCEPTED + b"".join(answers) == streams["server"]


@pytest.mark.parametrize("name", ENTRIES)
def test_calls_and_shown_results(name: str) -> None:
    """A recording has at least one call, and errors are where its program saw them."""
    calls = RECORDINGS[name].calls
    assert calls
    refused = [call.acceptance or call.failure for call in calls]
    shown = [
        line for line in RECORDINGS[name].client_result if line.startswith("ERR: ")
    ]
    assert {f"ERR: {text}" for text in refused if text} <= set(shown)
