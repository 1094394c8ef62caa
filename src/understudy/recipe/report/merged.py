"""Frames before and after the merge, side by side, for the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UnderstudyError
from understudy.media import FrameSource, open_footage
from understudy.recipe.report.pictures import jpeg
from understudy.records import Side
from understudy.workspace import IMAGE_SUFFIXES, Workspace

SAMPLES = 3
FRAME_WIDTH, FACE_WIDTH = 640, 360
CHANGED_LEVELS = 12
"""A pixel that differs by more counts as changed."""
MARGIN = 0.35
"""How much around the changed pixels is shown with the face, as a share of their size."""


@dataclass(frozen=True)
class Sample:
    """One frame as JPEGs: the plate and the result, whole and around the face. face: None where nothing changed."""

    name: str
    before: bytes
    after: bytes
    face_before: bytes | None = None
    face_after: bytes | None = None


def samples(workspace: Workspace, merged: Path, count: int = SAMPLES) -> list[Sample]:
    """Some frames of a merge, spread over it; none where it, or the plate, cannot be read.

    merged: the folder of merged frames, or the video that was written at once.
    """
    try:
        with workspace.footage(Side.DST) as plate, open_footage(merged) as result:
            return [sample for index in _spread(plate, merged, count) if (sample := _sample(plate, result, index))]
    except (UnderstudyError, OSError, ValueError):
        return []


def _spread(plate: FrameSource, merged: Path, count: int) -> list[int]:
    """Indexes of frames that are there in both, evenly spread."""
    total = plate.estimated_count or 0
    if merged.is_dir():
        total = min(total, sum(path.suffix.lower() in IMAGE_SUFFIXES for path in merged.iterdir()))
    count = min(count, total)
    return [(2 * k + 1) * total // (2 * count) for k in range(count)]


def _sample(plate: FrameSource, result: FrameSource, index: int) -> Sample | None:
    old, new = next(plate.frames(index), None), next(result.frames(index), None)
    if old is None or new is None or old.rgb8.shape != new.rgb8.shape:
        return None
    name = Path(old.name).stem
    frames = [jpeg(picture, width=FRAME_WIDTH) for picture in (old.rgb8, new.rgb8)]
    box = _changed(old.rgb8, new.rgb8)
    if box is None:
        return Sample(name, frames[0], frames[1])
    faces = [jpeg(picture[box], width=FACE_WIDTH) for picture in (old.rgb8, new.rgb8)]
    return Sample(name, frames[0], frames[1], faces[0], faces[1])


def _changed(old: NDArray[np.uint8], new: NDArray[np.uint8]) -> tuple[slice, slice] | None:
    """The square around what the merge changed."""
    changed = np.abs(old.astype(np.int16) - new.astype(np.int16)).max(axis=2) > CHANGED_LEVELS
    rows, across = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if len(rows) < 8 or len(across) < 8:
        return None
    height, width = old.shape[:2]
    side = min(height, width, int(max(np.ptp(rows), np.ptp(across)) * (1 + MARGIN)))
    top = int(np.clip((rows[0] + rows[-1] - side) // 2, 0, height - side))
    left = int(np.clip((across[0] + across[-1] - side) // 2, 0, width - side))
    return slice(top, top + side), slice(left, left + side)
