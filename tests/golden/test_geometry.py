"""Alignment, masks and pose give the reference program's numbers, for every array in golden/geometry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.geometry import FACE_TYPE_CODES, PADDING, Affine, affine, conversion, similarity, transform
from understudy.geometry import landmarks as lm
from understudy.geometry.alignment import TEMPLATE_33, TEMPLATE_51, rect_of
from understudy.geometry.face_types import AXIS_ALIGNED
from understudy.geometry.pose import pose, pose_against
from understudy.masks import eyes_mask, face_hull, mouth_mask
from understudy.records import FaceType

CORNER_TOLERANCE_PX = 1e-3
"""The golden landmarks went through float32, where 1e-7 of a coordinate of 1,000 px is 1e-4 px in the crop's scale."""


@pytest.fixture(scope="module")
def geometry(golden: Path) -> Path:
    return golden / "geometry"


@pytest.fixture(scope="module")
def meta(geometry: Path) -> dict[str, Any]:
    return dict(json.loads((geometry / "meta.json").read_text()))


@pytest.fixture(scope="module")
def stored(geometry: Path) -> dict[str, np.ndarray]:
    return dict(np.load(geometry / "landmarks.npz"))


def named(stored: dict[str, np.ndarray], kind: str) -> Iterator[tuple[list[str], np.ndarray]]:
    """The parts after the first of each array name of one kind, with the array."""
    found = [(name.split("|")[1:], array) for name, array in stored.items() if name.split("|")[0] == kind]
    assert found, f"golden/geometry has no {kind} arrays"
    yield from found


def corner_error(made: Affine, expected: np.ndarray, size: int) -> float:
    """How far the corners of the crop lie apart, in pixels of the crop."""
    corners = affine.apply(affine.invert(expected), [(0, 0), (size, 0), (size, size), (0, size)])
    return float(np.abs(affine.apply(made, corners) - affine.apply(expected, corners)).max())


def test_face_types_have_the_known_numbers(meta: dict[str, Any]) -> None:
    for name, code in meta["face_type_enum"].items():
        assert FACE_TYPE_CODES[FaceType(name)] == code
    for name, (padding, axis_aligned) in meta["face_type_padding"].items():
        assert PADDING[FaceType(name)] == padding
        assert (FaceType(name) in AXIS_ALIGNED) == axis_aligned


def test_mirror_pairs(meta: dict[str, Any]) -> None:
    expected = np.arange(68)
    for one, other in meta["mirror_pairs"]:
        expected[one], expected[other] = other, one
    np.testing.assert_array_equal(lm.MIRROR, expected)


def test_template(geometry: Path) -> None:
    constants = np.load(geometry / "constants.npz")
    np.testing.assert_array_equal(TEMPLATE_33, constants["landmarks_2D_mean33"])
    np.testing.assert_array_equal(TEMPLATE_51, constants["landmarks_2D_old"])


def test_transform_of_every_face_type_size_and_scale(stored: dict[str, np.ndarray]) -> None:
    for (face_type, size, scale), expected in named(stored, "mat"):
        for landmarks, matrix in zip(stored["landmarks"], expected, strict=True):
            made = transform(landmarks, int(size), FaceType(face_type), float(scale))
            assert corner_error(made, matrix, int(size)) < CORNER_TOLERANCE_PX, (face_type, size, scale)


def test_similarity(stored: dict[str, np.ndarray]) -> None:
    for landmarks, expected in zip(stored["landmarks"], stored["umeyama"], strict=True):
        np.testing.assert_allclose(similarity(landmarks), expected[:2], rtol=1e-5, atol=2e-6)


def test_aligned_and_mirrored_landmarks(stored: dict[str, np.ndarray]) -> None:
    for (face_type, size), expected in named(stored, "aligned"):
        for landmarks, aligned in zip(stored["landmarks"], expected, strict=True):
            made = affine.apply(transform(landmarks, int(size), FaceType(face_type)), landmarks)
            np.testing.assert_allclose(made, aligned, atol=CORNER_TOLERANCE_PX)
    for name, expected in named(stored, "mirror"):
        for aligned, mirrored in zip(stored["|".join(["aligned", *name])], expected, strict=True):
            np.testing.assert_allclose(lm.mirror(aligned, int(name[1])), mirrored, atol=1e-4)


def test_pitch_and_yaw_with_our_own_mean_face(stored: dict[str, np.ndarray]) -> None:
    """Ours is another mean face, of free origin; people sort and balance facesets by these angles all the same."""
    for name, expected in named(stored, "pyr"):
        aligned = stored["|".join(["aligned", *name])]
        poses = [pose(points, int(name[1])) for points in aligned]
        made = np.degrees([(angles.pitch, angles.yaw) for angles in poses])
        apart = np.abs(made - np.degrees(expected[:, :2]))
        pitch, yaw = np.median(apart, axis=0)
        assert max(pitch, yaw) < 2, f"{name}: median {pitch:.2f}° of pitch, {yaw:.2f}° of yaw"
        assert np.percentile(apart, 90) < 4


