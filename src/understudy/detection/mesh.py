"""From FaceMesh's 468 points to the 68-point layout that facesets, alignment and training speak."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MESH_TO_68: tuple[tuple[int, ...], ...] = (
    # jaw, from the right ear over the chin to the left ear
    *((127,), (234,), (93,), (132,), (58,), (172,), (136,), (149,)),
    *((152,),),
    *((378,), (365,), (397,), (288,), (361,), (323,), (454,), (356,)),
    # right eyebrow, outer to inner; left eyebrow, inner to outer
    *((70,), (63,), (105,), (66,), (107,)),
    *((336,), (296,), (334,), (293,), (300,)),
    # nose: bridge from the root to the tip, then under the nose from right to left
    *((168,), (197,), (5,), (4,)),
    *((75,), (97,), (2,), (326,), (305,)),
    # right eye, then left eye, clockwise on screen from the left corner
    *((33,), (160,), (158,), (133,), (153,), (144,)),
    *((362,), (385,), (387,), (263,), (373,), (380,)),
    # outer lips, inner lips, clockwise on screen from the right corner
    *((61,), (39,), (37,), (0,), (267,), (269,), (291,), (405,), (314,), (17,), (84,), (181,)),
    *((78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,)),
)
"""For each of the 68 points the mesh vertices whose mean it is."""

_FIRST = np.array([entry[0] for entry in MESH_TO_68])
_SECOND = np.array([entry[-1] for entry in MESH_TO_68])


def landmarks_68(mesh: NDArray[np.float32]) -> NDArray[np.float64]:
    """The 68 landmarks (68, 2) float64 of a mesh (468, 2 or 3), in the mesh's own space."""
    flat = np.asarray(mesh, dtype=np.float64)[:, :2]
    landmarks: NDArray[np.float64] = (flat[_FIRST] + flat[_SECOND]) / 2
    return landmarks
