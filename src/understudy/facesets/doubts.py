"""What makes a found face, or a frame without one, worth a second look: numbers in, scores and plain words out.

Every doubt has a score in 0..1; the worst is looked at first. Limits were set by looking at real footage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from understudy.geometry.boxes import box_of, overlap, sides
from understudy.records import Rect

Points32 = npt.NDArray[np.float32]

UNSURE = 0.6
"""Confidence below which a face is doubtful: clear faces have more than 0.8."""

JUMP = 0.05
"""How far landmarks may lie from the mean of their neighbours in time, over the size of the face. Speaking and turning
faces stay below 0.03."""

SMALL_PX = 48.0
"""Faces smaller than this in the frame have blurred pictures."""

PROFILE_DEGREES = 60.0
CUT_SHARE = 0.03
SAME_FACE = 0.5
"""Two faces of one frame whose landmarks' boxes overlap more than this (intersection over union) are one."""

SHORT_GAP, LONG_GAP = 5, 50
"""Runs of frames without a face: up to the first surely a miss, beyond the second most likely nobody is there."""

BY_HAND = "understudy_by_hand"
"""The key in a face's data that says a person placed it; its landmarks are not doubted again."""


class Kind(StrEnum):
    """Why something is in the review."""

    REDO = "redo"
    MISSING = "missing"
    GAP = "gap"
    DOUBLE = "double"
    JUMP = "jump"
    UNSURE = "unsure"
    REMOVED = "removed"
    CUT_OFF = "cut-off"
    PROFILE = "profile"
    SMALL = "small"


KIND_WORDS: dict[Kind, str] = {
    Kind.REDO: "with the debug image deleted",
    Kind.MISSING: "without a face",
    Kind.GAP: "lost in the middle of a track",
    Kind.DOUBLE: "one face twice",
    Kind.JUMP: "with landmarks that jump",
    Kind.UNSURE: "unsure",
    Kind.REMOVED: "removed by the area filter",
    Kind.CUT_OFF: "cut by the frame's edge",
    Kind.PROFILE: "in profile",
    Kind.SMALL: "very small",
}


@dataclass(frozen=True)
class Doubt:
    """One reason to look again. score: 0..1, 1 is worst."""

    kind: Kind
    score: float
    reason: str


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """One face of a frame, as its file tells.

    index: of the frame. landmarks: (68, 2) float32 in frame pixels. turned: degrees away from the camera.
    by_hand: placed by a person, which leaves nothing to doubt but a double.
    """

    index: int
    key: str
    rect: Rect | None
    landmarks: Points32 | None
    confidence: float | None
    track: int | None
    turned: float | None
    by_hand: bool = False

    @property
    def box(self) -> Rect | None:
        """The box around the landmarks, else the detector's."""
        return box_of(self.landmarks) if self.landmarks is not None else self.rect


@dataclass(slots=True)
class Judged:
    """A face with its doubts. chain: number of the run of frames through which it can be followed."""

    index: int
    key: str
    box: Rect | None
    chain: int
    jump: float
    by_hand: bool = False
    doubts: list[Doubt] = field(default_factory=list)


def judge_all(frames: Iterable[tuple[int, Sequence[Seen]]], sizes: Mapping[int, tuple[int, int]]) -> list[Judged]:
    """Every face with its doubts. frames: faces by frame index, in order. sizes: (width, height) of frames by index.

    Only three frames are looked at at a time.
    """
    judged: list[Judged] = []
    for before, now, after in _windows(follow(frames)):
        for chain, face in now[1]:
            beside = [_same_chain(chain, other, now[0]) for other in (before, after)]
            made = Judged(face.index, face.key, face.box, chain, _jump_of(face, *beside), face.by_hand)
            if not face.by_hand:
                made.doubts = doubts_of(face, sizes.get(face.index))
            made.doubts += _doubles(face, [other for _, other in now[1]])
            judged.append(made)
    _add_jumps(judged)
    return judged


