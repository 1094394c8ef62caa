"""Whether a swapped face keeps the expression and the pose of the face it lies on, from landmarks of both.

Landmarks are (N,68,2) px in the iBUG layout, of the same frames in the same order, read by the same network: what the
network reads wrongly in both does not count, and a swap that changed nothing has an error of 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.evaluation.likeness import correlation
from understudy.geometry import affine
from understudy.geometry.alignment import fit_similarity
from understudy.geometry.expression import eye_opening, mouth_opening
from understudy.geometry.pose import pose

Floats = NDArray[np.float64]

STILL = np.array([27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45])
"""Landmarks that no expression moves much, nose and corners of the eyes: faces are laid on each other by them."""

EYE_CORNERS = (36, 45)


@dataclass(frozen=True)
class ExpressionErrors:
    """How far a swap's expression is from dst's, means over the frames.

    landmarks: mean distance of the landmarks from where dst's expression puts them, % of the distance between the
    outer corners of the eyes. mouth, eyes: mean difference of how far they are open (`geometry.expression`). mouth_r,
    eyes_r: correlation of the same over the frames; None of fewer than 8. pose: mean difference of pitch, yaw and
    roll, degrees.
    """

    landmarks: float
    mouth: float
    eyes: float
    pose: float
    mouth_r: float | None = None
    eyes_r: float | None = None

    def as_json(self) -> dict[str, float | None]:
        return asdict(self)


def expression_errors(swapped: Floats, dst: Floats, *, size: int) -> ExpressionErrors:
    """Compare a swap's landmarks with dst's. size: side of the aligned squares that both lie in, px.

    The swap's landmarks are laid on dst's by a similarity of the points that no expression moves. What is left has a
    constant part, src's other proportions, which is the mean over the frames and is taken away (with fewer than 4
    frames it stays), and the part that counts.
    """
    offsets = np.stack([_offset(one, two) for one, two in zip(swapped, dst, strict=True)])
    if len(offsets) >= 4:
        offsets = offsets - offsets.mean(0)
    mouths = _series(mouth_opening, swapped), _series(mouth_opening, dst)
    eyes = _series(eye_opening, swapped), _series(eye_opening, dst)
    enough = len(dst) >= 8
    return ExpressionErrors(
        landmarks=100 * float(np.linalg.norm(offsets, axis=2).mean()),
        mouth=float(np.abs(mouths[0] - mouths[1]).mean()),
        eyes=float(np.abs(eyes[0] - eyes[1]).mean()),
        pose=float(np.mean([pose_difference(one, two, size) for one, two in zip(swapped, dst, strict=True)])),
        mouth_r=correlation(*mouths) if enough else None,
        eyes_r=correlation(*eyes) if enough else None,
    )


def pose_difference(one: Floats, other: Floats, size: int) -> float:
    """Mean difference of pitch, yaw and roll of two faces (68,2) in a size × size square, degrees."""
    first, second = pose(one, size), pose(other, size)
    angles = [first.pitch - second.pitch, first.yaw - second.yaw, first.roll - second.roll]
    return float(np.degrees(np.abs(angles)).mean())


def _offset(swapped: Floats, dst: Floats) -> Floats:
    """Where the landmarks of a swap lie beside dst's (68,2), in distances between the outer corners of dst's eyes."""
    laid = affine.apply(fit_similarity(swapped[STILL], dst[STILL]), swapped)
    across = float(np.linalg.norm(dst[EYE_CORNERS[0]] - dst[EYE_CORNERS[1]]))
    return np.asarray((laid - dst) / max(across, 1e-6), np.float64)


def _series(measure, landmarks: Floats) -> Floats:  # type: ignore[no-untyped-def]
    return np.array([measure(face) for face in landmarks], np.float64)
