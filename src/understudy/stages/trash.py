"""Take faces out of a faceset by what is known of them; they move to aligned_trash and can come back."""

from __future__ import annotations

import time
from collections.abc import Sequence

from understudy.errors import Interrupted, UsageError
from understudy.facesets import Catalog, FaceEntry
from understudy.facesets.changes import Change, Move, apply, recover
from understudy.facesets.where import Where, parse, select, unknown
from understudy.records import Side
from understudy.report import Report, Stop, never, silent
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
    with workspace.writing(f"aligned-{side}"):
        recover(workspace.changes(side))
        with Catalog.open(workspace.side(side).aligned, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            if stop():
                raise Interrupted("Stopped before any face was moved.", hint="Run the same command again.")
            faces = catalog.require_faces()
            chosen = select(faces, asked)
            notes = _notes(faces, chosen, asked)
            if chosen and not dry_run:
                _require_loose(chosen, side)
                change = move_to_trash(workspace, side, chosen, title=f"Trashed {asked}", report=report, stop=stop)
                notes |= {"moved": len(change.moves), "undo": f"understudy faceset undo {side}"}
                catalog.refresh()
                forget(workspace, side, files=[face.key for face in chosen])
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


def move_to_trash(
    workspace: Workspace,
    side: Side,
    faces: Sequence[FaceEntry],
    *,
    title: str,
    report: Report = silent,
    stop: Stop = never,
) -> Change:
    """Move loose face files to aligned_trash, a person's into a folder of that name; one change. Needs the lock."""
    paths = workspace.side(side)
    moves = [Move(face.path, paths.aligned_trash / face.key) for face in faces]
    roots = (paths.aligned, paths.aligned_trash)
    return apply(
        moves, title=title, journal_folder=workspace.changes(side), roots=roots, report=report, stop=stop
    )  # fmt: skip


def _require_loose(faces: Sequence[FaceEntry], side: Side) -> None:
    if any(face.packed_at is not None for face in faces):
        raise UsageError(
            "The faces are packed in faceset.pak; single ones cannot be taken out of it.",
            hint=f"Unpack first: understudy faceset unpack {side}",
        )


def _notes(faces: Sequence[FaceEntry], chosen: Sequence[FaceEntry], asked: Where) -> dict[str, object]:
    return {
        "where": str(asked),
        "matching": len(chosen),
        "staying": len(faces) - len(chosen),
        "unknown": unknown(faces, asked),
        "names": [face.key for face in chosen[:NAMED]],
    }
