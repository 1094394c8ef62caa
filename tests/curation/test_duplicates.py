"""Near-duplicates: what an encoder, a shift or a flicker changes does not count; what a face does, counts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from shots import small_shot
from understudy.curation.duplicates import DIMENSIONS, difference, find_duplicates, print_of
from understudy.curation.person_options import DedupeOptions
from understudy.demo.footage import Performer
from understudy.errors import UnreadableFace
from understudy.facesets import Face, FaceMeta, decode_jpeg, encode_jpeg
from understudy.geometry import affine, transform
from understudy.records import FaceType

THRESHOLD = DedupeOptions().threshold
SIZE = 256


def drawn_face(index: int = 0, performer: Performer = Performer.ASTRONAUT, *, frames: int = 12) -> Face:
    shot = small_shot(performer, frames=frames)
    landmarks = shot.truth.landmarks[index]
    matrix = transform(landmarks, SIZE, FaceType.WHOLE_FACE)
    picture = cv2.warpAffine(shot.frames[index], matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC)
    return Face(np.asarray(picture, np.uint8), FaceMeta(FaceType.WHOLE_FACE, affine.apply(matrix, landmarks)))


def shifted(face: Face, x: float, y: float) -> Face:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float64)
    moved = cv2.warpAffine(face.rgb8, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    return Face(np.asarray(moved, np.uint8), face.meta.but(landmarks=affine.apply(matrix, face.meta.landmarks)))


def brighter(face: Face) -> Face:
    return Face(np.clip(face.rgb8 * 0.8 + 15, 0, 255).astype(np.uint8), face.meta)


def encoded_again(face: Face, quality: int) -> Face:
    return Face(decode_jpeg(encode_jpeg(face.rgb8, quality)), face.meta)


def with_closed_eyes(face: Face) -> Face:
    """Skin from below the eyes laid over them."""
    picture = face.rgb8.copy()
    for eye in (slice(36, 42), slice(42, 48)):
        points = face.meta.landmarks[eye]
        (left, top), (right, bottom) = points.min(axis=0).astype(int) - 2, points.max(axis=0).astype(int) + 3
        height = bottom - top
        picture[top:bottom, left:right] = picture[bottom : bottom + height, left:right]
    return Face(picture, face.meta)


@pytest.mark.parametrize(
    "change",
    [
        lambda face: face,
        lambda face: encoded_again(face, 80),
        lambda face: encoded_again(face, 50),
        lambda face: shifted(face, 1.4, -2.3),
        brighter,
        lambda face: encoded_again(brighter(shifted(face, -0.6, 0.7)), 75),
    ],
    ids=["itself", "encoded at 80", "encoded at 50", "shifted", "other light", "all together"],
)
@pytest.mark.parametrize("performer", Performer)
def test_the_same_picture_is_a_duplicate(performer: Performer, change: object) -> None:
    face = drawn_face(0, performer)
    assert callable(change)
    assert difference(print_of(face), print_of(change(face))) < THRESHOLD


@pytest.mark.parametrize("performer", Performer)
def test_a_blink_is_no_duplicate(performer: Performer) -> None:
    face = drawn_face(0, performer)
    assert difference(print_of(face), print_of(with_closed_eyes(face))) > 2 * THRESHOLD


def test_speaking_and_turning_are_no_duplicates() -> None:
    prints = [print_of(drawn_face(index)) for index in range(0, 12, 4)]
    assert difference(prints[0], prints[1]) > THRESHOLD
    assert difference(prints[0], prints[2]) > THRESHOLD


def test_two_people_are_no_duplicates() -> None:
    assert difference(print_of(drawn_face()), print_of(drawn_face(performer=Performer.ADMIRAL))) > 5 * THRESHOLD


def test_a_face_without_landmarks_has_no_print() -> None:
    face = drawn_face()
    for landmarks in (np.zeros((0, 2)), np.full((68, 2), 3.0), np.full((68, 2), np.nan)):
        with pytest.raises(UnreadableFace):
            print_of(Face(face.rgb8, face.meta.but(landmarks=landmarks)))


def test_a_tiny_and_a_black_picture_have_prints() -> None:
    face = drawn_face()
    for picture in (face.rgb8[:5, :4].copy(), np.zeros_like(face.rgb8)):
        assert print_of(Face(picture, face.meta)).shape == (DIMENSIONS,)


def made_prints(count: int, copies: int, *, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    """`count` different prints, each `copies` times with a little noise."""
    random = np.random.default_rng(seed)
    firsts = random.normal(0, 32, (count, DIMENSIONS))
    every = np.repeat(firsts, copies, axis=0) + random.normal(0, noise, (count * copies, DIMENSIONS))
    return np.clip(np.rint(every), -127, 127).astype(np.int8)


def test_the_worthiest_stays() -> None:
    groups = find_duplicates(made_prints(3, 4), [0, 9, 1, 2, 5, 1, 1, 1, 0, 0, 0, 3], THRESHOLD)
    assert [group.kept for group in groups] == [1, 4, 11]
    assert [number for group in groups for number, _ in group.dropped] == [0, 2, 3, 5, 6, 7, 8, 9, 10]


def test_the_earlier_stays_of_equals() -> None:
    (group,) = find_duplicates(made_prints(1, 3), [1, 1, 1], THRESHOLD)
    assert group.kept == 0


def test_a_slow_movement_keeps_its_stages() -> None:
    """Each face is a duplicate of the next, but every dropped one must be close to the one that stays."""
    random = np.random.default_rng(0)
    start, end = random.normal(0, 32, (2, DIMENSIONS))
    steps = np.linspace(0, 1, 60)[:, None]
    prints = np.clip(np.rint(start * (1 - steps) + end * steps), -127, 127).astype(np.int8)
    groups = find_duplicates(prints, [0.0] * 60, 10)
    kept = 60 - sum(len(group.dropped) for group in groups)
    assert 10 < kept < 40
    assert all(difference(prints[group.kept], prints[n]) <= 10 for group in groups for n, _ in group.dropped)


def test_the_index_misses_nothing() -> None:
    """Against comparing every pair, on prints so near each other that many lie at the edge."""
    random = np.random.default_rng(2)
    base = random.normal(0, 32, (6, DIMENSIONS))
    blends = random.dirichlet(np.full(6, 0.15), 300) @ base
    prints = np.clip(np.rint(blends + random.normal(0, 2, blends.shape)), -127, 127).astype(np.int8)
    worth = random.random(300)
    found = find_duplicates(prints, worth.tolist(), 12)
    kept: list[int] = []
    dropped: set[int] = set()
    for number in np.argsort(-worth).tolist():
        if any(difference(prints[other], prints[number]) <= 12 for other in kept):
            dropped.add(number)
        else:
            kept.append(number)
    assert {number for group in found for number, _ in group.dropped} == dropped
    assert 30 < len(dropped) < 290


def test_nothing_and_one_face_have_no_duplicates() -> None:
    prints = made_prints(1, 1)
    assert find_duplicates(prints[:0], [], THRESHOLD) == []
    assert find_duplicates(prints, [1.0], THRESHOLD) == []
