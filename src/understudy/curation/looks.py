"""Distances between looks: the unit vectors that `curation.appearance` makes of faces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_ROUNDING = np.float32(1e-4)  # more than float32 is off in a sum of a thousand products that add up to 1
_ROWS = 512


class LookDistances:
    """1 minus the dot product, 0..2, of (n, D) float32 unit vectors, as `chains.nearest_chain` asks for it."""

    def __init__(self, looks: Floats) -> None:
        self._looks = looks

    def __len__(self) -> int:
        return len(self._looks)

    def only(self, faces: Indices) -> LookDistances:
        return LookDistances(self._looks[faces])

    def bounds(self, rows: Indices) -> Floats:
        return np.asarray(np.float32(1) - _ROUNDING - self._looks[rows] @ self._looks.T, np.float32)

    def exact(self, face: int, others: Indices) -> Doubles:
        products = self._looks[others].astype(np.float64) * self._looks[face]
        return np.asarray(1.0 - products.sum(axis=1), np.float64)


def nearest_distances(looks: Floats, others: Floats) -> Doubles:
    """How far each of (n, D) looks is from the nearest of (m, D) others: 0 the same, 1 unlike, 2 the opposite."""
    blocks = [1.0 - (looks[start : start + _ROWS] @ others.T).max(axis=1) for start in range(0, len(looks), _ROWS)]
    return np.concatenate(blocks).astype(np.float64) if blocks else np.zeros(0)
