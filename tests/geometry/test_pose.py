"""Head pose from landmarks: a face projected at a known angle is measured at that angle."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from understudy.geometry import mean_face
from understudy.geometry.landmarks import MIRROR
from understudy.geometry.mean_face import MEAN_FACE
from understudy.geometry.pose import pose

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_mean_face.py"


def seen(yaw: float, pitch: float, roll: float = 0.0, size: int = 256) -> np.ndarray:
    """The mean face turned by degrees and photographed by the camera that `pose` assumes, (68, 2)."""
    x, y, z = np.radians((-pitch, yaw, roll))
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    points = MEAN_FACE @ (about_z @ about_y @ about_x).T + (0, 0, 25)
    return points[:, :2] / points[:, 2:] * size + size / 2


@pytest.mark.parametrize("size", [96, 256, 1024])
@pytest.mark.parametrize("yaw", [-50, -20, 0, 20, 50])
@pytest.mark.parametrize("pitch", [-30, 0, 25])
def test_known_angles(size: int, yaw: float, pitch: float) -> None:
    found = pose(seen(yaw, pitch, size=size), size)
    assert np.degrees([found.pitch, found.yaw, found.roll]) == pytest.approx([pitch, yaw, 0], abs=0.05)


def test_signs() -> None:
    """Positive yaw: the nose is toward the image's left. Positive pitch: looking up. Positive roll: clockwise."""
    turned = seen(30, 0)
    assert turned[30, 0] < turned[[0, 16], 0].mean()
    up = seen(0, 20)
    assert up[30, 1] - up[27, 1] < seen(0, 0)[30, 1] - seen(0, 0)[27, 1]
    clockwise = seen(0, 0, 15)
    assert clockwise[45, 1] > clockwise[36, 1]
    assert np.degrees(pose(clockwise).roll) == pytest.approx(15, abs=0.05)


@pytest.mark.parametrize(
    "landmarks",
    [np.zeros((68, 2)), np.full((68, 2), np.nan), np.full((68, 2), 1e30), np.column_stack([np.arange(68.0)] * 2)],
    ids=["a point", "not a number", "far away", "a line"],
)
def test_what_is_no_face_gives_some_finite_angles(landmarks: np.ndarray) -> None:
    found = pose(landmarks)
    assert np.isfinite([found.pitch, found.yaw, found.roll]).all()


def test_the_mean_face_is_made_by_its_script() -> None:
    """Its numbers are ours: the canonical face and three fitted values, nothing else. Stale: run the script again."""
    spec = importlib.util.spec_from_file_location("make_mean_face", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.shaped(script.canonical_68(), mean_face.TILT, mean_face.HEIGHT, mean_face.DEPTH)
    np.testing.assert_allclose(made, MEAN_FACE, atol=0.001)


def test_the_mean_face_is_symmetric_and_faces_the_camera() -> None:
    np.testing.assert_allclose(MEAN_FACE[MIRROR] * (-1, 1, 1), MEAN_FACE, atol=0.002)
    assert MEAN_FACE[30, 2] < MEAN_FACE[[0, 16], 2].min()