def follow(frames: Iterable[tuple[int, Sequence[Seen]]]) -> Iterator[tuple[int, list[tuple[int, Seen]]]]:
    """Number each face by the chain it belongs to: its track, else the face at its place in the frame before."""
    last_index, last = -2, list[tuple[int, Seen]]()
    fresh = -1  # chains of faces without a track are negative, so that they cannot meet a track's number
    for index, faces in frames:
        now: list[tuple[int, Seen]] = []
        free = dict(last) if index == last_index + 1 else {}
        for face in faces:
            chain = face.track
            if chain is None:
                chain = _nearest_chain(face, free)
                free.pop(chain, None) if chain is not None else None
            if chain is None:
                chain, fresh = fresh, fresh - 1
            now.append((chain, face))
        yield index, now
        last_index, last = index, now


def doubts_of(face: Seen, size: tuple[int, int] | None) -> list[Doubt]:
    """What is doubtful about one face by itself. size: (width, height) of its frame."""
    made = []
    if face.confidence is not None and face.confidence < UNSURE:
        score = 0.4 + 0.5 * (UNSURE - max(0.0, face.confidence)) / UNSURE
        made.append(Doubt(Kind.UNSURE, score, f"The engine was only {face.confidence:.0%} sure that this is a face."))
    share = cut_share(face, size)
    if share > CUT_SHARE:
        made.append(Doubt(Kind.CUT_OFF, 0.3 + 0.5 * min(1.0, share), f"The frame's edge cuts off {share:.0%} of it."))
    if face.turned is not None and face.turned > PROFILE_DEGREES:
        over = min(1.0, (face.turned - PROFILE_DEGREES) / 30)
        reason = f"Turned away by {face.turned:.0f} degrees: look at the landmarks of the far side."
        made.append(Doubt(Kind.PROFILE, 0.35 + 0.25 * over, reason))
    side = 0.0 if face.rect is None else math.sqrt(abs(face.rect.area))
    if 0 < side < SMALL_PX:
        made.append(Doubt(Kind.SMALL, 0.25 + 0.25 * (1 - side / SMALL_PX), f"Only {side:.0f} px large in the frame."))
    return made


def missing(before: int | None, after: int | None, run: int) -> Doubt:
    """A frame without any face. before, after: frames to the nearest face on either side; run: frames in a row."""
    if before is not None and after is not None and run <= LONG_GAP:
        score = 0.95 if run <= SHORT_GAP else 0.9 - 0.3 * (run - SHORT_GAP) / (LONG_GAP - SHORT_GAP)
        return Doubt(
            Kind.MISSING, score, f"No face, though there is one {_apart(before)} before and {_apart(after)} after."
        )
    return Doubt(Kind.MISSING, 0.2, f"No face, as in {run - 1} frames beside it." if run > 1 else "No face.")


def gap(before: int, after: int) -> Doubt:
    """A frame in which a face is missing that was followed before and after it."""
    run = before + after - 1
    score = 0.85 if run <= SHORT_GAP else 0.6
    return Doubt(Kind.GAP, score, f"A face that is there {_apart(before)} before and {_apart(after)} after is missing.")


def together(doubts: Sequence[Doubt]) -> float:
    """One score for several doubts: at least the worst of them, below 1."""
    return 1 - math.prod(1 - doubt.score for doubt in doubts)


def cut_share(face: Seen, size: tuple[int, int] | None) -> float:
    """Which part of a face's landmarks, or of its box, lies outside a frame of (width, height); 0 where not known."""
    if size is None:
        return 0.0
    if face.landmarks is not None:
        outside = (face.landmarks < -0.5).any(axis=1) | (face.landmarks > np.array(size) - 0.5).any(axis=1)
        return float(outside.mean())
    if face.rect is None or face.rect.area == 0:
        return 0.0
    left, top, right, bottom = sides(face.rect)
    inside = max(0.0, min(right, size[0]) - max(left, 0)) * max(0.0, min(bottom, size[1]) - max(top, 0))
    return 1 - inside / abs(face.rect.area)


