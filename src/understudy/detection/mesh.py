"""From FaceMesh's 468 points to the 68-point layout that facesets, alignment and training speak.

The table was chosen among the vertices on each feature's outline and means of two neighbours. It was scored against
landmarks placed by hand on two portraits, against the mean face that alignment fits to, over eight people in frontal
footage, and by eye; the figures are in docs/guide/extraction.md. Left and right are mirror images of each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MESH_TO_68: tuple[tuple[int, ...], ...] = (
    # jaw, from the right ear over the chin to the left ear, evenly spaced along the outline
    *((127,), (234,), (93, 132), (58,), (172,), (136, 150), (149,), (176, 148)),
    *((152,),),
    *((400, 377), (378,), (365, 379), (397,), (288,), (323, 361), (454,), (356,)),
    # right eyebrow, outer to inner; left eyebrow, inner to outer: between the upper and the lower edge
    *((70, 46), (63, 53), (105, 52), (66, 65), (107, 55)),
    *((336, 285), (296, 295), (334, 282), (293, 283), (300, 276)),
    # nose: bridge from the root to the tip, then under the nose from right to left
    *((168, 6), (197,), (5,), (4,)),
    *((75,), (97,), (2,), (326,), (305,)),
    # right eye, then left eye, clockwise on screen from the left corner
    *((33,), (160,), (158,), (133,), (153,), (144,)),
    *((362,), (385,), (387,), (263,), (373,), (380,)),
    # outer lips, inner lips, clockwise on screen from the right corner
    *((61,), (40, 39), (37,), (0,), (267,), (270, 269)),
    *((291,), (321,), (314,), (17,), (84,), (91,)),
    *((78,), (81, 82), (13,), (311, 312), (308,), (402, 317), (14,), (178, 87)),
)
"""For each of the 68 points the mesh vertices, one or two, whose mean it is."""

_FIRST = np.array([entry[0] for entry in MESH_TO_68])
_SECOND = np.array([entry[-1] for entry in MESH_TO_68])


def landmarks_68(mesh: NDArray[np.float32]) -> NDArray[np.float64]:
    """The 68 landmarks (68, 2) float64 of a mesh (468, 2 or 3), in the mesh's own space."""
    flat = np.asarray(mesh, dtype=np.float64)[:, :2]
    landmarks: NDArray[np.float64] = (flat[_FIRST] + flat[_SECOND]) / 2
    return landmarks
