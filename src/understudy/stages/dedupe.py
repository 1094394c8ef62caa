"""Take faces out of a faceset that show the same as a sharper one; they move to aligned_trash and can come back."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from understudy.curation.duplicates import DIMENSIONS, Duplicates, Print, find_duplicates, print_of
from understudy.curation.measures import sharpness
from understudy.curation.person_options import DedupeOptions
from understudy.errors import Interrupted
from understudy.facesets import Catalog, Face, FaceEntry
from understudy.facesets.reading import each_face
from understudy.records import Side, Skipped
from understudy.report import Report, Stop, never, silent
from understudy.stages.face_changes import require_loose, to_trash, writing_faces
from understudy.stages.result import StageResult
from understudy.stages.review_list import forget
from understudy.workspace import Workspace

NAMED = 1000
"""So many groups are in the result; all of them are in the change itself."""

HAND_WORK = 1e6
"""What a face with outlines or a mask is worth above any sharpness: work that went into it is not thrown away."""


def dedupe(
    workspace: Workspace,
    side: Side,
    options: DedupeOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Move near-duplicates to aligned_trash, as one change that can be undone; of each group the sharpest face stays.

    Faces with outlines or a stored mask stay before sharper ones. Takes 1.3 KB of memory per face. The notes hold
    duplicates, staying, dry_run, groups (kept, dropped, difference; the first thousand) and undo. Raises UsageError
    for a packed faceset (not for a dry run), EmptyFaceset, Busy, ReadOnlyWorkspace, and Interrupted with every face in
    its old place.
    """
    started, side, options = time.perf_counter(), Side(side), options or DedupeOptions()
    with writing_faces(workspace, side) as folder:
        if not options.dry_run:
            require_loose(workspace, side)
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            entries = catalog.require_faces()
            faces, prints, worth, skipped = _looked_at(entries, options, report, stop)
            groups = find_duplicates(prints, worth, options.threshold)
            notes = _notes(faces, groups, len(entries), options)
            if groups and not options.dry_run:
                going = [faces[number].key for group in groups for number, _ in group.dropped]
                change = to_trash(workspace, side, going, title="Took out duplicates", report=report, stop=stop)
                catalog.refresh()
                forget(workspace, side, files=going)
                skipped += change.skipped
                notes["undo"] = f"understudy faceset undo {side}"
    moved = "undo" in notes
    return StageResult(
        faces=len(entries),
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[workspace.side(side).aligned_trash] if moved else [],
        notes=notes,
    )


def _looked_at(
    entries: Sequence[FaceEntry], options: DedupeOptions, report: Report, stop: Stop
) -> tuple[list[FaceEntry], np.ndarray[tuple[int, ...], np.dtype[np.int8]], list[float], list[Skipped]]:
    """The faces that can be read, their prints (N, 1344), what each is worth, and the others."""
    faces: list[FaceEntry] = []
    prints = np.empty((len(entries), DIMENSIONS), np.int8)
    worth: list[float] = []
    skipped: list[Skipped] = []
    for entry, found in each_face(entries, _look, workers=options.workers, report=report, stop=stop):
        if isinstance(found, Skipped):
            skipped.append(found)
            continue
        prints[len(faces)] = found[0]
        faces.append(entry)
        worth.append(found[1])
    if stop():
        raise Interrupted("Stopped while looking at faces; none has moved.", hint="Run the same command again.")
    return faces, prints[: len(faces)], worth, skipped


def _look(entry: FaceEntry, face: Face) -> tuple[Print, float]:
    return print_of(face), sharpness(face) + HAND_WORK * (2 * entry.is_labelled + entry.has_mask)


def _notes(
    faces: Sequence[FaceEntry], groups: Sequence[Duplicates], count: int, options: DedupeOptions
) -> dict[str, object]:
    duplicates = sum(len(group.dropped) for group in groups)
    rows = [
        {
            "kept": faces[group.kept].key,
            "dropped": [faces[number].key for number, _ in group.dropped],
            "difference": [round(apart, 2) for _, apart in group.dropped],
        }
        for group in groups[:NAMED]
    ]
    return {"duplicates": duplicates, "staying": count - duplicates, "dry_run": options.dry_run, "groups": rows}
