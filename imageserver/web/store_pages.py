"""What is stored, and who follows: ``/objects``, ``/replication``, ``/space``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imageserver.model.stored_tree import ROOT
from imageserver.web.answer import Answer, as_json, lines, plain
from imageserver.web.flat_text import flatten
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.image_space import ImageSpace
from imageserver.web.rendering import Renderer
from imageserver.web.space_survey import SpaceSurvey
from imageserver.web.status import StatusSource
from imageserver.web.tree_page import split_path
from imageserver.web.visit import Section, Visit

_FOLLOWING = ("ImageServer.GetImageUpdates", "ImageServer.GetFilteredImageUpdates")
_SHOWN = 200


class StorePages:
    """See the module."""

    def __init__(
        self,
        renderer: Renderer,
        source: StatusSource,
        lookup: ImageLookup,
        survey: Callable[[], SpaceSurvey | None],
    ) -> None:
        """Show what is stored.

        Args:
            renderer: makes pages.
            source: the status.
            lookup: the images.
            survey: gives the last survey of space, if there was one.
        """
        self._renderer = renderer
        self._source = source
        self._lookup = lookup
        self._survey = survey

    def objects(self, visit: Visit) -> Answer:
        """All objects together, and how well they are."""
        status = self._source.collect()
        incomplete = dict(sorted(self._lookup.database.incomplete.items()))
        if visit.output in ("json", "text"):
            values: dict[str, Any] = {
                name: getattr(status, name)
                for name in (
                    "objects",
                    "object_bytes",
                    "referenced_objects",
                    "referenced_bytes",
                    "duplicate_bytes",
                    "capacity_bytes",
                    "free_bytes",
                    "quarantined",
                )
            }
            values["health"] = status.as_json()["health"]
            values["incomplete"] = incomplete
            return as_json(values) if visit.output == "json" else plain(flatten(values))
        return self._renderer.page(
            "objects.html",
            visit,
            status=status,
            incomplete=incomplete,
            outputs=("json", "text"),
        )

    def replication(self, visit: Visit) -> Answer:
        """Whom this server follows, and who follows it."""
        status = self._source.collect()
        may_see_users = visit.may(Section.LOGS)
        server = self._source.server
        now_s = server.clock.seconds()
        followers = [
            {
                "user": call.user if may_see_users else "",
                "address": call.address if may_see_users else "",
                "since_s": now_s - call.began_s,
                "method": call.method,
            }
            for call in sorted(server.running.copy(), key=lambda call: call.began_s)
            if call.method in _FOLLOWING
        ]
        if visit.output in ("json", "text"):
            values = {
                "role": status.role,
                "state": status.as_json()["replication"],
                "followers": followers,
            }
            return as_json(values) if visit.output == "json" else plain(flatten(values))
        return self._renderer.page(
            "replication.html",
            visit,
            status=status,
            followers=followers,
            may_see_users=may_see_users,
            outputs=("json", "text"),
        )

    def space(self, visit: Visit) -> Answer:
        """Who uses the space: directories and images."""
        survey = self._survey()
        images = sorted(survey.images.items(), key=_largest) if survey else []
        directories = sorted(survey.directories.items(), key=_largest) if survey else []
        if visit.output == "json":
            measured = survey.finished_s if survey else None
            return as_json(
                {"measured": measured}
                | {"images": dict(images), "directories": dict(directories)}
            )
        if visit.output == "text":
            return lines(f"{size} {name}" for name, size in (*directories, *images))
        return self._renderer.page(
            "space.html",
            visit,
            status=self._source.collect(),
            survey=survey,
            images=images[:_SHOWN],
            directories=directories[:_SHOWN],
            outputs=("json", "text"),
        )

    def space_of(self, visit: Visit) -> Answer:
        """What the folders of an image take, and what is own: ``/imageSpace``."""
        name = self._lookup.name(visit)
        tree = self._lookup.trees.tree(name)
        names = split_path(visit.query.get("path"))
        usage = ImageSpace(tree, self._lookup.summaries)
        number = tree.find(names)
        here = b"/" + b"/".join(names)
        rows = usage.folders(ROOT if number is None else number)
        if visit.output in ("json", "text"):
            values = {
                place.name.decode("utf-8", "surrogateescape"): {
                    "data_bytes": size,
                    "own_bytes": own,
                }
                for place, size, own in rows
            }
            if visit.output == "json":
                return as_json({"own_bytes": usage.own_bytes, "entries": values})
            return plain(flatten(values))
        return self._renderer.page(
            "image_space.html",
            visit,
            name=name,
            here=here,
            own_bytes=usage.own_bytes,
            object_bytes=usage.object_bytes,
            rows=rows[:_SHOWN],
            total=len(rows),
            paths=[here.rstrip(b"/") + b"/" + it.name for it, _, _ in rows[:_SHOWN]],
            outputs=("json", "text"),
        )


def _largest(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
