"""Pages, asked for in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from web.serving import Server, make_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Pages over empty stores."""
    server = make_server(tmp_path)
    yield server
    server.index.close()
