"""Parts of an image: its filter, triggers, packages and computed files."""

from __future__ import annotations

import json
from typing import Any

from imageserver import gob
from imageserver.model.filter import is_common_form
from imageserver.model.inode import ComputedRegularInode
from imageserver.model.triggers import Trigger
from imageserver.web.answer import Answer, PageError, as_json, lines, plain
from imageserver.web.flat_text import one_line
from imageserver.web.image_lookup import ImageLookup
from imageserver.web.rendering import Renderer
from imageserver.web.visit import Visit

_OUTPUTS = ("html", "text", "json")


class ImageParts:
    """See the module."""

    def __init__(self, renderer: Renderer, lookup: ImageLookup) -> None:
        self._renderer = renderer
        self._lookup = lookup

    def filter(self, visit: Visit) -> Answer:
        """The lines of the filter: ``/listFilter``."""
        stored = self._lookup.metadata(visit)
        filter_ = stored.image.filter
        if visit.output == "json":
            return as_json(None if filter_ is None else list(filter_.lines))
        if visit.output == "text":
            if filter_ is None:
                return plain("Sparse filter\n")
            return lines(map(one_line, filter_.lines))
        shown = [(ln, is_common_form(ln)) for ln in filter_.lines] if filter_ else []
        return self._renderer.page(
            "filter.html",
            visit,
            name=stored.record.name,
            is_sparse=filter_ is None,
            lines=shown,
            outputs=("json", "text"),
        )

    def triggers(self, visit: Visit) -> Answer:
        """The triggers: ``/listTriggers``."""
        stored = self._lookup.metadata(visit)
        triggers = stored.image.triggers
        items = [trigger_as_json(t) for t in triggers.triggers] if triggers else None
        if visit.output == "json":
            return as_json(items)
        # An empty list is null where these come from; who reads them knows it so.
        text = json.dumps(items or None, indent=4, ensure_ascii=False)
        if triggers is None:
            text = "NO TRIGGERS"
        if visit.output == "text":
            return plain(f"{text}\n")
        return self._renderer.page(
            "triggers.html",
            visit,
            name=stored.record.name,
            triggers=triggers.triggers if triggers else None,
            text=text,
            outputs=("json", "text"),
        )

    def packages(self, visit: Visit) -> Answer:
        """The packages: ``/listPackages``."""
        output = visit.output
        if visit.query.flags() or output not in _OUTPUTS:
            raise PageError(400, "Name one image, and text or json as the output.")
        stored = self._lookup.metadata(visit)
        packages = stored.image.packages
        if output == "json":
            return as_json(
                [
                    {"Name": p.name, "Size": p.size, "Version": p.version}
                    for p in packages
                ]
            )
        if output == "text":
            return lines(one_line(f"{p.name} {p.version} {p.size}") for p in packages)
        return self._renderer.page(
            "packages.html",
            visit,
            name=stored.record.name,
            packages=packages,
            total=sum(package.size for package in packages),
            outputs=("json", "text"),
        )

    def computed_files(self, visit: Visit) -> Answer:
        """The computed files: ``/listComputedInodes``."""
        name = self._lookup.name(visit)
        tree = self._lookup.trees.tree(name)
        numbers = set(tree.numbers_of(ComputedRegularInode))
        found: list[tuple[bytes, str]] = []
        for path, number in tree.walk() if numbers else ():
            if number in numbers:
                inode = tree.inode(number)
                assert isinstance(inode, ComputedRegularInode)  # noqa: S101 - see above
                found.append((path, inode.source))
        if visit.output == "json":
            items = [
                {"Filename": path.decode("utf-8", "surrogateescape"), "Source": source}
                for path, source in found
            ]
            return as_json(items)
        if visit.output == "text":
            return lines(
                one_line(f"{path.decode('utf-8', 'surrogateescape')} {source}")
                for path, source in found
            )
        return self._renderer.page(
            "computed_files.html",
            visit,
            name=name,
            files=found,
            outputs=("json", "text"),
        )


def trigger_as_json(trigger: Trigger) -> dict[str, Any]:
    """A trigger as it stands in files of triggers."""
    values: dict[str, Any] = {}
    for field in gob.struct_info(Trigger).fields:
        value = getattr(trigger, field.attribute)
        if value or not field.omit_empty:
            values[field.name] = list(value) if isinstance(value, tuple) else value
    return values
