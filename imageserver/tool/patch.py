"""``imagetool patch-directory``: makes a directory equal to an image."""

from __future__ import annotations

import os
import time

from imageserver.client.getting import fetch_wanted
from imageserver.errors import ImageServerError
from imageserver.model.filter import Filter, Matcher
from imageserver.model.image import Image
from imageserver.model.paths import walk
from imageserver.model.tree import check_tree
from imageserver.tool.fetching import Fetcher
from imageserver.tool.imagetool_session import ImageSession
from imageserver.tool.name_file import PATCHED_IMAGE, write_name
from imageserver.tool.progress import ProgressBar
from imageserver.tool.services import Actions, choose, perform
from imageserver.tool.terminal import CYAN, GREEN, RED, by_first_word
from imageserver.tool.typed_image import load_image
from imageserver.tool.units import show_seconds
from imageserver.trees.patch_plan import PatchPlan, plan_patch
from imageserver.trees.patching import Patcher
from imageserver.trees.scan import scan_directory
from imageserver.trees.selecting import apply_filter
from imageserver.trees.tree import Tree

_COLOURS = {"Made": GREEN, "Removed": RED, "Changed": CYAN}


class _Others:
    """Matches the paths that a file system does not have."""

    def __init__(self, paths: set[bytes]) -> None:
        self._paths = paths

    def matches(self, path: bytes) -> bool:
        """Whether it does not have a path."""
        return path not in self._paths


async def patch_directory(session: ImageSession, name: str, target: str) -> int:
    """Make a directory equal to an image; a line is printed for each change.

    Raises:
        ImageServerError: the image is not to be had, or the directory not changed.
    """
    runs_triggers = session.settings.run_triggers
    if runs_triggers and target != "/":
        raise ImageServerError("directory must be / when running triggers")
    image = await load_image(session, name)
    await session.blocking(check_tree, image.file_system)
    filter_ = Filter() if session.settings.ignore_filters else image.filter
    wanted = apply_filter(image.file_system, filter_)
    paths = {node.path for node in walk(wanted)}
    # A sparse image says nothing about what it does not have.
    matcher = _Others(paths) if filter_ is None else Matcher(filter_.lines)
    mounts: list[bytes] = []
    began_s = time.monotonic()
    with ProgressBar("Scanning", None, session.talk.is_quiet) as bar:
        tree: Tree = await session.blocking(
            scan_directory, target, matcher, bar.reach, mounted=mounts.append
        )
    session.debug(f"scanned in {show_seconds(time.monotonic() - began_s)}")
    plan = plan_patch(
        wanted, tree.file_system, removes=filter_ is not None, kept=mounts
    )
    changes: list[tuple[str, bytes]] = []
    try:
        await _apply(session, target, plan, tree, changes)
        if filter_ is not None:
            title = image.name or name
            await session.blocking(write_name, PATCHED_IMAGE, title, target)
    except ImageServerError:
        if runs_triggers:
            _tell_pending(session, await _actions(session, image.image, changes))
        raise
    if runs_triggers:
        actions = await _actions(session, image.image, changes)
        await session.blocking(perform, actions, session.talk.log)
    return 0


async def _actions(
    session: ImageSession, image: Image | None, changes: list[tuple[str, bytes]]
) -> Actions:
    triggers = image.triggers.triggers if image and image.triggers else ()
    paths = [path for _, path in changes]
    actions: Actions = await session.blocking(choose, triggers, paths)
    return actions


def _tell_pending(session: ImageSession, actions: Actions) -> None:
    """Tell what an update that has failed half-way would have ended with."""
    if actions.services:
        names = ", ".join(name for name, _ in actions.services)
        session.talk.warn(f"these were not restarted or reloaded: {names}")
    if actions.reboots:
        session.talk.warn("not rebooted")


async def _apply(
    session: ImageSession,
    target: str,
    plan: PatchPlan,
    tree: Tree,
    changes: list[tuple[str, bytes]],
) -> None:
    patcher = Patcher(target, plan)
    try:
        await session.blocking(patcher.begin)
        fetcher = Fetcher(session, tree.contents)
        size = sum(plan.wanted.values())
        with ProgressBar("Fetching", size, session.talk.is_quiet) as bar:
            await fetch_wanted(
                session.reactor,
                fetcher.fetch,
                patcher.wanted,
                patcher.receive,
                bar.advance,
            )
        try:
            left = await session.blocking(
                patcher.apply, lambda what, path: changes.append((what, path))
            )
        finally:
            _tell(session, changes)
    finally:
        await session.blocking(patcher.close)
    for path in left:
        session.talk.warn(f"directory is not empty: {os.fsdecode(path)}")


def _tell(session: ImageSession, changes: list[tuple[str, bytes]]) -> None:
    if session.talk.as_json:
        session.talk.json([{"change": what, "path": path} for what, path in changes])
    else:
        session.talk.lines(
            (f"{what.capitalize()}: {os.fsdecode(path)}" for what, path in changes),
            by_first_word(_COLOURS),
        )
