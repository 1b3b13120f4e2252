"""What several filters, or several sets of triggers, say together."""

from __future__ import annotations

from collections.abc import Iterable

from imageserver.model.filter import Filter
from imageserver.model.triggers import Trigger, Triggers


def merge_filters(filters: Iterable[Filter]) -> Filter:
    """All lines, each once, in order."""
    return Filter(tuple(sorted({line for item in filters for line in item.lines})))


def merge_triggers(triggers: Iterable[Triggers]) -> Triggers:
    """One trigger for each service, and another one for reloading it.

    Expressions are put together; what one of them demands is demanded.
    """
    merged: dict[tuple[str, bool], Trigger] = {}
    for trigger in [trigger for item in triggers for trigger in item.triggers]:
        key = trigger.service, not trigger.do_reload
        so_far = merged.get(key, Trigger())
        merged[key] = Trigger(
            tuple(sorted({*so_far.match_lines, *trigger.match_lines})),
            trigger.service,
            "",
            so_far.do_reboot or trigger.do_reboot,
            trigger.do_reload,
            so_far.high_impact or trigger.high_impact,
        )
    return Triggers(tuple(merged[key] for key in sorted(merged)))
