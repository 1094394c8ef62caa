"""Masks of faces as pictures of their own, beside the faces."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from understudy.errors import FacesetError
from understudy.facesets import Face
from understudy.facesets.options import ExportMasksOptions, MaskFormat
from understudy.facesets.xseg import decode_mask
from understudy.masks import face_hull, rasterise
from understudy.records import Side
from understudy.report import Report, Stop, never, silent
from understudy.stages.pictures_beside import Kind, remove_pictures, write_pictures
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

MASKS = Kind("masks", ("_mask.jpg", "_mask.png"), "Exporting", "Exported masks removed")
_QUALITY = 100


def export_masks(
    workspace: Workspace,
    side: Side,
    options: ExportMasksOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write 00001_0_mask.jpg beside 00001_0.jpg: grey, 0 and 255; or take the exported masks away.

    From the applied mask at its own resolution, else from the outlines at that of the picture, else, when asked for,
    from the landmarks; faces without any are skipped and named. Raises as `draw_landmarks`.
    """
    side, options = Side(side), options or ExportMasksOptions()
    if options.remove:
        return remove_pictures(workspace, side, MASKS, report=report, stop=stop)

    def encoded(face: Face) -> bytes:
        mask = exported(face, outline=options.outline)
        if mask is None:
            raise FacesetError("it has neither a mask nor outlines")
        return _encoded(mask, options.format)

    return write_pictures(
        workspace, side, MASKS, f"_mask.{options.format}", encoded,
        workers=options.workers, report=report, stop=stop,
    )  # fmt: skip


def exported(face: Face, *, outline: bool = False) -> npt.NDArray[np.uint8] | None:
    """The mask that stands for a face as (H, W) uint8, 0 or 255; None when it has none."""
    if face.meta.xseg_mask is not None:
        mask = decode_mask(face.meta.xseg_mask)
    elif face.meta.is_labelled:
        mask = rasterise(face.meta.polygons, face.height, face.width)
    elif outline:
        mask = face_hull(face.meta.landmarks, face.height, face.width, face.meta.eyebrows_expand_mod)
    else:
        return None
    return np.where(mask >= 0.5, 255, 0).astype(np.uint8)


def _encoded(mask: npt.NDArray[np.uint8], kind: MaskFormat) -> bytes:
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if kind is MaskFormat.JPG else []
    done, data = cv2.imencode(f".{kind}", mask, parameters)
    if not done:
        raise FacesetError(f"A mask of shape {mask.shape} could not be encoded.")
    return data.tobytes()
