"""What one faceset covers of another: pose, light, sharpness, expression; what is missing, and which faces are at risk.

A model draws a face as well as it has seen one like it. So each face of the dst is laid beside the faces of the src in
the units in which a difference begins to show, and the distance to the nearest few says how much there was to learn
from. Numbers in, numbers and plain words out; no files, no pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from understudy.curation.measures import (
    brightness,
    eye_opening,
    light_direction,
    mouth_opening,
    sharpness,
    yaw_pitch,
)
from understudy.errors import UnreadableFace
from understudy.facesets import Face

Floats = npt.NDArray[np.float64]

COLUMNS = ("yaw", "pitch", "light_right", "light_down", "brightness", "sharpness", "mouth", "eyes")
"""What is measured of each face, in this order: degrees, degrees, -1..1, -1..1, 0..1, detail, nose lengths, ratio."""

STEP = {
    "yaw": 12.0,
    "pitch": 10.0,
    "light_right": 0.3,
    "light_down": 0.3,
    "brightness": 0.2,
    "mouth": 0.12,
    "eyes": 0.1,
}
"""A difference of so much begins to show: within one step of a src face, a dst face counts as covered."""

USUAL = {"light_down": 0.0, "brightness": 0.5, "eyes": 0.28}
"""What an average person's median is, for measures that depend on who it is."""

POSE, EXPRESSION, LIGHT = ("yaw", "pitch"), ("mouth", "eyes"), ("light_right", "light_down", "brightness")
NEIGHBOURS = 3
"""One odd src face covers nothing: the mean distance to so many counts."""

COVERED, THIN = 1.0, 1.6
"""Distances in steps: up to the first a face is covered, up to the second thinly, beyond it is at risk."""

SOFT = 0.55
"""Src faces that look like a dst face, and have less than this part of its detail, make the result softer than it."""

YAW_BINS = np.arange(-90.0, 91.0, 10.0)
PITCH_BINS = np.arange(-60.0, 61.0, 10.0)

STRIPS: dict[str, tuple[str, str, str, float, float]] = {
    "light_right": ("Light from left or right", "left", "right", -1.0, 1.0),
    "light_down": ("Light from above or below", "above", "below", -1.0, 1.0),
    "brightness": ("Brightness", "dark", "bright", 0.0, 1.0),
    "mouth": ("Mouth", "closed", "wide open", 0.0, 0.8),
    "eyes": ("Eyes", "closed", "wide open", 0.0, 0.5),
    "sharpness": ("Sharpness", "soft", "crisp", 0.0, 40.0),
}
"""Title, the words for both ends, and the range of every measure that is shown as a strip."""

STRIP_BINS = 24
LEAST_SHARE = 0.01
"""A stretch of a strip is missing only where at least this part of the dst lies."""


class Lack(StrEnum):
    """What the src has too little of, for one dst face."""

    NOTHING = "nothing"
    POSE = "pose"
    EXPRESSION = "expression"
    LIGHT = "light"
    SHARPNESS = "sharpness"


@dataclass(frozen=True)
class Faced:
    """How one dst face is covered. gap: distance to the nearest src faces in steps. nearest: row of the nearest."""

    gap: float
    lack: Lack
    reason: str
    nearest: int

    @property
    def is_at_risk(self) -> bool:
        return self.gap > THIN

    @property
    def is_thin(self) -> bool:
        return COVERED < self.gap <= THIN


@dataclass(frozen=True, eq=False)
class Coverage:
    """What a src covers of a dst; faces: of the dst, in its order. grids: (pitch, yaw) counts.

    src (N, 8), dst (M, 8): the measures as they were compared, see `impersonal`.
    """

    src: Floats
    dst: Floats
    faces: tuple[Faced, ...]
    src_grid: Floats
    dst_grid: Floats

    @property
    def covered_share(self) -> float:
        """Which part of the dst is neither thinly covered nor at risk."""
        return float(np.mean([face.gap <= COVERED for face in self.faces]))

    def worst(self, count: int) -> list[int]:
        """Rows of the dst faces most at risk, none within a step of another, so that each shows something else."""
        chosen: list[int] = []
        scaled = _scaled(self.dst, (*POSE, *EXPRESSION, *LIGHT))
        for row in np.argsort([-face.gap for face in self.faces], kind="stable").tolist():
            if len(chosen) >= count or self.faces[row].gap <= COVERED:
                break
            if all(float(np.linalg.norm(scaled[row] - scaled[other])) > 1.5 for other in chosen):
                chosen.append(row)
        return chosen


