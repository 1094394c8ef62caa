"""Take over faces of DeepFaceLab 1.x, which were PNG files, as faces of today."""

from __future__ import annotations

import time
from pathlib import Path

from understudy.errors import EmptyFaceset, Interrupted, UnderstudyError
from understudy.facesets import encode_jpeg
from understudy.facesets.container import replace_payload
from understudy.facesets.legacy_png import read_png_face
from understudy.facesets.metadata import to_payload
from understudy.facesets.options import ImportPngOptions
from understudy.facesets.reading import each_item
from understudy.files import os_errors, write_bytes
from understudy.records import Side, Skipped
from understudy.report import Report, Stop, never, silent
from understudy.stages.face_changes import require_loose, to_trash, writing_faces
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


def import_png(
    workspace: Workspace,
    side: Side,
    options: ImportPngOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write every PNG face of the aligned folder as a JPEG face of the same stem, with all its data.

    The PNG files stay unless the options say otherwise. A stem that a JPEG file has already is left alone, so a run
    that was stopped goes on. Pictures without face data are skipped and named. Raises EmptyFaceset when no PNG is a
    face, UsageError for a packed faceset, Interrupted, DiskFull, ReadOnlyWorkspace and Busy.
    """
    started, side, options = time.perf_counter(), Side(side), options or ImportPngOptions()
    quality = options.jpeg_quality
    with writing_faces(workspace, side) as folder:
        require_loose(workspace, side)
        files = _png_files(folder)

        def work(path: Path) -> bytes | Skipped | None:
            if path.with_suffix(".jpg").exists():
                return None
            try:
                face = read_png_face(path)
                return replace_payload(encode_jpeg(face.rgb8, quality), to_payload(face.meta))
            except UnderstudyError as error:
                return Skipped(path.name, str(error.context.get("reason", error.message)))

        done: list[str] = []
        skipped: list[Skipped] = []
        items = each_item(files, work, workers=options.workers, step="Importing", report=report, stop=stop)
        for path, outcome in items:
            if isinstance(outcome, Skipped):
                skipped.append(outcome)
                continue
            if outcome is not None:
                write_bytes(path.with_suffix(".jpg"), outcome, durable=False)
            done.append(path.name)
        if len(done) + len(skipped) < len(files):
            raise Interrupted(f"Stopped after {len(done)} faces.", hint="The same command goes on.")
        if not done:
            raise EmptyFaceset(
                f"None of the {len(files)} PNG files in this faceset is a face of an old version."
                if files
                else "There are no PNG files in this faceset.",
                hint="Only PNG faces of DeepFaceLab 1.x are taken over; others need extracting again.",
                folder=folder,
            )
        if options.delete_originals:
            change = to_trash(workspace, side, done, title="Imported PNG faces set aside", report=report, stop=stop)
            skipped += change.skipped
    return StageResult(
        faces=len(done), skipped=skipped, seconds=time.perf_counter() - started, outputs=[folder]
    )  # fmt: skip


def _png_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os_errors(folder):
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() == ".png" and not path.name.startswith(".") and path.is_file()
        )
