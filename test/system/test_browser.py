"""The pages in a real browser: one browser, one daemon.

Needs Debian's ``chromium``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import html5lib
import pytest
from axe_playwright_python.sync_playwright import Axe
from gallery import fill
from playwright.sync_api import Browser, expect
from processes import Certificates, Daemon, wait_until
from visitor import CHROMIUM, Visitor, open_browser, write_history

from imageserver.web.history import HISTORY_FILE

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium"),
]

_MOST_PAGES = 400
_MOST_SPARED = 60
_SPARED = re.compile(r"/metrics/|/getObject|/logs/showStackTrace|/_goSRPC_/|output=")
_PAGES = (
    "/",
    "/listImages",
    "/listDirectories",
    "/showImage?base/web/2",
    "/browse?base/web/2&path=/usr/share",
    "/file?base/web/2&path=/etc/billing/agent.conf",
    "/compareImages?base/web/1&with=base/web/2",
    "/compareFile?base/web/1&with=base/web/2&path=/etc/billing/agent.conf",
    "/imageSpace?base/web/2",
    "/listPackages?base/web/2",
    "/listFilter?base/web/2",
    "/listTriggers?base/web/2",
    "/objects",
    "/replication",
    "/space",
    "/metrics/",
    "/logs",
    "/listImages?q=nothing",
)


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Daemon]:
    """A daemon with images, a month of history, and everything open."""
    daemon = Daemon(tmp_path_factory.mktemp("browser") / "daemon", certificates)
    write_history(daemon.images / HISTORY_FILE)
    daemon.start("-openPages=files,flags,logs,stacks")
    fill(daemon)
    # What was looked at before the images were there is a second old.
    wait_until(lambda: b'"images": 4' in daemon.get("/?output=json"))
    yield daemon
    daemon.stop()
    assert b"Traceback" not in daemon.log_bytes()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def visitor(browser: Browser, daemon: Daemon) -> Iterator[Visitor]:
    """Somebody at a desk."""
    visitor = Visitor(browser, daemon, viewport={"width": 1280, "height": 900})
    yield visitor
    visitor.context.close()


@pytest.fixture(autouse=True)
def no_problems(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing may go wrong in the browser unless a test says so."""
    yield
    if "visitor" in request.fixturenames:
        visitor: Visitor = request.getfixturevalue("visitor")
        problems, visitor.problems = visitor.problems, []
        assert problems == []


def test_links(daemon: Daemon) -> None:
    """Every link of every page leads somewhere, and all pages are valid HTML."""
    parser = html5lib.HTMLParser(strict=True)
    waiting, seen = ["/"], {"/"}
    forms, spared = set(), 0
    while waiting and len(seen) < _MOST_PAGES:
        address = waiting.pop()
        answer = daemon.get(address)
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split()[1]
        assert status in (b"200", b"301"), (address, status)
        if b"text/html" not in head:
            continue
        parser.parse(body)
        page = body.decode()
        assert len(re.findall("<h1", page)) == 1, address
        forms.add(re.sub(r"\?.*", "", address))
        for link in re.findall(r'(?:href|src|action|data-fetch)="([^"]*)"', page):
            target = link.replace("&amp;", "&").partition("#")[0]
            found = urlsplit(urljoin(address, target))
            if found.netloc or not target:
                continue
            where = found.path + (f"?{found.query}" if found.query else "")
            if _SPARED.search(where) and where not in seen:
                spared += 1
                if spared > _MOST_SPARED:
                    continue
            if where not in seen:
                seen.add(where)
                waiting.append(where)
    assert not waiting or len(seen) >= _MOST_PAGES
    assert len(forms) > 20


def test_pages(visitor: Visitor) -> None:
    """Every page can be opened, and has no serious fault for those who cannot see."""
    axe = Axe()
    for address in _PAGES:
        page = visitor.open(address)
        expect(page.locator("h1")).to_have_count(1)
        found = axe.run(page, options={"resultTypes": ["violations"]}).response
        serious = [
            (it["id"], it["nodes"][0]["html"][:200])
            for it in found["violations"]
            if it["impact"] in ("serious", "critical")
        ]
        assert serious == [], address


def test_search(visitor: Visitor) -> None:
    """The search box is reached by a key, and finds what is asked for."""
    page = visitor.open("/")
    page.keyboard.press("/")
    page.keyboard.type("tag:stage=production web/1")
    page.keyboard.press("Enter")
    expect(page.locator(".found")).to_contain_text("1 image found")
    page.locator("tbody a.mono").first.click()
    expect(page.locator("h1")).to_contain_text("base/web/1")