def measure(face: Face) -> tuple[float, ...]:
    """The measures of one face, in the order of COLUMNS. Raises UnreadableFace for a face without landmarks."""
    if not face.meta.has_landmarks:
        raise UnreadableFace("The face has no landmarks.", hint="Extract it again.")
    yaw, pitch = yaw_pitch(face.meta, face.width)
    light, points = light_direction(face), face.meta.landmarks
    return (
        math.degrees(yaw),
        math.degrees(pitch),
        light.right,
        light.down,
        brightness(face),
        sharpness(face),
        mouth_opening(points),
        eye_opening(points),
    )


def compare(src: Floats, dst: Floats) -> Coverage:
    """What src (N, 8) covers of dst (M, 8), both with at least one row, columns as in COLUMNS.

    What belongs to the person rather than to the moment is taken out first, see `impersonal`.
    """
    src, dst = impersonal(src), impersonal(dst)
    by_pose = _Nearest(src, dst, POSE)
    by_expression = _Nearest(src, dst, (*POSE, *EXPRESSION))
    by_light = _Nearest(src, dst, (*POSE, *LIGHT))
    everything = _Nearest(src, dst, (*POSE, *EXPRESSION, *LIGHT))
    faces = []
    for row in range(len(dst)):
        gaps = {
            Lack.POSE: by_pose.gaps[row],
            Lack.EXPRESSION: by_expression.gaps[row],
            Lack.LIGHT: by_light.gaps[row],
        }
        faces.append(_faced(src, dst[row], gaps, by_pose, row, int(everything.rows[row, 0])))
    return Coverage(src, dst, tuple(faces), pose_grid(src), pose_grid(dst))


def impersonal(values: Floats) -> Floats:
    """Measures (N, 8) as they would be of an average person.

    A beard looks like light from above, dark skin like little light, and some eyes are narrow: so the faceset's median
    of these three becomes that of an average face. Light from the side is the same for everybody, and so is a mouth
    that is closed.
    """
    made = values.astype(np.float64)
    medians = np.median(made, axis=0)
    for name, usual in USUAL.items():
        at = COLUMNS.index(name)
        if name == "eyes":
            made[:, at] *= usual / max(float(medians[at]), 0.05)
        else:
            made[:, at] += usual - medians[at]
    return made


def pose_grid(values: Floats) -> Floats:
    """How many faces look each way: (len(PITCH_BINS) - 1, len(YAW_BINS) - 1), lowest pitch and yaw first."""
    pitch = np.clip(values[:, 1], PITCH_BINS[0], PITCH_BINS[-1])
    yaw = np.clip(values[:, 0], YAW_BINS[0], YAW_BINS[-1])
    return np.asarray(np.histogram2d(pitch, yaw, bins=(PITCH_BINS, YAW_BINS))[0], np.float64)


def holes(found: Coverage) -> list[dict[str, Any]]:
    """Ways of looking that the dst has and the src has not, most dst faces first; yaw and pitch from, to in degrees."""
    lacking = np.array([face.lack is Lack.POSE and face.gap > COVERED for face in found.faces])
    counted = pose_grid(found.dst[lacking]) if lacking.any() else np.zeros_like(found.dst_grid)
    made = []
    for pitch, yaw in zip(*np.nonzero(counted), strict=True):
        made.append(
            {
                "yaw": [float(YAW_BINS[yaw]), float(YAW_BINS[yaw + 1])],
                "pitch": [float(PITCH_BINS[pitch]), float(PITCH_BINS[pitch + 1])],
                "dst": int(counted[pitch, yaw]),
                "src": int(found.src_grid[pitch, yaw]),
                "words": looks(float(YAW_BINS[yaw] + 5), float(PITCH_BINS[pitch] + 5)),
            }
        )
    return sorted(made, key=lambda hole: (-hole["dst"], hole["yaw"], hole["pitch"]))


def strip(values: Floats, name: str) -> Floats:
    """The share of faces in each of STRIP_BINS stretches of a measure's range; values (N, 8)."""
    low, high = STRIPS[name][3:]
    column = np.clip(values[:, COLUMNS.index(name)], low, high)
    counts = np.histogram(column, bins=STRIP_BINS, range=(low, high))[0]
    return np.asarray(counts / max(1, len(values)), np.float64)


def missing_stretches(found: Coverage, name: str) -> npt.NDArray[np.bool_]:
    """In which stretches (STRIP_BINS,) of a measure the dst has faces and the src, there and beside, hardly any."""
    src, dst = strip(found.src, name), strip(found.dst, name)
    beside = src + np.append(src[1:], 0) + np.insert(src[:-1], 0, 0)
    return np.asarray((dst >= LEAST_SHARE) & (beside < 0.002))