def test_pose_with_the_recorded_mean_face(geometry: Path, stored: dict[str, np.ndarray]) -> None:
    """With the same rigid face the angles are the same, so what is left of a difference is the face's."""
    face = np.load(geometry / "constants.npz")["landmarks_3D_mean68"]
    for name, expected in named(stored, "pyr"):
        aligned = stored["|".join(["aligned", *name])]
        poses = [pose_against(points, int(name[1]), face) for points in aligned]
        made = np.array([(angles.pitch, angles.yaw, angles.roll) for angles in poses])
        upright = np.abs(expected[:, 2]) < 1.5  # the others are the solver's mirrored solutions, which ours avoids
        assert upright.mean() > 0.9
        np.testing.assert_allclose(made[upright], expected[upright], atol=1e-3)


def test_a_scaled_mean_face(geometry: Path) -> None:
    """Conformance values of a face without expression: crop, masks and raised brows at 512 px."""
    landmarks = np.load(geometry / "constants.npz")["landmarks_3D_mean68"][:, :2].astype(np.float64) * 2 + (400, 380)
    whole = [[0.4998834, -0.003101452, -72.33188], [0.003101377, 0.4998834, -49.22322]]
    head = [[0.3575412, -0.002218305, -15.1879], [0.002218274, 0.3575413, 38.18206]]
    np.testing.assert_allclose(transform(landmarks, 256, FaceType.WHOLE_FACE), whole, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(transform(landmarks, 256, FaceType.HEAD), head, rtol=1e-5, atol=1e-4)
    aligned = affine.apply(transform(landmarks, 512, FaceType.WHOLE_FACE), landmarks)
    assert [face_hull(aligned, 512, 512, factor).sum() for factor in (1.0, 1.5)] == [72896, 76054]
    assert eyes_mask(aligned, 512, 512).sum() == pytest.approx(3385, abs=0.5)
    assert mouth_mask(aligned, 512, 512).sum() == pytest.approx(2549, abs=0.5)
    assert lm.expand_eyebrows(aligned)[17:20].tolist() == [[123, 170], [146, 143], [178, 139]]


def test_rectangle_from_landmarks(stored: dict[str, np.ndarray]) -> None:
    for landmarks, expected in zip(stored["landmarks"], stored["rect_from_landmarks"], strict=True):
        rect = rect_of(landmarks)
        made = (rect.left, rect.top, rect.right, rect.bottom)
        np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-3)


def test_expanded_eyebrows(stored: dict[str, np.ndarray]) -> None:
    prefix = "expand_eyebrows_"
    names = [name for name in stored if name.startswith(prefix)]
    assert names
    for name in names:
        for landmarks, expected in zip(stored["landmarks"], stored[name], strict=True):
            np.testing.assert_array_equal(lm.expand_eyebrows(landmarks, float(name.removeprefix(prefix))), expected)


def test_perturbed_matrices(stored: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    size = min(meta["output_sizes"])
    matrices = stored[f"mat|{FaceType.WHOLE_FACE}|{size}|1.0"]
    parameters = stored["matjitter_params_tx_ty_rotdeg_scale"]
    for matrix, (tx, ty, degrees, scale), expected in zip(matrices, parameters, stored["matjitter_out"], strict=False):
        made = affine.perturb(matrix, size, shift=(tx, ty), degrees=degrees, scale=scale)
        assert corner_error(made, expected, size) < CORNER_TOLERANCE_PX


def test_conversion_between_face_types(geometry: Path, stored: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    sizes = meta["facetype_conversion"]
    for name, expected in np.load(geometry / "facetype_conversion.npz").items():
        come, go = (FaceType(part) for part in name.split("->"))
        for landmarks, matrix in zip(stored["landmarks"], expected, strict=False):
            aligned = affine.apply(transform(landmarks, sizes["aligned_size"], come), landmarks)
            made = conversion(aligned.astype(np.float32), sizes["target_size"], go)
            assert corner_error(made, matrix, sizes["target_size"]) < CORNER_TOLERANCE_PX, name


def test_masks(geometry: Path, meta: dict[str, Any]) -> None:
    arrays = np.load(geometry / "masks.npz")
    numbers = [name.split("_")[1] for name in arrays.files if name.startswith("lmrks_")]
    assert numbers
    size = meta["mask_size"]
    for number in numbers:
        points = arrays[f"lmrks_{number}"]
        for name in arrays.files:
            kind, _, index = name.rpartition("_")
            if index != number or not kind.startswith("hull") or kind == "hull_frame":
                continue
            factor = float(kind.removeprefix("hull").removeprefix("_e") or 1)
            made = face_hull(points, size, size, factor)
            np.testing.assert_array_equal(made, arrays[name][..., 0], err_msg=name)
        np.testing.assert_allclose(eyes_mask(points, size, size), arrays[f"eyes_{number}"][..., 0], atol=1e-5)
        np.testing.assert_allclose(mouth_mask(points, size, size), arrays[f"mouth_{number}"][..., 0], atol=1e-5)


def test_hull_in_the_frame(geometry: Path, stored: dict[str, np.ndarray]) -> None:
    arrays = np.load(geometry / "masks.npz")
    names = [name for name in arrays.files if name.startswith("hull_frame_")]
    assert names
    for name in names:
        expected = arrays[name][..., 0]
        landmarks = stored["landmarks"][int(name.rpartition("_")[2])]
        np.testing.assert_array_equal(face_hull(landmarks, *expected.shape), expected)
