"""FaceMesh: 468 points on the face in an upright square of the frame, and how sure the network is that there is one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from understudy.detection.engines import FACE_MESH, Network
from understudy.detection.pictures import Picture, Square
from understudy.geometry.canonical import mirror

MARGIN = 1.5
"""Side of the square that the network looks at, over the side of the face's box (the value it was trained with)."""

RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 33, 263

Mesh = NDArray[np.float32]


class FaceMesh:
    """The landmark network. Not thread-safe."""

    def __init__(self, *, threads: int = 1) -> None:
        self._network = Network(FACE_MESH, threads=threads)

    def look(self, picture: Picture, square: Square, *, mirrored: bool = False) -> tuple[Mesh, float]:
        """Mesh (468, 3) float32 in frame pixels and the presence of a face (0..1) in a square of the frame.

        mirrored: show the network the square's mirror image; left and right are put back in their places.
        """
        size = self._network.size
        cut = picture.cut(square, size)
        points, logit = self._network.run((cut[:, ::-1] if mirrored else cut).astype(np.float32) * np.float32(1 / 255))
        local = points.reshape(468, 3).astype(np.float64) / size
        if mirrored:
            local[:, 0] = 1 - local[:, 0]
            local = local[mirror()]
        # The network's grid has its origin at the corner of the first pixel, like Square's units less half a pixel.
        mesh = np.empty((468, 3), dtype=np.float32)
        mesh[:, :2] = square.to_frame(local[:, :2])
        mesh[:, 2] = local[:, 2] * square.side
        return mesh, 1 / (1 + math.exp(-min(50.0, max(-50.0, float(logit.ravel()[0])))))


def square_around(mesh: Mesh) -> Square:
    """The square to look at next time: upright with the eyes, MARGIN times the longer side of the mesh's box."""
    across = mesh[LEFT_EYE_CORNER, :2] - mesh[RIGHT_EYE_CORNER, :2]
    angle = float(np.arctan2(across[1], across[0]))
    turned = Square(0.0, 0.0, 1.0, angle)
    flat = turned.from_frame(mesh[:, :2])
    low, high = flat.min(axis=0), flat.max(axis=0)
    x, y = turned.to_frame(((low + high) / 2)[None])[0]
    return Square(float(x), float(y), float((high - low).max()) * MARGIN, angle)
