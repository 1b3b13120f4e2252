"""The flags of the daemon, a module for each group of them.

A group is a tuple ``FLAGS`` and a class with their values, and with what follows from
those; :mod:`imageserver.config.settings` puts the groups together.
"""

from imageserver.config.reference import refuse_reference
from imageserver.config.settings import FLAGS, Settings, check, parse

__all__ = ["FLAGS", "Settings", "check", "parse", "refuse_reference"]
