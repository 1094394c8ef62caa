"""Smoothing: how much landmarks, and the aligned pictures cut by them, tremble without and with it.

On drawn shots of known truth: the second difference of the landmarks over time, and their distance from the truth. On
real footage, where the truth is not known: the second difference of the aligned pictures themselves. A camera held by
hand shakes; if smoothing ignored that, the pictures would tremble more than without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.extraction import MEDIA
from understudy.demo.footage import Performer, draw_shot
from understudy.detection import load_engine
from understudy.detection.smoothing import REACH, smooth
from understudy.geometry.alignment import transform
from understudy.media import open_footage
from understudy.records import FaceType

CLIPS = (
    "clips/man_a_frontal_blink_540x960.mp4",
    "clips/man_b_talking_360x288.mp4",
    "clips/man_d_lowkey_hand_1920x1080.mp4",
)
SIDE, INNER = 160, slice(30, 120)
STRETCH = 12

Points = NDArray[np.float64]
Pictures = list[NDArray[np.uint8]]


def run(quick: bool = False) -> dict[str, Any]:
    """Per shot and clip what smoothing changes, in percent."""
    figures: dict[str, Any] = {}
    for performer in Performer:
        for seed in (1,) if quick else (1, 5):
            shot = draw_shot(performer, frames=90, fps=25, size=(640, 480), seed=seed)
            found = _found(list(shot.frames()))
            steady, truth = smoothed(found), shot.truth.landmarks
            figures[f"drawn {performer} {seed}"] = {
                "landmarks_second_difference_percent": _change(_second(found), _second(steady)),
                "error_percent": _change(_distance(found, truth), _distance(steady, truth)),
            }
    for clip in CLIPS if (MEDIA / "manifest.json").is_file() else ():
        pictures = _pictures(MEDIA / clip, 50 if quick else 150)
        found = _found(pictures)
        steady = smoothed(found)
        figures[Path(clip).name] = {
            "landmarks_second_difference_percent": _change(_second(found), _second(steady)),
            "aligned_pictures_second_difference_percent": _change(
                _flicker(pictures, found), _flicker(pictures, steady)
            ),
        }
    return figures


def smoothed(found: Points) -> Points:
    """Every frame of landmarks (n, 68, 2)."""
    made = []
    for index in range(len(found)):
        first, last = max(0, index - REACH), min(len(found), index + REACH + 1)
        made.append(smooth(list(found[first:last]), index - first, [frame - index for frame in range(first, last)]))
    return np.stack(made)


def _pictures(path: Path, count: int) -> Pictures:
    with open_footage(path) as footage:
        return [frame.rgb8 for frame, _ in zip(footage.frames(), range(count), strict=False)]


def _found(pictures: Pictures) -> Points:
    """Landmarks of the largest face of every picture, as extraction finds them."""
    engine, previous, found = load_engine(), None, []
    for index, picture in enumerate(pictures):
        previous = engine.find(picture, previous=None if index % STRETCH == 0 else previous)
        found.append(previous[0].landmarks)
    return np.stack(found)


def _second(landmarks: Points) -> float:
    return float(np.linalg.norm(np.diff(landmarks, 2, axis=0), axis=-1).mean())


def _distance(landmarks: Points, truth: Points) -> float:
    return float(np.linalg.norm(landmarks - truth, axis=-1).mean())


def _flicker(pictures: Pictures, landmarks: Points) -> float:
    """Median over time of the second difference of the aligned pictures' middles, grey and slightly blurred."""
    crops = []
    for picture, points in zip(pictures, landmarks, strict=True):
        crop = cv2.warpAffine(picture, transform(points, SIDE, FaceType.FULL), (SIDE, SIDE))
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
        crops.append(cv2.GaussianBlur(grey, (0, 0), 1.2)[INNER, INNER])
    return float(np.median(np.sqrt(np.square(np.diff(np.array(crops), 2, axis=0)).mean(axis=(1, 2)))))


def _change(before: float, after: float) -> float:
    return round(100 * (after / before - 1), 1)
