"""How sure one may be of a found face, from 0 to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.records import Rect


def confidence_of(score: float, rect: Rect, landmarks: NDArray[np.float64], smoothed: NDArray[np.float64]) -> float:
    """Confidence of one face. score: the engine's own, 0..1."""
    return round(min(1.0, max(0.0, score)), 4)
