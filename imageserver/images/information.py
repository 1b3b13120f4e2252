"""Addresses of pages about images, made from a template of the operator's.

The template is jinja2's. ``{{.Name}}`` is taken, too: that is how existing flags are
written. ``docs/operations.md``, "Addresses of images", has the names.
"""

from __future__ import annotations

import re
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from twisted.logger import Logger

from imageserver import gob
from imageserver.errors import ConfigError
from imageserver.model.image import Image, ImageMetadata

_GO_FIELD = re.compile(r"\{\{-?\s*\.([A-Za-z]\w*)\s*-?\}\}")
_LONGEST = 4_096  # characters of an address
_FIELDS = {
    field.name: field.attribute
    for field in gob.struct_info(ImageMetadata).fields
    if field.name != "Filter"
}


class InformationTemplate:
    """Makes the addresses."""

    _log = Logger()

    def __init__(self, text: str) -> None:
        """Parse a template; an empty one gives no addresses.

        Raises:
            ConfigError: it is malformed.
        """
        environment = SandboxedEnvironment(undefined=StrictUndefined)
        try:
            self._template = environment.from_string(_GO_FIELD.sub(r"{{ \1 }}", text))
        except TemplateError as error:
            raise ConfigError(f"malformed -informationDatabaseTemplate: {error}") from (
                error
            )
        self.is_empty = not text

    def render(self, name: str, image: Image) -> str:
        """The address of an image; empty if there is none.

        What goes wrong is logged: a client that wants an image gets it.
        """
        values: dict[str, Any] = {
            field: getattr(image, attribute) for field, attribute in _FIELDS.items()
        }
        try:
            address = self._template.render(values | {"Name": name})
        except Exception as error:
            self._log.warn(
                "no address for image {name}: {error}", name=name, error=error
            )
            return ""
        return address[:_LONGEST]
