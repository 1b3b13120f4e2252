"""What people are told to do about errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from imageserver.errors import (
    CallError,
    CertificateError,
    ConnectionFailed,
    ImageServerError,
    MethodDenied,
    PeerClosed,
)
from imageserver.tool.advice import advise, advise_name
from imageserver.tool.authority import Authority, Validity
from imageserver.tool.pair_files import write_pair
from imageserver.tool.session import DiallingFailed
from imageserver.tool.suggestion import suggest
from imageserver.tool.typed_image import NoSuchImage


def caused(error: Exception, cause: Exception) -> Exception:
    """An error with a cause."""
    error.__cause__ = cause
    return error


REFUSED = ConnectionFailed("host:1: connection refused")
EXPIRED = CertificateError("certificate expired at 2026")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DiallingFailed("Error dialing: x: missing certificate"), "put NAME.cert"),
        (caused(DiallingFailed("Error dialing: x: refused"), REFUSED), "running?"),
        (caused(DiallingFailed(str(EXPIRED)), EXPIRED), "get a new one"),
        (PeerClosed("closed"), "perhaps it refuses the certificate"),
        (
            CallError("cannot make changes, go to master: other:6971"),
            "-imageServerHostname other",
        ),
        (
            MethodDenied("denied", "ImageServer.AddImage"),
            "without a certificate nobody may call ImageServer.AddImage",
        ),
        (DiallingFailed("x: certificate verify failed"), "of no CA in the file"),
        (CallError("no access to image"), "the owner group of its directory"),
        (ImageServerError("something else"), ""),
    ],
)
def test_advice(error: Exception, words: str, tmp_path: Path) -> None:
    """Each error that people meet often has advice; others have none."""
    advice = advise(error, tmp_path)
    assert words in advice
    assert bool(words) == bool(advice)


def test_denied(tmp_path: Path) -> None:
    """It is told which method, for which user, and what the certificate permits."""
    authority = Authority.create("CA", Validity.of_days(1))
    pair = authority.issue(
        "alice", Validity.of_days(1), methods=("ImageServer.ListImages",)
    )
    write_pair(pair, tmp_path / "a.cert", tmp_path / "a.key")
    error = MethodDenied("access to method denied", "ImageServer.DeleteImage")
    assert advise(error, tmp_path) == (
        "alice may not call ImageServer.DeleteImage: the certificate permits"
        " ImageServer.ListImages; whoever has the CA can issue another one"
    )


class FakeSession:
    """Has images, or is not to be reached."""

    def __init__(self, *names: str, error: Exception | None = None) -> None:
        self._names = list(names)
        self._error = error

    async def images(self) -> Any:
        """See ``Session``."""
        if self._error is not None:
            raise self._error
        return self

    async def list_images(self) -> list[str]:
        """See ``ImageServerClient``."""
        return self._names


def ask(error: Exception, session: FakeSession) -> str:
    """The advice about a name."""
    results: list[str] = []
    Deferred.fromCoroutine(advise_name(error, session)).addCallback(results.append)
    return results[0]


def test_mistyped_images() -> None:
    """Names like the one that is missing are told, also behind another error."""
    session = FakeSession("base/2026-01-01", "base/2026-02-01", "web/7")
    missing = NoSuchImage("base/2026-01-10")
    words = "did you mean base/2026-01-01 or base/2026-02-01?"
    assert ask(missing, session) == words
    assert ask(caused(ImageServerError("left"), missing), session) == words
    assert ask(NoSuchImage("nothing"), session) == ""
    assert ask(ImageServerError("x"), session) == ""
    assert ask(missing, FakeSession(error=REFUSED)) == ""


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("delte", " (did you mean delete?)"),
        ("show-fil", " (did you mean show-filter or show?)"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_suggestions(word: str, hint: str) -> None:
    """Names that are alike, or begin alike, are suggested."""
    assert suggest(word, ["delete", "show-filter", "show", "list"]) == hint
