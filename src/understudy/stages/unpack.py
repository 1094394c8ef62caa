"""Unpack faceset.pak into loose face files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from understudy import files
from understudy.errors import FacesetError, Interrupted, UnderstudyError, UsageError
from understudy.facesets import metadata, read_meta
from understudy.facesets.container import parse_header, replace_payload
from understudy.facesets.faces import FACE_SUFFIXES
from understudy.facesets.options import UnpackOptions
from understudy.facesets.packs import PACK_NAME, PackedFace, count_packed, each_packed
from understudy.files import os_errors, sweep, sync_folder
from understudy.records import Side, Skipped
from understudy.report import Pace, Report, Stop, never, silent
from understudy.stages.face_changes import to_trash, writing_faces
from understudy.stages.result import StageResult
from understudy.workspace import IMAGE_SUFFIXES, Workspace

NAMED = 5


def unpack(
    workspace: Workspace,
    side: Side,
    options: UnpackOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write every face of faceset.pak back as a loose file, one folder per person; the pack moves to aligned_trash.

    Until the last face is written the pack stays, and is what everything reads; a run that was stopped goes on where it
    was. Loose pictures that are not in the pack, or differ from it, are in the way: UsageError, or with `replace` they
    move to aligned_trash first. Raises UnreadableFace and UnsafeFile for a pack that cannot be trusted, before anything
    is written; Interrupted, DiskFull, ReadOnlyWorkspace, Busy.
    """
    started, side, options = time.perf_counter(), Side(side), options or UnpackOptions()
    with writing_faces(workspace, side) as folder:
        pack = folder / PACK_NAME
        if not pack.is_file():
            raise UsageError(
                "There is no faceset.pak in this faceset.", hint=f"Its faces are loose: understudy faceset info {side}"
            )
        in_the_way = _survey(pack, folder, report, stop)
        if in_the_way and not options.replace:
            named = ", ".join(in_the_way[:NAMED]) + (" …" if len(in_the_way) > NAMED else "")
            raise UsageError(
                f"{len(in_the_way)} loose pictures in the folder are not those of the pack: {named}",
                hint="Look at them and move them away, or run it again with --replace, which puts them into "
                "aligned_trash.",
            )
        if in_the_way:
            to_trash(workspace, side, in_the_way, title="Loose faces set aside", report=report, stop=stop)
        count, skipped = _write_all(pack, folder, report, stop)
        to_trash(workspace, side, [PACK_NAME], title="Unpacked", report=report)
    return StageResult(
        faces=count,
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[folder],
        notes={"undo": f"understudy faceset undo {side}", "pack": str(workspace.side(side).aligned_trash / PACK_NAME)},
    )


def _survey(pack: Path, folder: Path, report: Report, stop: Stop) -> list[str]:
    """Read the pack's list to its end, so that a bad one is refused first; gives loose pictures that would mix with it.

    A loose file that is already what it would become is no obstacle, nor is one that no program would take for a face.
    """
    loose = dict(_loose_pictures(folder))
    differing: list[str] = []
    has_persons = False
    pace = Pace("Reading the pack", count_packed(pack), report, unit="faces")
    with pack.open("rb") as handle:
        for face in each_packed(pack):
            _require_going(stop)
            has_persons = has_persons or face.person is not None
            path = loose.pop(face.key, None)
            if path is not None and not _is_there(path, _content(handle, face)):
                differing.append(face.key)
            pace.advance()
    return sorted([*differing, *(key for key, path in loose.items() if _would_mix(key, path, has_persons))])


def _would_mix(key: str, path: Path, has_persons: bool) -> bool:
    """Whether a picture would count as a face, or hide faces, once there is no pack."""
    in_sub_folder = "/" in key
    if in_sub_folder != has_persons:
        return has_persons  # loose pictures hide the persons' folders; without persons nobody looks into folders
    try:
        return read_meta(path).has_landmarks
    except UnderstudyError:
        return False


def _write_all(pack: Path, folder: Path, report: Report, stop: Stop) -> tuple[int, list[Skipped]]:
    taken: set[str] = set()
    skipped: list[Skipped] = []
    folders = {folder}
    pace = Pace("Unpacking", count_packed(pack), report, unit="faces")
    sweep(folder)
    with pack.open("rb") as handle:
        for face in each_packed(pack):
            _require_going(stop)
            reason = _why_not(face, taken)
            if reason:
                skipped.append(Skipped(face.key, reason))
                continue
            taken.add(face.key.casefold())
            path = folder / face.key
            if path.parent not in folders:
                with os_errors(path.parent):
                    path.parent.mkdir(exist_ok=True)
                folders.add(path.parent)
            data = _content(handle, face)
            if not _is_there(path, data):
                files.write_bytes(path, data, durable=False)  # the pack itself stays, in the trash
            pace.advance()
    for made in folders:
        sync_folder(made)
    return len(taken), skipped


def _why_not(face: PackedFace, taken: set[str]) -> str:
    """Why a face of a pack cannot be a file of the folder; empty when it can."""
    if not face.name.lower().endswith(FACE_SUFFIXES) or face.name.startswith("."):
        return "its name is not that of a face file; it stays in the pack"
    if (face.person or "").startswith("."):
        return "its person's name begins with a dot; it stays in the pack"
    if face.key.casefold() in taken:
        return "an earlier face of the pack has the same name; it stays in the pack"
    return ""


def _content(handle: BinaryIO, face: PackedFace) -> bytes:
    """The file of a packed face: as it was, or with the pack's data where it has none of its own."""
    handle.seek(face.offset)
    data = handle.read(face.size)
    if len(data) != face.size:
        raise FacesetError("faceset.pak became shorter while it was read.", hint="Run the same command again.")
    try:
        if not parse_header(data).payloads:
            return replace_payload(data, metadata.to_payload(face.meta()))
    except UnderstudyError:
        pass  # what cannot be read stays as it is; the catalog will name it
    return data


def _is_there(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _loose_pictures(folder: Path) -> Iterator[tuple[str, Path]]:
    """Pictures of the folder and of its persons' folders, by key."""
    for entry in _entries(folder):
        if files.is_folder(entry) and not entry.name.startswith("."):
            for inner in _entries(entry.path):
                if _is_picture(inner):
                    yield f"{entry.name}/{inner.name}", Path(inner.path)
        elif _is_picture(entry):
            yield entry.name, Path(entry.path)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(IMAGE_SUFFIXES) and not entry.name.startswith(".") and files.is_file(entry)


def _require_going(stop: Stop) -> None:
    if stop():
        raise Interrupted(
            "Stopped; faceset.pak is still there and still what everything reads.", hint="Run the same command again."
        )
