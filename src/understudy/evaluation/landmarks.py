"""Landmarks of faces in aligned squares, read by the built-in FaceMesh at a known place: no search, no detector."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from understudy.detection.facemesh import MARGIN, FaceMesh
from understudy.detection.mesh import landmarks_68
from understudy.detection.pictures import Picture, Square

Floats = NDArray[np.float64]


class LandmarkReader:
    """FaceMesh on aligned faces; one look at each. Belongs to one thread."""

    def __init__(self, *, threads: int = 1) -> None:
        self._mesh = FaceMesh(threads=threads)

    def read(self, pictures: Iterable[NDArray[np.uint8]], near: Floats) -> tuple[Floats, Floats]:
        """The landmarks (N,68,2) px of pictures (S,S,3) uint8 RGB, and how sure the network is of each face, (N,) 0..1.

        near: (N,68,2) px, about where the faces are, such as their stored landmarks: the square that the network looks
        at is laid around these, so that two pictures of one place are looked at in the same way.
        """
        points, presence = [], []
        for picture, place in zip(pictures, near, strict=True):
            mesh, sure = self._mesh.look(Picture(np.ascontiguousarray(picture)), _square_around(place))
            points.append(landmarks_68(mesh))
            presence.append(sure)
        return np.array(points, np.float64).reshape(-1, 68, 2), np.array(presence, np.float64)


def _square_around(landmarks: Floats) -> Square:
    """The square around landmarks with the network's margin, upright with the eyes."""
    across = landmarks[45] - landmarks[36]
    angle = float(np.arctan2(across[1], across[0]))
    turned = Square(0.0, 0.0, 1.0, angle)
    flat = turned.from_frame(landmarks)
    low, high = flat.min(0), flat.max(0)
    low[1] -= 0.12 * (high[1] - low[1])  # landmarks end at the brows, the mesh at the hairline
    x, y = turned.to_frame(((low + high) / 2)[None])[0]
    return Square(float(x), float(y), float((high - low).max()) * MARGIN, angle)
