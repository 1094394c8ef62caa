"""Take faces out of a faceset by what is known of them; they move to aligned_trash and can come back."""

from __future__ import annotations

import time
from collections.abc import Sequence

from understudy.errors import Interrupted
from understudy.facesets import Catalog, FaceEntry
from understudy.facesets.where import Where, parse, select, unknown
from understudy.records import Side
from understudy.report import Report, Stop, never, silent
from understudy.stages.face_changes import require_loose, to_trash, writing_faces
from understudy.stages.result import StageResult
from understudy.stages.review_list import forget
from understudy.workspace import Workspace

NAMED = 1000
"""So many names are in the result; all of them are in the change itself."""


def trash(
    workspace: Workspace,
    side: Side,
    where: str | Sequence[str],
    *,
    dry_run: bool = False,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Move the faces that meet every condition to aligned_trash, as one change that can be undone.

    where: conditions as `facesets.where` reads them. dry_run: only say which. The notes hold matching, staying, where,
    names (the first thousand), undo, and unknown: how many faces stay because they do not know a field.
    Raises UsageError for no or a senseless condition and for a packed faceset, EmptyFaceset, Busy, ReadOnlyWorkspace,
    and Interrupted with every face in its old place.
    """
    started, side, asked = time.perf_counter(), Side(side), parse(where)
    with (
        writing_faces(workspace, side) as faceset,
        Catalog.open(faceset, cache=workspace.catalogs, report=report, stop=stop) as catalog,
    ):
        if stop():
            raise Interrupted("Stopped before any face was moved.", hint="Run the same command again.")
        faces = catalog.require_faces()
        chosen = select(faces, asked)
        notes = _notes(faces, chosen, asked)
        if chosen and not dry_run:
            require_loose(workspace, side)
            keys = [face.key for face in chosen]
            change = to_trash(workspace, side, keys, title=f"Trashed {asked}", report=report, stop=stop)
            notes |= {"moved": len(change.moves), "undo": f"understudy faceset undo {side}"}
            catalog.refresh()
            forget(workspace, side, files=keys)
            skipped = list(change.skipped)
        else:
            skipped = []
    folder = workspace.side(side).aligned_trash
    return StageResult(
        faces=len(chosen),
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[folder] if notes.get("moved") else [],
        notes=notes,
    )


def _notes(faces: Sequence[FaceEntry], chosen: Sequence[FaceEntry], asked: Where) -> dict[str, object]:
    return {
        "where": str(asked),
        "matching": len(chosen),
        "staying": len(faces) - len(chosen),
        "unknown": unknown(faces, asked),
        "names": [face.key for face in chosen[:NAMED]],
    }
