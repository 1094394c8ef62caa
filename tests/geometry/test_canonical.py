"""The mean face in 468 points."""

from __future__ import annotations

import numpy as np

from understudy.geometry import canonical


def test_it_has_the_vertices_and_triangles_of_facemesh() -> None:
    assert canonical.vertices().shape == (468, 3)
    assert canonical.triangles().shape == (898, 3)
    assert canonical.uv().shape == (468, 2)
    assert set(canonical.triangles().ravel().tolist()) == set(range(468))
    assert canonical.uv().min() == 0
    assert canonical.uv().max() == 1


def test_it_is_its_own_mirror_image() -> None:
    partner = canonical.mirror()
    np.testing.assert_array_equal(partner[partner], np.arange(468))
    np.testing.assert_allclose(canonical.vertices()[partner] * (-1, 1, 1), canonical.vertices(), atol=2e-4)


def test_it_has_the_proportions_of_an_adult_face_in_centimetres() -> None:
    """Axes as in a picture: x right, y down, z away; the nose is nearest."""
    face = canonical.vertices()
    assert np.argmin(face[:, 2]) in (1, 4, 5)
    assert face[10, 1] < face[33, 1] < face[4, 1] < face[13, 1] < face[152, 1]
    assert 8.5 < face[263, 0] - face[33, 0] < 9.5
    assert 11 < np.ptp(face[:, 0]) < 15
    assert 7 < np.ptp(face[:, 2]) < 12


def test_the_surface_is_closed_except_around_its_rim() -> None:
    """Every edge belongs to two triangles, but for one ring around the face."""
    triangles = canonical.triangles()
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _edges, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts.tolist()) == {1, 2}
    assert (counts == 1).sum() == 36


def test_neighbouring_triangles_agree_on_the_outside() -> None:
    """An edge that two triangles share runs once each way."""
    triangles = canonical.triangles()
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    assert len({tuple(edge) for edge in edges.tolist()}) == len(edges)


def test_normals_point_out_of_the_face() -> None:
    face, triangles = canonical.vertices().astype(np.float64), canonical.triangles()
    a, b, c = (face[triangles[:, corner], :2] for corner in range(3))
    u, v = b - a, c - a
    turn = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    front = face[triangles].mean(axis=1)[:, 2] < 1.0
    assert (turn[front] < 0).mean() > 0.95
