"""Pictures made of faces and written beside them: drawn landmarks, exported masks. They are no part of the faceset."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy import files
from understudy.errors import FacesetError, Interrupted, UnderstudyError, UsageError
from understudy.facesets import Catalog, Face, FaceEntry, read_meta
from understudy.facesets.reading import each_face
from understudy.facesets.scanning import face_beside
from understudy.records import Side, Skipped
from understudy.report import Report, Stop
from understudy.stages.face_changes import beside, require_loose, to_trash, writing_faces
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


@dataclass(frozen=True)
class Kind:
    """One kind of such pictures. endings: of their names, of all formats. name: of their count in the result."""

    name: str
    endings: tuple[str, ...]
    step: str
    removed: str


def write_pictures(
    workspace: Workspace, side: Side, kind: Kind, ending: str, make: Callable[[Face], bytes], *,
    workers: int, report: Report, stop: Stop,
) -> StageResult:  # fmt: skip
    """Write `make(face)`, an encoded picture, beside every face under its name with `ending`.

    A face for which `make` raises an error of ours is skipped and named; so is one beside which a face of that name
    lies. Raises EmptyFaceset, UsageError for a packed faceset, Interrupted, DiskFull, ReadOnlyWorkspace and Busy.
    """
    started = time.perf_counter()

    def work(entry: FaceEntry, face: Face) -> bytes:
        _require_no_face(beside(entry, ending))
        return make(face)

    with _faces(workspace, side, report, stop) as (folder, faces, skipped):
        made = each_face(faces, work, workers=workers, step=kind.step, report=report, stop=stop)
        count, failed = _write(made, ending, len(faces))
    return _result(started, folder, faces, [*skipped, *failed], {kind.name: count})


def remove_pictures(workspace: Workspace, side: Side, kind: Kind, *, report: Report, stop: Stop) -> StageResult:
    """Move the pictures of this kind to the trash, with a way back. Raises as `write_pictures`."""
    started = time.perf_counter()
    with _faces(workspace, side, report, stop) as (folder, faces, _):
        keys = [path.relative_to(folder).as_posix() for path in _files(faces, kind.endings)]
        change = to_trash(workspace, side, keys, title=kind.removed)
    return _result(started, folder, faces, list(change.skipped), {"removed": len(change.moves)})


@contextlib.contextmanager
def _faces(
    workspace: Workspace, side: Side, report: Report, stop: Stop
) -> Iterator[tuple[Path, list[FaceEntry], list[Skipped]]]:
    """The folder, its faces, and what of it cannot be used; held against other writers."""
    with writing_faces(workspace, side) as folder:
        require_loose(workspace, side)
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            yield folder, catalog.require_faces(), catalog.skipped


def _result(
    started: float, folder: Path, faces: list[FaceEntry], skipped: list[Skipped], notes: dict[str, int]
) -> StageResult:
    seconds = time.perf_counter() - started
    return StageResult(faces=len(faces), skipped=skipped, seconds=seconds, outputs=[folder], notes=dict(notes))


def _write(made: Iterable[tuple[FaceEntry, bytes | Skipped]], ending: str, total: int) -> tuple[int, list[Skipped]]:
    """Write each picture beside its face. Gives how many, and what could not be made.

    Written here and not where it was made: a full disk ends the run, it is nothing that one face has. Raises
    Interrupted when there are fewer than `total`.
    """
    count, skipped = 0, list[Skipped]()
    for entry, outcome in made:
        refused = outcome if isinstance(outcome, Skipped) else _written(entry, ending, outcome)
        if refused is None:
            count += 1
        else:
            skipped.append(refused)
    if count + len(skipped) < total:
        raise Interrupted(f"Stopped after {count + len(skipped)} of {total} faces.", hint="Run it again.")
    return count, skipped


def _written(entry: FaceEntry, ending: str, picture: bytes) -> Skipped | None:
    """None when the picture lies beside its face; a face whose name has no room for the ending is passed over."""
    try:
        files.write_bytes(beside(entry, ending), picture, durable=False)
    except UsageError as error:
        return Skipped(entry.key, error.message)
    return None


def _files(faces: list[FaceEntry], endings: tuple[str, ...]) -> Iterator[Path]:
    known = {face.key for face in faces}
    for face in faces:
        for ending in endings:
            path = beside(face, ending)
            key = f"{face.person}/{path.name}" if face.person else path.name
            if key not in known and face_beside(key) is not None and _is_file(path):
                yield path


def _is_file(path: Path) -> bool:
    """Whether there is such a file; not where the name is longer than the disk takes."""
    with contextlib.suppress(OSError):
        return path.is_file()
    return False


def _require_no_face(path: Path) -> None:
    """Raise FacesetError when such a picture would take the place of a face."""
    if not _is_file(path):
        return
    try:
        read_meta(path)
    except UnderstudyError:
        return
    raise FacesetError(f"{path.name} is a face itself; it was left alone.")
