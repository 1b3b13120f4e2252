"""Regular expressions of Go's syntax, which take linear time."""

from __future__ import annotations

import re2


def compile_expression(expression: str) -> re2._Regexp:
    """``expression``, ready to search with.

    Raises:
        ValueError: it is none; the text says why.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0] if error.args else ""
        if isinstance(reason, bytes):
            reason = reason.decode("utf-8", "replace")
        raise ValueError(reason) from error
