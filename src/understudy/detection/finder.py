"""The default engine: BlazeFace says where a face may be, FaceMesh says what it looks like and whether it is one.

frame → whole picture, tiles, turned pictures, surroundings of the previous faces
      → BlazeFace candidates → one per face → FaceMesh (twice) → presence → faces, largest first
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.detection.blazeface import BlazeFace, Candidate
from understudy.detection.engines import FULL_RANGE, SHORT_RANGE
from understudy.detection.facemesh import FaceMesh, Mesh, square_around
from understudy.detection.found import FoundFace
from understudy.detection.mesh import landmarks_68
from understudy.detection.pictures import Picture
from understudy.records import Rect

SCORE = 0.5
PRESENCE = 0.5


class MediapipeEngine:
    """BlazeFace and FaceMesh on the CPU. Belongs to one thread."""

    def __init__(self, *, threads: int = 1) -> None:
        self._near = BlazeFace(SHORT_RANGE, threads=threads)
        self._far = BlazeFace(FULL_RANGE, threads=threads)
        self._mesh = FaceMesh(threads=threads)

    def find(
        self, rgb8: NDArray[np.uint8], *, previous: Sequence[FoundFace] = (), max_faces: int = 0
    ) -> list[FoundFace]:
        """See `found.Engine.find`."""
        picture = Picture(rgb8)
        faces: list[FoundFace] = []
        candidates = [*self._near.find(picture, picture.whole, threshold=SCORE)]
        candidates += self._far.find(picture, picture.whole, threshold=SCORE)
        for candidate in sorted(candidates, key=lambda item: -item.score):
            face = self._confirm(picture, candidate)
            if face is not None and not any(same_face(face.rect, other.rect) for other in faces):
                faces.append(face)
        faces.sort(key=lambda face: -face.rect.area)
        return faces[:max_faces] if max_faces else faces

    def _confirm(self, picture: Picture, candidate: Candidate) -> FoundFace | None:
        mesh, presence = self._mesh.look(picture, candidate.square.scaled(1.5))
        if presence < PRESENCE:
            return None
        mesh, presence = self._mesh.look(picture, square_around(mesh))
        if presence < PRESENCE:
            return None
        return FoundFace(box_of(mesh), landmarks_68(mesh), mesh, min(candidate.score, presence))


def box_of(mesh: Mesh) -> Rect:
    """The upright box around a mesh."""
    left, top = mesh[:, :2].min(axis=0)
    right, bottom = mesh[:, :2].max(axis=0)
    return Rect(float(left), float(top), float(right), float(bottom))


def same_face(one: Rect, other: Rect) -> bool:
    """Whether two boxes show one face: they overlap a lot, or one holds most of the other."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return False
    common = width * height
    return common > 0.4 * (one.area + other.area - common) or common > 0.7 * min(one.area, other.area)
