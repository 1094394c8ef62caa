"""Give faces the names of their frames back, after sorting has numbered them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from understudy.facesets import Catalog, FaceEntry
from understudy.facesets.changes import Move, apply
from understudy.records import Side, Skipped
from understudy.report import Report, Stop, never, silent
from understudy.stages.face_changes import require_loose, writing_faces
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

NAMED = 1000
"""So many new names are in the result of a dry run."""


def restore_names(
    workspace: Workspace, side: Side, *, dry_run: bool = False, report: Report = silent, stop: Stop = never
) -> StageResult:
    """Rename every face to its frame's stem and a number: 00012_0.jpg, 00012_1.jpg, in order of the present names.

    One change, which can be undone. Frames that differ only in their suffix share the numbers, so that no two faces
    want one name; names of pictures that stay are left to them. Faces that do not know their frame are skipped and
    named. dry_run: only say which. Raises EmptyFaceset, UsageError for a packed faceset, and as `changes.apply` does.
    """
    started, side = time.perf_counter(), Side(side)
    with writing_faces(workspace, side) as folder:
        require_loose(workspace, side)
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            faces = catalog.require_faces()
            nameless = [Skipped(face.key, "it does not know its frame") for face in faces if not _frame_of(face)]
            skipped = [*catalog.skipped, *nameless]
            staying = [item.item for item in skipped]
            names = restored_names(faces, staying)
            moved: list[tuple[str, str]] = []
            if names and not dry_run:
                moves = [Move(folder / old, folder / new) for old, new in names]
                journals = workspace.changes(side)
                change = apply(moves, title="Restored names", journal_folder=journals, report=report, stop=stop)
                moved = change.keys(folder)
                catalog.renamed(moved)
                skipped += change.skipped
    notes: dict[str, object] = {"renamed": len(moved)}
    notes |= {"undo": f"understudy faceset undo {side}"} if moved else {}
    notes |= {"names": dict(names[:NAMED]), "would_rename": len(names)} if dry_run else {}
    return StageResult(
        faces=len(faces), skipped=skipped, seconds=time.perf_counter() - started, outputs=[folder], notes=notes
    )


def restored_names(faces: Sequence[FaceEntry], staying: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(old key, new key) of every face whose name changes. staying: keys of pictures that keep their names."""
    taken = {key.casefold() for key in staying}
    numbers: Counter[str] = Counter()
    names = []
    for face in sorted(faces, key=lambda face: face.key):
        frame = _frame_of(face)
        if not frame:
            continue
        start = f"{face.person}/{frame}" if face.person else frame
        new = ""
        while not new or new.casefold() in taken:
            new = f"{start}_{numbers[start.casefold()]}{Path(face.name).suffix}"
            numbers[start.casefold()] += 1
        taken.add(new.casefold())
        if new != face.key:
            names.append((face.key, new))
    return names


def _frame_of(face: FaceEntry) -> str:
    """The stem that a face is named by; empty where it has none, or one that would hide the file."""
    frame = face.frame or ""
    return "" if frame.startswith(".") else frame