def missing_words(found: Coverage) -> list[str]:
    """What is missing for this dst, as sentences, most important first."""
    total = len(found.dst)
    lines = [
        f"{hole['words']}: {hole['dst']} dst faces ({hole['dst'] / total:.0%}), {hole['src']} in src"
        for hole in holes(found)[:5]
    ]
    for name, (title, low_word, high_word, low, high) in STRIPS.items():
        missing = missing_stretches(found, name)
        share = float(strip(found.dst, name)[missing].sum())
        if share >= LEAST_SHARE:
            middle = low + (high - low) * (np.flatnonzero(missing).mean() + 0.5) / STRIP_BINS
            toward = low_word if middle < np.median(found.src[:, COLUMNS.index(name)]) else high_word
            lines.append(f"{title}, toward {toward}: {share:.0%} of the dst faces have no like in src")
    return lines


def looks(yaw: float, pitch: float) -> str:
    """Such as "right 35°, up 15°", as seen in the picture; angles in degrees."""
    side = "ahead" if abs(yaw) < 7.5 else f"{'left' if yaw > 0 else 'right'} {abs(yaw):.0f}°"
    nod = "" if abs(pitch) < 7.5 else f"{'up' if pitch > 0 else 'down'} {abs(pitch):.0f}°"
    return ", ".join(word for word in (side, nod) if word)


class _Nearest:
    """The nearest src faces of every dst face in some measures. gaps: mean distance in steps; rows (M, k): which."""

    def __init__(self, src: Floats, dst: Floats, columns: Sequence[str]) -> None:
        count = min(NEIGHBOURS, len(src))
        distances, rows = KDTree(_scaled(src, columns)).query(_scaled(dst, columns), k=count)
        self.gaps: Floats = np.asarray(distances).reshape(len(dst), count).mean(axis=1)
        self.rows: npt.NDArray[np.int64] = np.asarray(rows).reshape(len(dst), count)


def _scaled(values: Floats, columns: Sequence[str]) -> Floats:
    """Some columns of (N, 8) in steps; of each kind (pose, expression, light) the mean square counts once in full."""
    return np.column_stack([values[:, COLUMNS.index(name)] / STEP[name] for name in columns])


def _faced(src: Floats, face: Floats, gaps: dict[Lack, float], by_pose: _Nearest, row: int, nearest: int) -> Faced:
    """What one dst face lacks: a way of looking first; where that is there, what else is worst."""
    pose_gap = float(gaps[Lack.POSE])
    lack = max(gaps, key=lambda kind: gaps[kind])
    gap = float(gaps[lack])
    if gap <= COVERED:
        return _by_sharpness(src, face, gap, by_pose.rows[row], nearest)
    if pose_gap > COVERED and pose_gap > 0.6 * gap:
        other = src[int(by_pose.rows[row, 0])]
        reason = f"Looks {looks(face[0], face[1])}; the nearest of src {looks(other[0], other[1])}."
        return Faced(gap, Lack.POSE, reason, nearest)
    alike = src[np.linalg.norm(_scaled(src, POSE) - _scaled(face[None], POSE), axis=1) <= COVERED]
    alike = alike if len(alike) else src[by_pose.rows[row]]
    return Faced(gap, lack, _reason(face, alike, EXPRESSION if lack is Lack.EXPRESSION else LIGHT), nearest)


def _by_sharpness(src: Floats, face: Floats, gap: float, rows: npt.NDArray[np.int64], nearest: int) -> Faced:
    """A covered face; but where the src looks this way only in soft pictures, the result will be soft."""
    column = COLUMNS.index("sharpness")
    best = float(src[rows, column].max())
    if best < SOFT * face[column]:
        return Faced(gap, Lack.SHARPNESS, "Sharper than every src face that looks this way.", nearest)
    return Faced(gap, Lack.NOTHING, "Covered.", nearest)


def _reason(face: Floats, alike: Floats, columns: Sequence[str]) -> str:
    """In what a face differs most from those that look the same way."""
    differences = {}
    for name in columns:
        at = COLUMNS.index(name)
        nearest = float(alike[np.argmin(np.abs(alike[:, at] - face[at])), at])
        differences[name] = (float(face[at]) - nearest) / STEP[name]
    name = max(differences, key=lambda name: abs(differences[name]))
    if abs(differences[name]) < 0.5:
        kind = "expression" if columns is EXPRESSION else "light"
        return f"This {kind} is in src, but not in faces that look this way."
    title, low_word, high_word = STRIPS[name][:3]
    toward = high_word if differences[name] > 0 else low_word
    return f"{title}: farther toward {toward} than src where it looks this way."
