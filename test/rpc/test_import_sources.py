"""Where objects may come from."""

from __future__ import annotations

import pytest

from imageserver.errors import ConfigError, RequestError
from imageserver.rpc.import_sources import ImportSources

SOURCES = ImportSources(["https://Objects.example.com/a/b/", "http://10.0.0.1:8080"])


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("https://objects.example.com/a/b", "https://objects.example.com:443/a/b"),
        ("https://objects.example.com/a/b/", "https://objects.example.com:443/a/b"),
        (
            "https://OBJECTS.example.com:443/a/b/c",
            "https://objects.example.com:443/a/b/c",
        ),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("http://10.0.0.1:8080/", "http://10.0.0.1:8080"),
        ("http://10.0.0.1:8080/x/y", "http://10.0.0.1:8080/x/y"),
    ],
)
def test_allowed(url, means) -> None:
    """What is a source, or below one, is allowed, however it is written."""
    assert SOURCES.find(url).url == means


@pytest.mark.parametrize(
    "url",
    [
        "http://objects.example.com/a/b",
        "https://objects.example.com:444/a/b",
        "https://objects.example.com/a",
        "https://objects.example.com/a/bc",
        "https://objects.example.com/A/b",
        "https://objects.example.com.evil.example/a/b",
        "https://evil.example/a/b",
        "http://10.0.0.1/",
        "http://10.0.0.10:8080/",
        "http://[::1]:8080/",
    ],
)
def test_not_allowed(url) -> None:
    """Nothing else is."""
    with pytest.raises(RequestError, match=r"are not allowed \(-importSources\)"):
        SOURCES.find(url)
    with pytest.raises(RequestError, match="are not allowed"):
        ImportSources().find(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "objects.example.com",
        "file:///etc/passwd",
        "ftp://10.0.0.1:8080/",
        "http://",
        "http:///a",
        "http://10.0.0.1:8080@evil.example/",
        "http://user:pw@10.0.0.1:8080/",
        "http://evil.example#@10.0.0.1:8080/",
        "http://10.0.0.1:8080/?q",
        "http://10.0.0.1:8080/#f",
        "https://objects.example.com/a/b/../../c",
        "https://objects.example.com/a/b/./c",
        "https://objects.example.com/a/b//c",
        "https://objects.example.com/a/b/%2e%2e/c",
        "https://objects.example.com/a/b\\..\\c",
        "http://10.0.0.1:8080/ HTTP/1.1\r\nX: y",
        "http://10.0.0.1:8080/\n",
        " http://10.0.0.1:8080/",
        "http://10.0.0.1:0/",
        "http://10.0.0.1:99999/",
        "http://10.0.0.1:/",
        "http://bücher.example/",
        "http://10.0.0.1:8080/" + "x" * 3000,
    ],
)
def test_not_plain(url) -> None:
    """What two readers could read in two ways is refused, for flags too."""
    with pytest.raises(RequestError, match="not a plain http or https URL"):
        SOURCES.find(url)
    with pytest.raises(ConfigError, match="-importSources: not a plain"):
        ImportSources([url])