def jump(now: Points32, before: Points32, after: Points32) -> float:
    """How far landmarks lie from the mean of those before and after, over the size of the face.

    The larger of two: the median way of all points, and twice the mean change of shape once shift, turn and size are
    taken out, so that one eye that leaves its place counts too.
    """
    points, expected = _complex(now), (_complex(before) + _complex(after)) / 2
    scale = max(1e-6, math.sqrt(np.ptp(expected.real) * np.ptp(expected.imag)))
    away = float(np.median(np.abs(points - expected)))
    centred, target = points - points.mean(), expected - expected.mean()
    spread = float(np.vdot(centred, centred).real)
    if spread < 1e-9:
        return away / scale
    turn_and_size = np.vdot(centred, target) / spread  # least squares, as complex numbers multiply
    shape = float(np.abs(centred * turn_and_size - target).mean())
    return max(away, 2 * shape) / scale


def _complex(points: Points32) -> npt.NDArray[np.complex128]:
    return np.asarray(points[:, 0] + 1j * points[:, 1].astype(np.float64), np.complex128)


def _apart(frames: int) -> str:
    return "a frame" if frames == 1 else f"{frames} frames"


Numbered = tuple[int, list[tuple[int, Seen]]]
_NOTHING: Numbered = (-(10**9), [])


def _windows(frames: Iterable[Numbered]) -> Iterator[tuple[Numbered, Numbered, Numbered]]:
    before, now = _NOTHING, _NOTHING
    for after in frames:
        if now is not _NOTHING:
            yield before, now, after
        before, now = now, after
    if now is not _NOTHING:
        yield before, now, _NOTHING


def _same_chain(chain: int, frame: Numbered, beside: int) -> Points32 | None:
    """Landmarks of the same face in the frame right before or after; None where it cannot be followed there."""
    if abs(frame[0] - beside) != 1:
        return None
    return next((face.landmarks for number, face in frame[1] if number == chain), None)


def _jump_of(face: Seen, before: Points32 | None, after: Points32 | None) -> float:
    if face.landmarks is None or before is None or after is None:
        return 0.0
    return jump(face.landmarks, before, after)


def _add_jumps(judged: list[Judged]) -> None:
    """Doubt the faces that jump most among their neighbours: those beside a jump see half of it, and are innocent."""
    jumps = {(face.chain, face.index): face.jump for face in judged}
    for face in judged:
        beside = max(jumps.get((face.chain, face.index + step), 0.0) for step in (-1, 1))
        if face.jump > JUMP and face.jump >= beside and not face.by_hand:
            score = 0.5 + 0.45 * min(1.0, (face.jump - JUMP) / 0.2)
            reason = f"The landmarks jump by {face.jump:.0%} of the face against the frames before and after."
            face.doubts.append(Doubt(Kind.JUMP, score, reason))


def _doubles(face: Seen, faces: Sequence[Seen]) -> list[Doubt]:
    """Whether this is the lesser of two files of one face."""
    for other in faces:
        if other is face or face.box is None or other.box is None or overlap(face.box, other.box) < SAME_FACE:
            continue
        if _rank(face) > _rank(other):
            return [Doubt(Kind.DOUBLE, 0.9, f"The same face as {other.key}: two boxes became one.")]
    return []


def _rank(face: Seen) -> tuple[bool, float, float, str]:
    """Which of two files of one face comes first: by hand, then surer, larger, earlier in name."""
    area = 0.0 if face.rect is None else abs(face.rect.area)
    return not face.by_hand, -(face.confidence or 0.0), -area, face.key


def _nearest_chain(face: Seen, free: Mapping[int, Seen]) -> int | None:
    """The chain of the frame before whose face lies where this one does."""
    box = face.box
    if box is None:
        return None
    near = [(overlap(box, other.box), chain) for chain, other in free.items() if other.box is not None]
    best = max(near, default=(0.0, 0))
    return best[1] if best[0] > 0.3 else None
