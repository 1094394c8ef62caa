"""Pack a faceset into one file, faceset.pak, which every program of this field reads in place of loose faces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from understudy.errors import UsageError
from understudy.facesets import Catalog, FaceEntry
from understudy.facesets.changes import Move, apply
from understudy.facesets.options import PackOptions
from understudy.facesets.packs import PACK_NAME, each_packed, write_pack
from understudy.files import sweep
from understudy.records import Side
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.face_changes import staging, to_trash, writing_faces
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


def pack(
    workspace: Workspace,
    side: Side,
    options: PackOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write the faces of `side`, with their persons, into faceset.pak, byte for byte as they are.

    The loose faces stay unless the options say otherwise; nothing reads them while the pack is there. Pictures without
    face data are not packed and stay in any case. With `delete_originals` a pack that holds the loose faces already, as
    a process leaves it that was killed before it moved them, is gone on with. Raises UsageError when there is another
    pack and `replace` is off, and what `write_pack` and `Catalog.open` raise; a pack appears whole or not at all.
    """
    started, side, options = time.perf_counter(), Side(side), options or PackOptions()
    with writing_faces(workspace, side) as folder:
        path = folder / PACK_NAME
        there = path.is_file()
        if there and not (options.replace or options.delete_originals):
            raise _packed_already(side)
        sweep(folder, PACK_NAME)
        cache = None if there else workspace.catalogs
        with Catalog.open(folder, cache=cache, loose=there, report=report, stop=stop) as catalog:
            faces, skipped = (catalog.faces() if there else catalog.require_faces()), catalog.skipped
            if there and not options.replace:
                if not _holds(path, faces):
                    raise _packed_already(side)
                report(Note("faceset.pak holds these faces already."))
            elif there:
                catalog.require_faces()
                _write_in_place_of(workspace, side, faces, report, stop)
            else:
                write_pack(folder, faces, report=report, stop=stop)
            if options.delete_originals:
                keys = [face.key for face in faces]
                change = to_trash(workspace, side, keys, title="Packed faces set aside", report=report, stop=stop)
                skipped += change.skipped
            elif faces:
                report(Note("The loose faces stay where they are; while faceset.pak is there, nothing reads them."))
            persons = sorted({face.person for face in faces if face.person})
    return StageResult(
        faces=len(faces),
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[path],
        notes={"bytes": path.stat().st_size, "persons": persons, "originals_moved": options.delete_originals},
    )


def _packed_already(side: Side) -> UsageError:
    return UsageError(
        "There is a faceset.pak already; it is what every program reads here.",
        hint=f"Unpack it: understudy faceset unpack {side}. Or pack the loose faces anew with --replace.",
    )


def _holds(pack: Path, faces: Sequence[FaceEntry]) -> bool:
    """Whether the pack holds each of these loose faces, of which there are some, byte for byte."""
    left = {face.key: face.path for face in faces}
    with pack.open("rb") as handle:
        for packed in each_packed(pack):
            path = left.get(packed.key)
            if path is not None:
                handle.seek(packed.offset)
                if handle.read(packed.size) != path.read_bytes():
                    return False
                del left[packed.key]
    return bool(faces) and not left


def _write_in_place_of(
    workspace: Workspace, side: Side, faces: Sequence[FaceEntry], report: Report, stop: Stop
) -> None:
    """Write a pack and swap it for the one that is there, which moves to aligned_trash."""
    paths = workspace.side(side)
    with staging(workspace, side, "pack") as made:
        written: Path = write_pack(made, faces, report=report, stop=stop).path
        moves = [
            Move(paths.aligned / PACK_NAME, paths.aligned_trash / PACK_NAME),
            Move(written, paths.aligned / PACK_NAME),
        ]
        apply(moves, title="Packed anew", journal_folder=workspace.changes(side), report=report, stop=stop)
