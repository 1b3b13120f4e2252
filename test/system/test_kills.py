"""The daemon is killed at random moments, under load."""

from __future__ import annotations

import pytest
from kills import Kills
from processes import Daemon

pytestmark = pytest.mark.system


@pytest.mark.timeout(300)
def test_kills(stopped_daemon: Daemon) -> None:
    """Nothing that was acknowledged is missing, and no file is damaged."""
    kills = Kills(stopped_daemon, seed=1)
    kills.run(6)
    assert kills.promises.images
