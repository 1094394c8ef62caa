"""meta.dat: the data of all faces in one file, so that pictures can be edited with programs that drop it.

{ '00001_0.jpg': ((height, width, 3), {the face's data}), … }      pickled; one meta.dat per folder of faces
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from understudy import files
from understudy.errors import Interrupted, UnderstudyError, UnreadableFace, UsageError, WorkspaceError
from understudy.facesets import Catalog, FaceEntry, FaceMeta, decode_jpeg, encode_jpeg, metadata, pickles
from understudy.facesets.container import MAX_PIXELS, parse_header, replace_payload
from understudy.facesets.faces import FACE_SUFFIXES
from understudy.facesets.metadata import base_name
from understudy.files import os_errors
from understudy.records import Side, Skipped
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.stages.face_changes import require_loose, staging, swap_in, to_trash, writing_faces
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

META_NAME = "meta.dat"
_RESIZED_QUALITY = 100


def save_meta(workspace: Workspace, side: Side, *, report: Report = silent, stop: Stop = never) -> StageResult:
    """Write the data of all faces of `side` into meta.dat, one in each folder of faces; the faces stay as they are.

    An earlier meta.dat moves to aligned_trash. Raises EmptyFaceset, UsageError for a packed faceset, Interrupted,
    DiskFull, ReadOnlyWorkspace and Busy.
    """
    started, side = time.perf_counter(), Side(side)
    with writing_faces(workspace, side) as folder:
        require_loose(workspace, side)
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            faces, skipped = catalog.require_faces(), catalog.skipped
            pace = Pace("Saving", len(faces), report, unit="faces")
            made = []
            for person, group in groupby(faces, key=lambda face: face.person):
                key = f"{person}/{META_NAME}" if person else META_NAME
                with files.writing(folder / key) as temp:
                    _write_backup(temp, list(group), pace, stop)
                    if (folder / key).exists():
                        to_trash(workspace, side, [key], title="Earlier meta.dat set aside")
                made.append(folder / key)
    return StageResult(faces=len(faces), skipped=skipped, seconds=time.perf_counter() - started, outputs=made)


def restore_meta(workspace: Workspace, side: Side, *, report: Report = silent, stop: Stop = never) -> StageResult:
    """Give every picture of `side` the data that meta.dat holds under its name.

    A picture of another size than it had is brought back to that size; other pictures keep their bytes. What the files
    were before moves to aligned_trash, as one change that can be undone. meta.dat stays. Pictures without an entry, and
    entries that make no sense, are skipped and named. Raises UsageError without meta.dat and for a packed faceset,
    UnsafeFile for a meta.dat that holds more than data, Interrupted, DiskFull, ReadOnlyWorkspace and Busy.
    """
    started, side = time.perf_counter(), Side(side)
    with writing_faces(workspace, side) as folder, staging(workspace, side, "restore-meta") as made:
        require_loose(workspace, side)
        backups = _backups(folder)
        if not backups:
            raise UsageError(
                "There is no meta.dat in this faceset.",
                hint=f"It is made, before the pictures are edited, with: understudy faceset save-meta {side}",
                folder=folder,
            )
        keys: list[str] = []
        skipped: list[Skipped] = []
        unchanged = 0
        for backup in backups:
            for key, outcome in _restored(backup, folder, made, report, stop):
                if isinstance(outcome, Skipped):
                    skipped.append(outcome)
                elif outcome:
                    keys.append(key)
                else:
                    unchanged += 1
        if keys:
            change = swap_in(workspace, side, keys, made, title="Restored data", report=report, stop=stop)
            skipped += change.skipped
        report(Note(f"{len(keys)} faces got their data back; {unchanged} had it."))
    notes: dict[str, Any] = {"restored": len(keys), "unchanged": unchanged}
    notes |= {"undo": f"understudy faceset undo {side}"} if keys else {}
    return StageResult(
        faces=len(keys) + unchanged,
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[folder],
        notes=notes,
    )


def _write_backup(path: Path, faces: Sequence[FaceEntry], pace: Pace, stop: Stop) -> None:
    def entries() -> Iterator[tuple[str, Any]]:
        for face in faces:
            if stop():
                raise Interrupted("Stopped; no meta.dat was written.", hint="Run the same command again.")
            yield face.name, ((face.height, face.width, 3), metadata.to_dict(face.meta))
            pace.advance()

    with path.open("wb") as handle:
        for piece in pickles.dump_entries(entries(), protocol=3):
            handle.write(piece)


def _backups(folder: Path) -> list[Path]:
    """meta.dat of the folder, else of its sub-folders."""
    if not folder.is_dir():
        return []
    if (folder / META_NAME).is_file():
        return [folder / META_NAME]
    subs = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [sub / META_NAME for sub in subs if (sub / META_NAME).is_file()]


def _restored(
    backup: Path, folder: Path, made: Path, report: Report, stop: Stop
) -> Iterator[tuple[str, bool | Skipped]]:
    """For every picture or entry: its key, and whether a changed file now lies in `made`, or why it could not be."""
    left = {entry.name for entry in os.scandir(backup.parent) if _is_picture(entry)}
    prefix = backup.parent.relative_to(folder)
    pace = Pace("Restoring", len(left), report, unit="faces")
    with backup.open("rb") as handle:
        for name, stored in pickles.stream(handle, backup.stat().st_size, dict):
            if stop():
                raise Interrupted("Stopped; the faces are as they were.", hint="Run the same command again.")
            if name not in left:  # so only names of files that are here are ever used as names
                continue
            left.discard(name)
            key = (prefix / base_name(name)).as_posix()
            try:
                yield key, _restore(backup.parent / name, stored, made / key)
            except WorkspaceError:  # a full disk is nothing that one face has
                raise
            except UnderstudyError as error:
                yield key, Skipped(key, str(error.context.get("reason", error.message)))
            pace.advance()
    for name in sorted(left):
        key = (prefix / name).as_posix()
        yield key, Skipped(key, "meta.dat has no entry of this name")


def _restore(path: Path, stored: Any, target: Path) -> bool:
    """Write the picture with its old data to `target`; False when it has that data already."""
    (height, width), meta = _entry(stored)
    try:
        before = path.read_bytes()
    except OSError as error:
        raise UnreadableFace(f"The file cannot be read: {error.strerror or error}.") from None
    jpeg = before
    if parse_header(before).size != (height, width):
        picture = cv2.resize(decode_jpeg(before), (width, height), interpolation=cv2.INTER_LANCZOS4)
        jpeg = encode_jpeg(np.asarray(picture, np.uint8), _RESIZED_QUALITY)
    after = replace_payload(jpeg, metadata.to_payload(meta))
    if after == before:
        return False
    with os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(target, after, durable=False)
    return True


def _entry(stored: Any) -> tuple[tuple[int, int], FaceMeta]:
    """Size and data of an entry. Raises UnreadableFace."""
    if isinstance(stored, (tuple, list)) and len(stored) == 2 and isinstance(stored[1], dict) and stored[1]:
        shape = stored[0]
        if isinstance(shape, (tuple, list)) and len(shape) >= 2 and all(type(side) is int for side in shape[:2]):
            height, width = shape[:2]
            if min(height, width) > 0 and height * width <= MAX_PIXELS:
                return (height, width), metadata.from_dict(stored[1])
    raise UnreadableFace("The entry of meta.dat makes no sense.")


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(FACE_SUFFIXES) and not entry.name.startswith(".") and files.is_file(entry)
