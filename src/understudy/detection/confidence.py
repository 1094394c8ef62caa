"""How sure one may be of a found face: the chance that its landmarks are right.

An engine's own score orders its faces but means nothing by itself. Confidence is the share of faces of that score whose
landmarks lie within RIGHT of the truth, by a logistic curve fitted to some thousand faces of drawn shots that were made
small, blurred, noisy, dark, turned, covered and cut off (`python run.py bench confidence` repeats the fit and says how
well it holds). Scores of engines that were not measured so stand as they are.
"""

from __future__ import annotations

import math

RIGHT = 0.1
"""Mean distance of landmarks from the truth, over the distance of the outer corners of the eyes."""

CURVES: dict[str, tuple[float, float]] = {"mediapipe": (0.641, 15.7)}
"""By engine the score at which every second face is right, and the steepness there."""


def confidence_of(score: float, engine: str) -> float:
    """The chance, 0..1 with four digits, that a face of this score (0..1) has its landmarks right."""
    score = min(1.0, max(0.0, score))
    if engine not in CURVES:
        return round(score, 4)
    middle, slope = CURVES[engine]
    return round(1 / (1 + math.exp(-slope * (score - middle))), 4)
