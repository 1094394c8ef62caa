"""Does the swapped face do what the dst face did? Measured on merged frames against the footage's known truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.demo.footage import Truth
from understudy.demo.rig import Floats
from understudy.demo.summary import GOOD_CORRELATION
from understudy.detection import load_engine
from understudy.evaluation.likeness import correlation, head_yaw
from understudy.geometry.expression import mouth_opening
from understudy.masks import face_hull
from understudy.report import Report, Stop, never, silent, track


@dataclass(frozen=True)
class Verdict:
    """Correlation of merged frames with the dst truth, and what the untouched plate reaches under the same measure.

    changed: mean difference between merged face and plate inside the face, in 8-bit levels: a merge that did nothing
    would follow the plate perfectly. frames: how many were measured; missed: of these, how many showed no face.
    """

    mouth: float
    yaw: float
    plate_mouth: float
    plate_yaw: float
    changed: float
    frames: int
    missed: int

    @property
    def good(self) -> bool:
        return self.mouth >= GOOD_CORRELATION and self.yaw >= GOOD_CORRELATION and self.changed > 2

    def as_json(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "missed": self.missed,
            "mouth_correlation": round(self.mouth, 3),
            "yaw_correlation": round(self.yaw, 3),
            "plate_mouth_correlation": round(self.plate_mouth, 3),
            "plate_yaw_correlation": round(self.plate_yaw, 3),
            "changed_levels": round(self.changed, 2),
            "good": self.good,
        }


def judge(
    plates: Path, merged: Path, truth: Truth, indexes: Iterable[int], *, report: Report = silent, stop: Stop = never
) -> Verdict:
    """Measure the frames `indexes` (from 0) of two folders of numbered pictures (00001.png is frame 0)."""
    wanted = list(indexes)
    shown, untouched, changes = [], [], []
    engine = load_engine()
    for index in track(wanted, "Judging the result", report, stop):
        plate, result = _picture(plates, index), _picture(merged, index)
        untouched.append(_measure(engine.find(plate, max_faces=1)))
        shown.append(_measure(engine.find(result, max_faces=1)))
        changes.append(_change(plate, result, truth.landmarks[index]))
    measured, reference = np.array(shown).reshape(-1, 2), np.array(untouched).reshape(-1, 2)
    done = wanted[: len(measured)]
    mouth, yaw = truth.mouth_opening[done], truth.yaw[done]
    return Verdict(
        mouth=correlation(measured[:, 0], mouth),
        yaw=correlation(measured[:, 1], yaw),
        plate_mouth=correlation(reference[:, 0], mouth),
        plate_yaw=correlation(reference[:, 1], yaw),
        changed=float(np.mean(changes)) if changes else 0.0,
        frames=len(done),
        missed=int(np.isnan(measured[:, 0]).sum()),
    )


def _measure(found: list[Any]) -> tuple[float, float]:
    if not found:
        return float("nan"), float("nan")
    landmarks: Floats = found[0].landmarks
    return mouth_opening(landmarks), head_yaw(landmarks)


def _change(plate: NDArray[np.uint8], result: NDArray[np.uint8], landmarks: Floats) -> float:
    hull = face_hull(landmarks, *plate.shape[:2]) > 0
    return float(np.abs(plate[hull].astype(np.float32) - result[hull]).mean()) if hull.any() else 0.0


def _picture(folder: Path, index: int) -> NDArray[np.uint8]:
    with Image.open(folder / f"{index + 1:05d}.png") as image:
        return np.array(image.convert("RGB"))
