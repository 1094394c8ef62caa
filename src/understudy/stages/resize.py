"""Bring a faceset to another picture size or face type."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from understudy import files
from understudy.errors import EmptyFaceset, Interrupted
from understudy.facesets import Catalog, Face, FaceEntry, encode_jpeg
from understudy.facesets.container import replace_payload
from understudy.facesets.metadata import to_payload
from understudy.facesets.options import ResizedType, ResizeOptions
from understudy.facesets.reading import each_face
from understudy.facesets.resizing import resized
from understudy.files import os_errors, parse_json, sweep
from understudy.records import FaceType, Side, Skipped
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.face_changes import require_loose, swap_in, writing_faces
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


def resize(
    workspace: Workspace,
    side: Side,
    options: ResizeOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write every face at the new size, or as the new face type, into aligned_resized, under its name.

    With `replace` the new faces then take the places of the old ones, which move to aligned_trash, as one change that
    can be undone. A run that was stopped goes on where it was. Faces that are not square, or cannot be read, are
    skipped and named. Works on a packed faceset too, but for `replace`. Raises EmptyFaceset, UsageError, Interrupted,
    Busy, DiskFull and ReadOnlyWorkspace.
    """
    started, side, options = time.perf_counter(), Side(side), options or ResizeOptions()
    paths = workspace.side(side)
    target = paths.frames / "aligned_resized"
    with writing_faces(workspace, side) as folder:
        if options.replace:
            require_loose(workspace, side, otherwise="Without --replace the new faces go to aligned_resized.")
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            faces, skipped = catalog.require_faces(), catalog.skipped
            _make_ready(workspace, side, target, options, report)
            made, failed = _resize_all(faces, target, options, report, stop)
        skipped += failed
        if not made:
            raise EmptyFaceset("Not one face could be resized.", hint=failed[0].reason if failed else "", folder=folder)
        notes: dict[str, Any] = {"size": options.image_size, "face_type": str(options.face_type)}
        if options.replace:
            title = f"Resized to {options.image_size}"
            keys = [face.key for face in made]
            change = swap_in(workspace, side, keys, target, title=title, report=report, stop=stop)
            skipped += change.skipped
            _remove_empty(target)
            notes["undo"] = f"understudy faceset undo {side}"
    return StageResult(
        faces=len(made),
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[folder if options.replace else target],
        notes=notes,
    )


def _resize_all(
    faces: Sequence[FaceEntry], target: Path, options: ResizeOptions, report: Report, stop: Stop
) -> tuple[list[FaceEntry], list[Skipped]]:
    """The faces that were resized, and those that could not be."""
    wanted = None if options.face_type is ResizedType.SAME else FaceType(options.face_type.value)
    todo = [face for face in faces if not _is_done(face, target)]
    if len(todo) < len(faces):
        report(Note(f"Going on after {len(faces) - len(todo)} faces that are done."))
    with os_errors(target):
        for person in {face.person for face in faces if face.person}:
            (target / person).mkdir(exist_ok=True)
    work = _maker(options, wanted)
    failed: dict[str, Skipped] = {}
    count = 0
    for entry, outcome in each_face(
        todo, work, workers=options.workers, step="Resizing", report=report, stop=stop
    ):  # fmt: skip
        count += 1
        if isinstance(outcome, Skipped):
            failed[entry.key] = outcome
        else:  # written here: a full disk ends the run, it is nothing that one face has
            files.write_bytes(target / entry.key, outcome, durable=False)
    if count < len(todo):
        raise Interrupted(
            f"Stopped after {len(faces) - len(todo) + count} of {len(faces)} faces.",
            hint="The faceset is as it was; the same command goes on.",
        )
    return [face for face in faces if face.key not in failed], list(failed.values())


def _maker(options: ResizeOptions, wanted: FaceType | None) -> Callable[[FaceEntry, Face], bytes]:
    """What makes the new file of a face."""

    def work(entry: FaceEntry, face: Face) -> bytes:
        made = resized(face, options.image_size, wanted)
        return replace_payload(encode_jpeg(made.rgb8, options.jpeg_quality), to_payload(made.meta))

    return work


def _is_done(entry: FaceEntry, target: Path) -> bool:
    """Whether an earlier run made this face, after its file last changed."""
    try:
        return entry.source_path.stat().st_mtime_ns <= (target / entry.key).stat().st_mtime_ns
    except OSError:
        return False


def _make_ready(workspace: Workspace, side: Side, target: Path, options: ResizeOptions, report: Report) -> None:
    """An aligned_resized that holds nothing but faces of these options; others' move to the trash."""
    record = workspace.private / "resize" / f"{side}.json"
    wanted = options.model_dump(mode="json", include={"image_size", "face_type", "jpeg_quality"})
    earlier: Any = None
    with contextlib.suppress(OSError, ValueError):
        earlier = parse_json(record.read_text(encoding="utf-8"))
    if target.is_dir() and any(target.iterdir()) and earlier != wanted:
        trash = workspace.new_trash(f"resize-{side}")
        with os_errors(target):
            trash.mkdir(parents=True)
            target.rename(trash / target.name)
        report(Note(f"Moved the earlier {target.name} to {trash.relative_to(workspace.root)}."))
    with os_errors(target):
        target.mkdir(exist_ok=True)
        record.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    files.write_json(record, wanted)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for inner in [path for path in folder.iterdir() if path.is_dir()]:
            inner.rmdir()
        folder.rmdir()
