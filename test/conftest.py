"""What tests of several folders use."""

from __future__ import annotations

import pytest
from golang.gobpeer import GobPeer
from golang.toolchain import build


@pytest.fixture(scope="session")
def go_cache(request):
    """A folder for what Go compiles."""
    return request.config.cache.mkdir("go")


@pytest.fixture(scope="session")
def peer(go_cache):
    """A running Go program."""
    running = GobPeer(build(go_cache, "gobpeer"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def srpcpeer(go_cache):
    """The Go program that makes and answers calls."""
    return build(go_cache, "srpcpeer")
