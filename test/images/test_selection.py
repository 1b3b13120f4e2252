"""Images that are looked for."""

from __future__ import annotations

import pytest

from imageserver.errors import (
    RequestError,
)
from imageserver.gob import Time
from imageserver.model.image_messages import (
    FindLatestImageRequest,
    ListSelectedImagesRequest,
)
from imageserver.testing import POWERFUL, make_image

A, B = b"first object", b"second"
NOW_S = 1_700_000_000


@pytest.fixture
def stores(owned):
    """Stores that belong to somebody."""
    return owned


def fill(stores):
    """Some images in a directory, the older ones first."""
    for age, (name, attributes) in enumerate(
        [
            ("f/old", {"build_commit_id": "12ab", "tags": {"k": "v", "o": "1"}}),
            ("f/middle", {"build_branch": "main", "tags": {"k": "w"}}),
            ("f/expiring", {"expires_at": Time(NOW_S + 99), "tags": {"k": "v"}}),
            ("f/sub/new", {"build_branch": "main"}),
            ("foo", {}),
        ]
    ):
        image = make_image({}, created_on=Time(NOW_S + age), **attributes)
        stores.add(name, image, POWERFUL)
    stores.add("f/undated", make_image({}, created_on=Time()), POWERFUL)


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({}, "f/expiring"),
        ({"ignore_expiring_images": True}, "f/middle"),
        ({"build_commit_id": "12ab"}, "f/old"),
        ({"build_commit_id": "main"}, "f/middle"),
        ({"build_commit_id": "12"}, ""),
        ({"tags_to_match": {"k": ("v",)}}, "f/expiring"),
        (
            {"tags_to_match": {"k": ("v", "w")}, "ignore_expiring_images": True},
            "f/middle",
        ),
        ({"tags_to_match": {"k": ("v",), "o": ("1",)}}, "f/old"),
        ({"tags_to_match": {"k": ()}}, ""),
        ({"tags_to_match": {"none": ("v",)}}, ""),
        ({"directory_name": "f/empty"}, ""),
        ({"directory_name": "f/sub"}, "f/sub/new"),
        ({"directory_name": "."}, "foo"),
    ],
)
def test_find_latest(stores, attributes, found) -> None:
    """The newest image directly in a directory that fits is found."""
    for name in ("f/sub", "f/empty"):
        stores.images.make_directory(name, True, POWERFUL)
    fill(stores)
    request = FindLatestImageRequest(**{"directory_name": "f", **attributes})
    assert stores.images.find_latest(request) == found


@pytest.mark.parametrize("name", ["", "f/", "none", "./f", "\udcff"])
def test_find_latest_unknown(stores, name) -> None:
    """A directory must be named exactly."""
    stores.images.make_directory("f", True, POWERFUL)
    with pytest.raises(RequestError) as caught:
        stores.images.find_latest(FindLatestImageRequest(directory_name=name))
    assert str(caught.value) == f"unknown directory: {name}"


DIRECT = {"f/old", "f/middle", "f/expiring", "f/undated"}


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({}, {*DIRECT, "f/sub/new", "foo", "dir/x"}),
        ({"directory_name": "."}, {*DIRECT, "f/sub/new", "foo", "dir/x"}),
        ({"directory_name": "f"}, {*DIRECT, "f/sub/new"}),
        ({"directory_name": "f/"}, DIRECT),
        ({"directory_name": "f//"}, set()),
        ({"directory_name": "/f"}, set()),
        ({"directory_name": "./f"}, set()),
        ({"directory_name": "/"}, set()),
        ({"directory_name": "none"}, set()),
        ({"directory_name": "\udcff/"}, set()),
        (
            {"directory_name": "f", "ignore_expiring_images": True},
            DIRECT - {"f/expiring"} | {"f/sub/new"},
        ),
        ({"tags_to_match": {"k": ("v",)}}, {"f/old", "f/expiring"}),
    ],
)
def test_select(stores, attributes, found) -> None:
    """Images are selected by directory, expiration and tags."""
    stores.images.make_directory("f/sub", True, POWERFUL)
    fill(stores)
    selected = stores.images.select(ListSelectedImagesRequest(**attributes))
    assert len(selected) == len(set(selected))
    assert set(selected) == found
