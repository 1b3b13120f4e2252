"""Says what is wrong: as a page, or as text or JSON if that was asked for."""

from __future__ import annotations

import json

from twisted.logger import Logger

from imageserver.errors import (
    AccessDenied,
    GobDecodeError,
    ImageNotFound,
    ObjectNotFound,
    RequestError,
    StoreError,
)
from imageserver.web.answer import JSON, Answer, PageError, plain
from imageserver.web.rendering import Renderer
from imageserver.web.visit import Visit


class UnknownImage(PageError):
    """There is no such image.

    Attributes:
        name: what was asked for.
        near: names of images that are like it.
    """

    def __init__(self, name: str, near: list[str]) -> None:
        super().__init__(404, f"Image: {name} UNKNOWN!")
        self.name = name
        self.near = near


class ErrorPage:
    """See the module."""

    _log = Logger()

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def show(self, error: Exception, visit: Visit) -> Answer:
        """The answer to a request that cannot be fulfilled."""
        status, text, advice = self._describe(error)
        if visit.output == "json":
            body = json.dumps({"error": text, "advice": advice}, indent=4).encode()
            return Answer(body, JSON, status)
        if visit.output == "text":
            return plain(f"{text}\n", status)
        near = error.near if isinstance(error, UnknownImage) else []
        return self._renderer.page(
            "error.html",
            visit,
            http_status=status,
            code=status,
            text=text,
            advice=advice,
            near=near,
        )

    def _describe(self, error: Exception) -> tuple[int, str, str]:
        """Status, what is wrong, and what to do."""
        match error:
            case PageError():
                return error.status, str(error), error.advice
            case ImageNotFound() | ObjectNotFound():
                return 404, str(error), ""
            case AccessDenied():
                return 403, str(error), ""
            case RequestError():
                return 400, str(error), ""
            case StoreError() | GobDecodeError():
                self._log.error("cannot make a page: {error}", error=error)
                return 500, str(error), "The log of the server has more."
        self._log.failure("cannot make a page")
        return 500, "internal error", "The log of the server has more."
