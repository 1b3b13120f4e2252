"""Which page is where."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from imageserver.web.compare_page import ComparePage
from imageserver.web.directory_list import DirectoryList
from imageserver.web.get_object import ObjectContents
from imageserver.web.image_list import ImageList
from imageserver.web.image_page import ImagePage
from imageserver.web.image_parts import ImageParts
from imageserver.web.listing_page import ListingPage
from imageserver.web.log_pages import LogPages
from imageserver.web.metric_pages import MetricPages
from imageserver.web.notes_page import NotesPage
from imageserver.web.object_page import ObjectPage
from imageserver.web.parts import Parts
from imageserver.web.plain_pages import PlainPages
from imageserver.web.prometheus_metrics import PrometheusMetrics
from imageserver.web.site import Route
from imageserver.web.space_survey import SpaceSurvey
from imageserver.web.status_page import StatusPage
from imageserver.web.store_pages import StorePages
from imageserver.web.tree_page import TreePage
from imageserver.web.visit import Section


def make_routes(parts: Parts) -> Iterator[Route]:
    """All pages."""
    yield from _plain(parts)
    yield from _lists(parts)
    yield from _images(parts)
    yield from _objects(parts)
    yield from _metrics(parts)
    yield from _logs(parts)


def _plain(parts: Parts) -> Iterator[Route]:
    pages = PlainPages(parts.source, parts.host_name)
    yield Route("/healthz", pages.health, is_instant=True)
    yield Route("/readiness", pages.readiness, is_instant=True)
    yield Route("/has-tricorder-metrics", pages.has_metrics, is_instant=True)
    yield Route("/_goSRPC_/getHostname", pages.host_name)
    yield Route("/_goSRPC_/listMethods", pages.methods, is_instant=True)
    yield Route("/_goSRPC_/listPublicMethods", pages.public_methods, is_instant=True)
    yield Route("/static/<name>", pages.file, is_instant=True)
    yield Route("/metricsstatic/theme.css", pages.theme, is_instant=True)


def _lists(parts: Parts) -> Iterator[Route]:
    renderer, lookup = parts.renderer, parts.lookup
    status = StatusPage(
        renderer,
        parts.source,
        lookup.summaries,
        parts.source.server.accounting,
        parts.sampler,
        parts.history,
        parts.options.audit_path,
        parts.log,
    )
    yield Route("/", status.show)
    yield Route("/listImages", ImageList(renderer, lookup, _survey(parts)).show)
    directories = DirectoryList(renderer, lookup, _survey(parts))
    yield Route("/listDirectories", directories.show)


def _survey(parts: Parts) -> Callable[[], SpaceSurvey | None]:
    return lambda: parts.surveyor.latest


def _images(parts: Parts) -> Iterator[Route]:
    renderer, lookup = parts.renderer, parts.lookup
    objects = lookup.database.objects
    image = ImagePage(renderer, lookup, parts.options.information, _survey(parts))
    yield Route("/showImage", image.show, has_subject=True)
    listing = ListingPage(renderer, lookup)
    yield Route("/listImage", listing.show, has_subject=True, is_slow=True)
    its = ImageParts(renderer, lookup)
    yield Route("/listFilter", its.filter, has_subject=True)
    yield Route("/listTriggers", its.triggers, has_subject=True)
    yield Route("/listPackages", its.packages, has_subject=True)
    computed = its.computed_files
    yield Route("/listComputedInodes", computed, has_subject=True, is_slow=True)
    for path, kind in (
        ("listBuildLog", "Build log"),
        ("listReleaseNotes", "Release notes"),
    ):
        notes = NotesPage(renderer, lookup, objects, path, kind, _CHOICES[path])
        yield Route(f"/{path}", notes.show, has_subject=True)
    tree = TreePage(renderer, lookup, objects)
    for path in ("/browse", "/file"):
        yield Route(path, tree.show, has_subject=True, is_slow=True)
    compare = ComparePage(renderer, lookup, objects)
    yield Route("/compareImages", compare.show, has_subject=True, is_slow=True)
    yield Route(
        "/compareFile",
        compare.show_file,
        has_subject=True,
        section=Section.FILES,
        is_slow=True,
    )


_CHOICES = {
    "listBuildLog": lambda image: image.build_log,
    "listReleaseNotes": lambda image: image.release_notes,
}


def _objects(parts: Parts) -> Iterator[Route]:
    renderer, lookup = parts.renderer, parts.lookup
    objects = lookup.database.objects
    contents = ObjectContents(objects)
    yield Route("/getObject", contents.show, has_subject=True, section=Section.FILES)
    page = ObjectPage(renderer, lookup, objects)
    yield Route("/object", page.show, has_subject=True, is_slow=True)
    yield Route("/findPath", page.find_path, is_slow=True)
    store = StorePages(renderer, parts.source, lookup, _survey(parts))
    yield Route("/objects", store.objects)
    yield Route("/replication", store.replication)
    yield Route("/space", store.space)
    yield Route("/imageSpace", store.space_of, has_subject=True, is_slow=True)


def _metrics(parts: Parts) -> Iterator[Route]:
    prometheus = PrometheusMetrics(parts.source, parts.source.server.accounting)
    pages = MetricPages(parts.renderer, parts.metrics, prometheus, parts.now_s)
    yield Route("/metrics", pages.root)
    yield Route("/metrics/prometheus", pages.prometheus)
    yield Route("/metrics/", pages.tree)
    yield Route("/metrics/<path:path>", pages.tree)
    yield Route("/metricsapi", pages.api_root)
    yield Route("/metricsapi/", pages.api)
    yield Route("/metricsapi/<path:path>", pages.api)


def _logs(parts: Parts) -> Iterator[Route]:
    pages = LogPages(parts.renderer, parts.log, time.monotonic)
    logs, stacks = Section.LOGS, Section.STACKS
    yield Route("/logs", pages.index, section=logs)
    yield Route("/logs/dump", pages.dump, section=logs)
    yield Route("/logs/showLast", pages.last, section=logs)
    yield Route("/logs/showSinceStartup", pages.since_start, section=logs)
    yield Route("/logs/showPreviousPanic", pages.crash, section=logs)
    yield Route("/logs/showStackTrace", pages.stacks, section=stacks)
