"""Addresses of pages about images."""

from __future__ import annotations

import pytest

from imageserver import gob
from imageserver.errors import ConfigError
from imageserver.gob import Time
from imageserver.images.canonical import (
    VALUE_END,
    read_bare,
    response_end,
    response_head,
)
from imageserver.images.information import InformationTemplate
from imageserver.model.image import Image
from imageserver.model.image_messages import GetImageResponse
from imageserver.testing import POWERFUL, make_image

IMAGE = Image(
    build_branch="main",
    build_commit_id="0a1b",
    created_on=Time(1_700_000_000),
    tags={"os": "linux"},
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ""),
        ("http://db/{{.Name}}?c={{.BuildCommitId}}", "http://db/dir/x?c=0a1b"),
        ("http://db/{{- .Name -}}", "http://db/dir/x"),
        ("http://db/{{ Name | urlencode }}", "http://db/dir/x"),
        ("{{ Name | replace('/', '%2F') }}", "dir%2Fx"),
        ("{% if Tags.os == 'linux' %}{{ BuildBranch }}{% endif %}", "main"),
        ("{{ CreatedBy }}", ""),
    ],
)
def test_address(text: str, address: str) -> None:
    """The template has the fields of the image under their names, and its name."""
    assert InformationTemplate(text).render("dir/x", IMAGE) == address


@pytest.mark.parametrize(
    "text",
    [
        "{{ Nonsense }}",
        "{{ Name.__class__.__mro__ }}",
        "{{ Name / 2 }}",
        "{{ Tags.none.more }}",
    ],
)
def test_nonsense(text: str) -> None:
    """What cannot be made gives no address, and keeps nobody from the image."""
    assert InformationTemplate(text).render("dir/x", IMAGE) == ""


def test_long_address() -> None:
    """An address has an end."""
    assert len(InformationTemplate("{{ Name * 9999 }}").render("x", IMAGE)) == 4_096


@pytest.mark.parametrize("text", ["{{ Name", "{% if %}", "{{ .Name | printf }}"])
def test_malformed(text: str) -> None:
    """A template that is none does not let the server start."""
    with pytest.raises(ConfigError, match="malformed -informationDatabaseTemplate"):
        InformationTemplate(text)


def test_response(owned) -> None:
    """The address stands behind the image in the response."""
    owned.add("dir/y", make_image({}, build_branch="main"), POWERFUL)
    record = owned.index.image("dir/y")
    data = (owned.root / "dir/y").read_bytes()[record.value_offset :]
    value = data[: record.file_system_offset]
    image = read_bare(value)
    assert (image.build_branch, image.file_system) == ("main", None)
    end = response_end("http://db/ä")
    whole = response_head(len(value + VALUE_END), end) + value + VALUE_END + end
    response = gob.decode(whole, GetImageResponse).value
    assert response == GetImageResponse(image, "http://db/ä")
