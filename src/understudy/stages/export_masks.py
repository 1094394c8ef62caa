"""Masks of faces as pictures of their own, beside the faces."""

from __future__ import annotations

import time

import cv2
import numpy as np
import numpy.typing as npt

from understudy.errors import FacesetError
from understudy.facesets import Catalog, Face, FaceEntry
from understudy.facesets.options import ExportMasksOptions, MaskFormat
from understudy.facesets.reading import each_face
from understudy.facesets.xseg import decode_mask
from understudy.masks import face_hull, rasterise
from understudy.records import Side
from understudy.report import Report, Stop, never, silent
from understudy.stages.draw_landmarks import drawn_keys, require_no_face, write_beside
from understudy.stages.face_changes import beside, require_loose, to_trash, writing_faces
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

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
    started, side, options = time.perf_counter(), Side(side), options or ExportMasksOptions()
    ending = f"_mask.{options.format}"

    def work(entry: FaceEntry, face: Face) -> bytes:
        mask = exported(face, outline=options.outline)
        if mask is None:
            raise FacesetError("it has neither a mask nor outlines")
        require_no_face(beside(entry, ending))
        return _encoded(mask, options.format)

    with writing_faces(workspace, side) as folder:
        require_loose(workspace, side)
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            faces, skipped = catalog.require_faces(), catalog.skipped
            if options.remove:
                keys = drawn_keys(folder, faces, "_mask.jpg", "_mask.png")
                change = to_trash(workspace, side, keys, title="Exported masks removed")
                count, skipped = len(change.moves), list(change.skipped)
            else:
                made = each_face(faces, work, workers=options.workers, step="Exporting", report=report, stop=stop)
                count, failed = write_beside(made, ending, len(faces))
                skipped += failed
    return StageResult(
        faces=len(faces),
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[folder],
        notes={"removed" if options.remove else "masks": count},
    )


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
