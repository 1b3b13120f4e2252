"""``imagetool match-triggers``."""

from __future__ import annotations

from imageserver.model.filter import Matcher
from imageserver.model.paths import walk
from imageserver.model.triggers import Trigger, Triggers
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.input_files import load_triggers
from imageserver.tool.triggers_text import triggers_text
from imageserver.tool.typed_image import load_image


async def match_triggers(session: ImageSession, name: str, path: str) -> int:
    """Print the triggers of a file that match some path of an image."""
    tree = (await load_image(session, name)).file_system
    triggers = await session.blocking(load_triggers, path) or Triggers()
    unmatched = [(t, Matcher(t.match_lines)) for t in triggers.triggers]
    matched: list[Trigger] = []
    for node in walk(tree):
        if not unmatched:
            break
        left = []
        for trigger, matcher in unmatched:
            if matcher.matches(node.path):
                matched.append(trigger)
            else:
                left.append((trigger, matcher))
        unmatched = left
    matched.sort(key=lambda trigger: (trigger.service, not trigger.do_reload))
    session.talk.lines([triggers_text(tuple(matched))])
    return 0
