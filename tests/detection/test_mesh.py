"""The 468 to 68 table."""

from __future__ import annotations

import numpy as np

from understudy.detection.mesh import MESH_TO_68, landmarks_68
from understudy.geometry import canonical
from understudy.geometry.landmarks import mirror


def test_each_of_the_68_points_comes_from_one_or_two_vertices() -> None:
    assert len(MESH_TO_68) == 68
    assert all(1 <= len(entry) <= 2 and all(0 <= index < 468 for index in entry) for entry in MESH_TO_68)
    assert len(set(MESH_TO_68)) == 68


def test_the_left_of_the_face_is_the_mirror_image_of_the_right() -> None:
    """A faceset is doubled by mirroring; a lopsided table would teach two different faces."""
    mesh = canonical.vertices()
    mirrored = mesh[canonical.mirror()] * np.float32((-1, 1, 1))
    flipped = mirror(landmarks_68(mesh), 1)
    np.testing.assert_allclose(landmarks_68(mesh)[:, 1], flipped[:, 1], atol=1e-4)
    np.testing.assert_allclose(landmarks_68(mesh), landmarks_68(mirrored), atol=1e-4)


def test_features_lie_in_the_order_of_the_layout() -> None:
    points = landmarks_68(canonical.vertices())
    assert (np.diff(points[:17, 0]) > 0).all()  # jaw from the right ear (image left) to the left ear
    assert (np.diff(points[17:27, 0]) > 0).all()  # brows
    assert (np.diff(points[27:31, 1]) > 0).all()  # bridge of the nose downward
    assert points[8, 1] == points[:, 1].max()  # chin
    assert (np.diff(points[31:36, 0]) > 0).all()
    for ring in (points[36:42], points[42:48], points[48:60], points[60:68]):
        x, y = ring.T
        assert (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0  # clockwise on screen