def test_filter_as_you_type(visitor: Visitor) -> None:
    """The list is narrowed while one types, and the address with it."""
    page = visitor.open("/listImages")
    page.locator("#q").press_sequentially("debian")
    expect(page.locator(".found")).to_contain_text("1 image found")
    expect(page.locator("#images tbody tr")).to_have_count(1)
    assert "q=debian" in page.url
    page = visitor.open("/listPackages?base/web/2")
    page.locator("#pq").fill("ssl")
    expect(page.locator("#packages tbody tr:visible")).to_have_count(1)


def test_browsing(visitor: Visitor) -> None:
    """Folder by folder one comes to a file, and back."""
    page = visitor.open("/browse?base/web/2")
    for name in ("etc/", "billing/", "agent.conf"):
        page.get_by_role("link", name=name, exact=True).click()
    expect(page.locator("#L8")).to_have_text("build = 2")
    page.get_by_role("link", name="billing", exact=True).click()
    expect(page.locator(".found")).to_contain_text("1 entry")
    page = visitor.open("/file?base/web/2&path=/usr/share/logo.png")
    assert page.locator("figure img").evaluate("it => it.naturalWidth") == 32
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "logo.png"


def test_comparing(visitor: Visitor) -> None:
    """Differences of texts are unfolded in place."""
    page = visitor.open("/compareImages?base/web/1&with=base/web/2")
    page.locator("summary").click()
    expect(page.locator("details .added").last).to_have_text("+build = 2")


def test_live_numbers(visitor: Visitor, daemon: Daemon) -> None:
    """Numbers go on without a reload, and a dot says so."""
    page = visitor.open("/")
    expect(page.locator("#live")).to_contain_text("live")
    uptime = page.locator("[data-live=uptime]").first
    before = uptime.inner_text()
    expect(uptime).not_to_have_text(before, timeout=12_000)


def test_silence(browser: Browser, daemon: Daemon) -> None:
    """When nothing comes any more, the page says for how long."""
    visitor = Visitor(browser, daemon)
    visitor.page.clock.install()
    page = visitor.open("/")
    page.clock.fast_forward(14_000)
    expect(page.locator("#live")).to_have_text(re.compile("no answer for 1[2-9] s"))
    visitor.context.close()


def test_leaving(daemon: Daemon) -> None:
    """Whoever leaves in the middle of an answer leaves no trace."""
    addresses = ("/events", "/listImage?base/web/1", f"/getObject?{'0' * 128}")
    for address in addresses * 3:
        with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
            connection.sendall(f"GET {address} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.recv(100)
    assert daemon.get("/healthz").endswith(b"OK")


def test_without_scripts(browser: Browser, daemon: Daemon) -> None:
    """Without scripts everything is there."""
    visitor = Visitor(browser, daemon, java_script_enabled=False)
    page = visitor.open("/")
    expect(page.locator("h1")).to_have_text("imageserver status page")
    assert page.locator("#live").is_hidden()
    page.locator("#search").fill("web/3")
    page.locator("#search").press("Enter")
    page.get_by_role("link", name="base/web/3", exact=True).click()
    page.get_by_role("link", name="Compare", exact=True).click()
    page.get_by_role("link", name="base/web/2", exact=True).click()
    page.locator("summary").click()
    page.get_by_role("link", name="on a page of its own").click()
    expect(page.locator("#difference .added").last).to_have_text("+build = 2")
    assert visitor.problems == []
    visitor.context.close()


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 1},
        {"viewport": {"width": 768, "height": 900}, "color_scheme": "dark"},
    ],
    ids=["phone", "dark"],
)
def test_other_screens(browser: Browser, daemon: Daemon, options: Any) -> None:
    """On a phone nothing is wider than the screen; the dark is legible."""
    visitor = Visitor(browser, daemon, **options)
    axe = Axe()
    for address in _PAGES:
        page = visitor.open(address)
        widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1], address
        if "color_scheme" in options and address in _PAGES[::3]:
            found = axe.run(page, options={"runOnly": ["color-contrast"]}).response
            assert found["violations"] == [], address
    if "color_scheme" in options:
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red, green, blue = map(int, re.findall(r"\d+", color)[:3])
        assert max(red, green, blue) < 64
    assert visitor.problems == []
    visitor.context.close()
