"""Landmarks of faces in aligned squares, read by the built-in FaceMesh at a known place: no search, no detector."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from understudy.detection.facemesh import MARGIN, FaceMesh, square_around
from understudy.detection.mesh import landmarks_68
from understudy.detection.pictures import Image8, Picture, Square

Floats = NDArray[np.float64]


class LandmarkReader:
    """FaceMesh on aligned faces. Belongs to one thread."""

    def __init__(self, *, threads: int = 1) -> None:
        self._mesh = FaceMesh(threads=threads)

    def places(self, pictures: Iterable[Image8], landmarks: Floats) -> list[Square]:
        """Where to look at faces in pictures (S,S,3) uint8 RGB, one place for each: by a first look.

        landmarks: (68,2) px, about where faces lie in such pictures.
        """
        usual = _square_around(landmarks)
        return [square_around(self._mesh.look(_picture(picture), usual)[0]) for picture in pictures]

    def read(self, pictures: Iterable[Image8], places: Iterable[Square]) -> tuple[Floats, Floats]:
        """The landmarks (N,68,2) px of pictures (S,S,3) uint8 RGB, and how sure the network is of each face, (N,) 0..1.

        places: where to look, one for each picture; two pictures that are to be compared are looked at in one place.
        """
        points, presence = [], []
        for picture, place in zip(pictures, places, strict=True):
            mesh, sure = self._mesh.look(_picture(picture), place)
            points.append(landmarks_68(mesh))
            presence.append(sure)
        return np.array(points, np.float64).reshape(-1, 68, 2), np.array(presence, np.float64)


def _picture(rgb8: Image8) -> Picture:
    return Picture(np.ascontiguousarray(rgb8))


def _square_around(landmarks: Floats) -> Square:
    """The square around landmarks of an upright face, with the network's margin."""
    low, high = landmarks.min(0), landmarks.max(0)
    low[1] -= 0.12 * (high[1] - low[1])  # landmarks end at the brows, the mesh at the hairline
    x, y = (low + high) / 2
    return Square(float(x), float(y), float((high - low).max()) * MARGIN)
