"""Pictures of faces with their landmarks drawn on them, to be looked through beside the faces."""

from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt

from understudy.detection import drawing
from understudy.facesets import Face, encode_jpeg
from understudy.facesets.options import DrawLandmarksOptions
from understudy.geometry.alignment import transform
from understudy.masks.hull import face_hull
from understudy.records import FaceType, Side
from understudy.report import Report, Stop, never, silent
from understudy.stages.pictures_beside import Kind, remove_pictures, write_pictures
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

ENDING = "_debug.jpg"
DRAWN = Kind("drawn", (ENDING,), "Drawing", "Drawn landmarks removed")
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
    side, options = Side(side), options or DrawLandmarksOptions()
    if options.remove:
        return remove_pictures(workspace, side, DRAWN, report=report, stop=stop)
    return write_pictures(
        workspace, side, DRAWN, ENDING, lambda face: encode_jpeg(drawn(face), options.jpeg_quality),
        workers=options.workers, report=report, stop=stop,
    )  # fmt: skip


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
