"""Pictures of faces with their landmarks drawn on them, to be looked through beside the faces."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from understudy import files
from understudy.detection import drawing
from understudy.errors import FacesetError, Interrupted, UnderstudyError, UsageError
from understudy.facesets import Catalog, Face, FaceEntry, encode_jpeg, read_meta
from understudy.facesets.options import DrawLandmarksOptions
from understudy.facesets.reading import each_face
from understudy.facesets.scanning import face_beside
from understudy.geometry.alignment import transform
from understudy.masks.hull import face_hull
from understudy.records import FaceType, Side, Skipped
from understudy.report import Report, Stop, never, silent
from understudy.stages.face_changes import beside, require_loose, to_trash, writing_faces
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

ENDING = "_debug.jpg"
_SQUARE_SIZE = 256


def draw_landmarks(
    workspace: Workspace,
    side: Side,
    options: DrawLandmarksOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write 00001_0_debug.jpg beside 00001_0.jpg, with the landmarks and the darkened hull; or take them all away.

    Drawn pictures have no face data and are not listed as part of the faceset. Raises EmptyFaceset, UsageError for a
    packed faceset, Interrupted, DiskFull, ReadOnlyWorkspace and Busy.
    """
    started, side, options = time.perf_counter(), Side(side), options or DrawLandmarksOptions()
    quality = options.jpeg_quality

    def work(entry: FaceEntry, face: Face) -> bytes:
        require_no_face(beside(entry, ENDING))
        return encode_jpeg(drawn(face), quality)

    with writing_faces(workspace, side) as folder:
        require_loose(workspace, side)
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            faces, skipped = catalog.require_faces(), catalog.skipped
            if options.remove:
                change = to_trash(workspace, side, drawn_keys(folder, faces, ENDING), title="Drawn landmarks removed")
                count, skipped = len(change.moves), list(change.skipped)
            else:
                made = each_face(faces, work, workers=options.workers, step="Drawing", report=report, stop=stop)
                count, failed = write_beside(made, ENDING, len(faces))
                skipped += failed
    return StageResult(
        faces=len(faces),
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[folder],
        notes={"removed" if options.remove else "drawn": count},
    )


def write_beside(
    made: Iterable[tuple[FaceEntry, bytes | Skipped]], ending: str, total: int
) -> tuple[int, list[Skipped]]:
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


def drawn(face: Face) -> npt.NDArray[np.uint8]:
    """The face's picture with landmarks: lines, dots and the hull at half brightness; for a whole frame its box."""
    picture = face.rgb8.copy()
    landmarks = face.meta.landmarks
    drawing.draw_landmarks(picture, landmarks)
    if face.meta.face_type is not FaceType.MARK_ONLY:
        drawing.darken(picture, face_hull(landmarks, face.height, face.width))
        return picture
    if face.meta.source_rect is not None:
        drawing.draw_rect(picture, face.meta.source_rect)
    with contextlib.suppress(ValueError):  # landmarks that span no face have no square
        drawing.draw_square(picture, transform(landmarks, _SQUARE_SIZE, FaceType.FULL), _SQUARE_SIZE)
    return picture


def drawn_keys(folder: Path, faces: list[FaceEntry], *endings: str) -> list[str]:
    """Keys of the pictures that were drawn of these faces and are there."""
    return [path.relative_to(folder).as_posix() for path in _drawn_files(faces, endings)]


def _drawn_files(faces: list[FaceEntry], endings: tuple[str, ...]) -> Iterator[Path]:
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


def require_no_face(path: Path) -> None:
    """Raise FacesetError when a drawn picture would take the place of a face."""
    if not _is_file(path):
        return
    try:
        read_meta(path)
    except UnderstudyError:
        return
    raise FacesetError(f"{path.name} is a face itself; it was left alone.")
