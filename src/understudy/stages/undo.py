"""Bring back what the last change of a faceset renamed or moved: a sort, a trash, a resize."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.facesets import Catalog
from understudy.facesets.changes import Change, changes, undo_last
from understudy.records import Side
from understudy.report import Report, Stop, never, silent
from understudy.stages.face_changes import writing_faces
from understudy.stages.result import StageResult
from understudy.stages.review_list import read_review, save_review
from understudy.workspace import Workspace


def undo(workspace: Workspace, side: Side, *, report: Report = silent, stop: Stop = never) -> StageResult:
    """Put the files of the last change of a faceset back to where they were.

    The notes hold undone (its title), at, and next (the title of the change before it, or None). Files that are no
    longer there are in `skipped`. Raises UsageError when there is nothing to undo, Busy, ReadOnlyWorkspace, and
    Interrupted with everything left as it was.
    """
    started, side = time.perf_counter(), Side(side)
    with writing_faces(workspace, side) as folder, _catalog(workspace, folder, report) as catalog:
        change = undo_last(workspace.changes(side), report=report, stop=stop)
        tell(workspace, side, change, catalog)
    before = changes(workspace.changes(side))
    return StageResult(
        faces=len(change.moves),
        skipped=list(change.skipped),
        seconds=time.perf_counter() - started,
        outputs=[folder],
        notes={"undone": change.title, "at": change.at.isoformat(), "next": before[0].title if before else None},
    )


def list_changes(workspace: Workspace, side: Side) -> list[dict[str, Any]]:
    """The changes of a faceset that can be undone, the last one first: title, at, files."""
    found = changes(workspace.changes(Side(side)))
    return [{"title": change.title, "at": change.at.isoformat(), "files": len(change.moves)} for change in found]


def tell(workspace: Workspace, side: Side, change: Change, catalog: Catalog | None) -> None:
    """Let the catalog and the kept review know the new names, so that no face is read again for its name alone."""
    pairs = change.keys(workspace.side(side).aligned)
    if catalog is not None:
        catalog.renamed(pairs)
    found = read_review(workspace, side)
    if found is not None and pairs:
        names = dict(pairs)
        items = (replace(item, file=names.get(item.file or "", item.file)) for item in found.items)
        save_review(workspace, replace(found, items=tuple(items)))


@contextlib.contextmanager
def _catalog(workspace: Workspace, folder: Path, report: Report) -> Iterator[Catalog | None]:
    """The catalog of a faceset as it is now; None where its folder is gone."""
    if not folder.is_dir():
        yield None
        return
    with Catalog.open(folder, cache=workspace.catalogs, report=report) as catalog:
        yield catalog
