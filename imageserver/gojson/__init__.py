"""Go's JSON for types declared with :mod:`imageserver.gob`, without input or output.

``docs/protocol.md``, "JSON", describes it.
"""

from imageserver.gojson.decoder import decode
from imageserver.gojson.encoder import encode
from imageserver.gojson.extent import Extent
from imageserver.gojson.times import format_time

__all__ = ["Extent", "decode", "encode", "format_time"]
