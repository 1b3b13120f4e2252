"""Manual pages of the daemon and what belongs to it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from imageserver.manual import PAGES, Page, show, write_all


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page: Page, tmp_path: Path) -> None:
    """All flags are on the page, and what reads such pages has no complaint."""
    write_all(tmp_path)
    path = tmp_path / f"man{page.section}" / f"{page.name}.{page.section}"
    text = path.read_text()
    assert text == show(page)
    for flag in page.flags.flags:
        assert f".BI \\-{flag.name} " in text
    if shutil.which("groff") is None:
        pytest.skip("there is no groff on this machine")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-Tutf8", path], check=True, capture_output=True
    )
    assert done.stderr == b""
