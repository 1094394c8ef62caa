"""Looks of faces: the same person is closer than another one, through light, size and halves of the face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from shots import small_shot
from understudy.curation.appearance import DIMENSIONS, describe, frontal_texture, quality
from understudy.demo.footage import Performer
from understudy.errors import UnreadableFace
from understudy.facesets import Face, FaceMeta
from understudy.geometry import affine, transform
from understudy.geometry.landmarks import mirror
from understudy.records import FaceType


def drawn_face(performer: Performer, index: int = 0, *, size: int = 128) -> Face:
    shot = small_shot(performer)
    landmarks = shot.truth.landmarks[index]
    matrix = transform(landmarks, size, FaceType.WHOLE_FACE)
    picture = cv2.warpAffine(shot.frames[index], matrix, (size, size), flags=cv2.INTER_CUBIC)
    return Face(np.asarray(picture, np.uint8), FaceMeta(FaceType.WHOLE_FACE, affine.apply(matrix, landmarks)))


def test_a_look_is_a_unit_vector() -> None:
    look = describe(drawn_face(Performer.ASTRONAUT))
    assert look.shape == (DIMENSIONS,)
    assert look.dtype == np.float32
    assert np.linalg.norm(look) == pytest.approx(1, abs=1e-5)


def test_two_people_are_told_apart_in_every_frame() -> None:
    ours, theirs = ([describe(drawn_face(p, i)) for i in range(0, 12, 3)] for p in Performer)
    least_alike = min(float(a @ b) for faces in (ours, theirs) for a in faces for b in faces)
    most_alike = max(float(a @ b) for a in ours for b in theirs)
    assert least_alike > most_alike + 0.2


@pytest.mark.parametrize("change", [lambda p: p * 0.7, lambda p: p * 1.15 + 12, lambda p: 255 * (p / 255) ** 1.4])
def test_light_changes_little(change: object) -> None:
    face = drawn_face(Performer.ADMIRAL)
    assert callable(change)
    changed = Face(np.clip(change(face.rgb8.astype(np.float32)), 0, 255).astype(np.uint8), face.meta)
    assert float(describe(face) @ describe(changed)) > 0.9


def test_size_changes_little() -> None:
    large, small = (describe(drawn_face(Performer.ASTRONAUT, size=size)) for size in (640, 128))
    assert float(large @ small) > 0.93


def test_a_mirrored_face_is_the_same_person() -> None:
    face = drawn_face(Performer.ASTRONAUT)
    flipped = Face(np.ascontiguousarray(face.rgb8[:, ::-1]), face.meta.but(landmarks=mirror(face.meta.landmarks, 128)))
    assert float(describe(face) @ describe(flipped)) > 0.9


def test_a_blurred_face_is_worth_less() -> None:
    face = drawn_face(Performer.ASTRONAUT)
    blurred = Face(np.asarray(cv2.GaussianBlur(face.rgb8, (0, 0), 3), np.uint8), face.meta)
    assert quality(blurred) < 0.6 * quality(face)


def test_landmarks_far_outside_give_some_vector() -> None:
    """What other programs store need not make sense; it must not bring a sort of 10,000 faces down."""
    face = drawn_face(Performer.ASTRONAUT)
    for points in (face.meta.landmarks * 1e6, face.meta.landmarks - 1e4, face.meta.landmarks * 20):
        assert np.isfinite(describe(Face(face.rgb8, face.meta.but(landmarks=points)))).all()


def test_a_tiny_picture_gives_some_vector() -> None:
    face = drawn_face(Performer.ASTRONAUT)
    assert np.isfinite(describe(Face(face.rgb8[:3, :2].copy(), face.meta))).all()


@pytest.mark.parametrize("landmarks", [np.zeros((0, 2)), np.full((68, 2), 7.0), np.full((68, 2), np.nan)])
def test_no_landmarks_no_look(landmarks: np.ndarray) -> None:
    face = drawn_face(Performer.ASTRONAUT)
    with pytest.raises(UnreadableFace):
        describe(Face(face.rgb8, face.meta.but(landmarks=landmarks)))


def test_the_texture_does_not_move_with_the_face() -> None:
    """The same picture shifted and turned fills the same texture."""
    face = drawn_face(Performer.ASTRONAUT, size=256)
    turn = np.asarray(cv2.getRotationMatrix2D((128, 128), 20, 0.9), np.float64)
    turned = np.asarray(cv2.warpAffine(face.rgb8, turn, (256, 256), flags=cv2.INTER_CUBIC), np.uint8)
    first = frontal_texture(face.rgb8, face.meta.landmarks).astype(float)
    second = frontal_texture(turned, affine.apply(turn, face.meta.landmarks)).astype(float)
    assert np.abs(first - second).mean() < 4
