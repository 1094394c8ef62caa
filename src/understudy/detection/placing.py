"""Landmarks where somebody says a face is: in a rectangle, from a file, or of an average face laid on the frame."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.detection.found import Engine, FoundFace
from understudy.detection.loading import load_engine
from understudy.errors import UsageError
from understudy.files import parse_json
from understudy.geometry import affine
from understudy.geometry.alignment import ALIGNED_BY, TEMPLATE_33, TEMPLATE_51, fit_similarity
from understudy.geometry.mean_face import MEAN_FACE
from understudy.records import Rect

Points = NDArray[np.float64]

NOSE_TIP = 30
FARTHEST = 1e6
"""Landmarks farther from the frame's corner than this, in pixels, are a mistake."""

LARGEST_FILE = 1 << 20

_engines = threading.local()


def landmarks_for(
    frame_rgb8: NDArray[np.uint8], rect: Rect, *, turn: float | None = None, engine: Engine | None = None
) -> FoundFace:
    """The face that somebody says is in `rect`, with its landmarks; 15 to 30 ms of one core at any size of frame.

    frame_rgb8: (H, W, 3). rect: about forehead to chin, in frame pixels, sides in any order. turn: degrees clockwise;
    None: found out. engine: the default one when None, loaded once in each thread. The confidence is low where the
    networks see no face. Raises UsageError for a rectangle without area or outside the frame.
    """
    chosen = engine or _default_engine()
    return chosen.landmarks_in(frame_rgb8, rect, turn=None if turn is None else math.radians(turn))


def _default_engine() -> Engine:
    if not hasattr(_engines, "default"):
        _engines.default = load_engine()
    made: Engine = _engines.default
    return made


def average_face(anchor: tuple[float, float], tip: tuple[float, float]) -> FoundFace:
    """An average face with the tip of its nose at `anchor`, turned and sized by the arrow to `tip`.

    The arrow points along the face's own x axis (to the right in an upright face) and is as long as the unit face
    square is wide. The box reaches that far to every side of the anchor. Landmarks 17 to 67 are those that
    DeepFaceLab's manual extractor lays down; the jaw, which it leaves in one point, is an average one here.
    Raises UsageError when both points are one.
    """
    start, arrow = np.array(anchor, np.float64), np.array(tip, np.float64) - np.array(anchor, np.float64)
    size = float(np.hypot(*arrow))
    if not np.isfinite(size) or size < 1:
        raise UsageError(
            "anchor and tip are the same point.", hint="tip is to the right of anchor, a face's width away."
        )
    unit = unit_face()
    unit = (unit - unit[NOSE_TIP]) * size
    cos, sin = arrow / size
    landmarks = unit @ np.array([[cos, -sin], [sin, cos]]).T + start
    box = Rect(*(start - size).tolist(), *(start + size).tolist())
    return FoundFace(box, landmarks, None, 1.0)


def unit_face() -> Points:
    """The average face (68, 2) in the unit face square; its jaw is that of the mean face, laid on the template."""
    fit = fit_similarity(MEAN_FACE[ALIGNED_BY, :2], TEMPLATE_33)
    jaw = affine.apply(fit, MEAN_FACE[:17, :2])
    return np.concatenate([jaw, TEMPLATE_51.astype(np.float64)])


def read_landmarks(path: Path) -> Points:
    """68 landmarks (68, 2) from a file, in frame pixels with the first pixel's centre at 0.

    JSON: 68 pairs of numbers, by themselves or under "landmarks". pts: "x y" lines between braces, taken as they are.
    Raises UsageError for anything else, and for numbers that make no sense.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError("The landmarks file is far too large.", hint=_HINT, path=path)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The landmarks file cannot be read: {error.strerror or error}.", path=path) from None
    except UnicodeDecodeError:
        raise UsageError("The landmarks file is no text.", hint=_HINT, path=path) from None
    try:
        rows = _pts_rows(text) if path.suffix.lower() == ".pts" else _json_rows(text)
        points = np.array([[float(x), float(y)] for x, y in rows])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise UsageError("The landmarks file does not hold pairs of numbers.", hint=_HINT, path=path) from None
    return checked_landmarks(points)


_HINT = 'A landmarks file is JSON, [[x, y], …] of 68 points or {"landmarks": [[x, y], …]}, or .pts of 68 points.'


def checked_landmarks(points: Points) -> Points:
    """The points, when they can be a face's landmarks. Raises UsageError."""
    if points.shape != (68, 2):
        raise UsageError(f"{len(points)} landmarks are given; 68 are needed, as x, y.", hint=_HINT)
    if not np.isfinite(points).all() or np.abs(points).max() > FARTHEST:
        raise UsageError("Some landmarks are no numbers, or far outside of any frame.", hint=_HINT)
    if points[ALIGNED_BY].std(axis=0).max() < 0.5:
        raise UsageError("The landmarks lie in one point.", hint=_HINT)
    return points


def _json_rows(text: str) -> Any:
    value = parse_json(text)
    return value["landmarks"] if isinstance(value, dict) else value


def _pts_rows(text: str) -> list[list[str]]:
    inner = text.split("{", 1)[1].rsplit("}", 1)[0] if "{" in text else text
    return [line.replace(",", " ").split() for line in inner.splitlines() if line.strip()]
