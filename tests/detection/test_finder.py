"""Finding faces: where they are known to be, however they are turned, and nowhere else."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from shots import small_shot
from understudy.detection import Engine, FoundFace, load_engine
from understudy.detection.finder import TILE, tiles
from understudy.detection.options import Accuracy
from understudy.records import Rect

Image8 = NDArray[np.uint8]


@functools.cache
def engine() -> Engine:
    return load_engine()


@functools.cache
def portrait() -> Image8:
    """The upper half of the astronaut, 300x300, with one frontal face 103 px high."""
    return np.ascontiguousarray(data.astronaut()[:300, 75:375])


@functools.cache
def portrait_face() -> FoundFace:
    (face,) = engine().find(portrait())
    return face


def centre(face: FoundFace) -> NDArray[np.float64]:
    return np.array([(face.rect.left + face.rect.right) / 2, (face.rect.top + face.rect.bottom) / 2])


def eye_distance(landmarks: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(landmarks[36] - landmarks[45]))


def test_a_face_comes_with_box_landmarks_and_mesh_in_frame_pixels() -> None:
    face = portrait_face()
    assert face.landmarks.shape == (68, 2)
    assert face.landmarks.dtype == np.float64
    assert face.mesh is not None
    assert face.mesh.shape == (468, 3)
    assert face.mesh.dtype == np.float32
    assert 0.8 < face.confidence <= 1
    assert 95 < face.rect.height < 120
    inside = (face.landmarks > (face.rect.left - 1, face.rect.top - 1)).all()
    assert inside
    assert (face.landmarks < (face.rect.right + 1, face.rect.bottom + 1)).all()


@pytest.mark.parametrize("degrees", range(0, 360, 30))
def test_a_face_is_found_however_the_head_is_turned_in_the_picture(degrees: int) -> None:
    matrix = cv2.getRotationMatrix2D((150, 130), degrees, 0.8)
    turned = cv2.warpAffine(portrait(), matrix, (300, 300), borderMode=cv2.BORDER_REPLICATE)
    (face,) = engine().find(turned)
    expected = portrait_face().landmarks @ matrix[:, :2].T + matrix[:, 2]
    error = np.linalg.norm(face.landmarks - expected, axis=1).mean() / eye_distance(expected)
    assert error < 0.06


@pytest.mark.parametrize(("size", "place"), [(60, (1800, 900)), (90, (40, 60)), (400, (700, 300))])
def test_faces_from_30_px_on_are_found_anywhere_in_a_large_frame(size: int, place: tuple[int, int]) -> None:
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    small = cv2.resize(portrait()[40:220, 60:240], (size, size), interpolation=cv2.INTER_AREA)
    x, y = min(place[0], 1920 - size), min(place[1], 1080 - size)
    frame[y : y + size, x : x + size] = small
    (face,) = engine().find(frame)
    assert np.abs(centre(face) - (x + size / 2, y + size / 2)).max() < size / 4


def test_several_faces_come_largest_first_and_the_largest_are_kept() -> None:
    frame = np.full((300, 700, 3), 128, np.uint8)
    frame[:, :300] = portrait()
    frame[40:240, 400:600] = cv2.resize(portrait(), (200, 200), interpolation=cv2.INTER_AREA)
    faces = engine().find(frame)
    assert [face.rect.left > 350 for face in faces] == [False, True]
    (largest,) = engine().find(frame, max_faces=1)
    assert largest.rect.left < 350


def test_no_face_is_found_where_there_is_none() -> None:
    random = np.random.default_rng(1)
    pictures = [np.zeros((240, 320, 3), np.uint8), random.integers(0, 256, (240, 320, 3), np.uint8)]
    pictures += [np.ascontiguousarray(getattr(data, name)()) for name in ("coffee", "chelsea", "rocket")]
    for picture in pictures:
        assert engine().find(picture) == []


@pytest.mark.parametrize("shape", [(1, 1), (13, 20), (3, 400)])
def test_tiny_pictures_are_no_error(shape: tuple[int, int]) -> None:
    assert engine().find(np.full((*shape, 3), 90, np.uint8)) == []


def test_previous_faces_are_a_hint_and_never_evidence() -> None:
    empty = np.full_like(portrait(), 128)
    assert engine().find(empty, previous=[portrait_face()]) == []
    wrong = FoundFace(Rect(0, 0, 20, 20), portrait_face().landmarks * 0.1, portrait_face().mesh, 1.0)
    (face,) = engine().find(portrait(), previous=[wrong])
    np.testing.assert_allclose(face.landmarks, portrait_face().landmarks, atol=2)


def test_newcomers_are_noticed_while_others_are_followed() -> None:
    frame = np.full((300, 700, 3), 128, np.uint8)
    frame[:, :300] = portrait()
    before = engine().find(frame)
    frame[:, 400:700] = portrait()
    assert len(engine().find(frame, previous=before)) == 2


def test_landmarks_of_drawn_shots_are_where_they_were_drawn() -> None:
    """The truth of a drawn shot is FaceMesh on a still portrait, moved; it shows that turns and speech are followed."""
    shot = small_shot(frames=6)
    errors = []
    for frame, truth in zip(shot.frames, shot.truth.landmarks, strict=True):
        (face,) = engine().find(frame)
        errors.append(np.linalg.norm(face.landmarks - truth, axis=1).mean() / eye_distance(truth))
    assert np.mean(errors) < 0.08


def test_the_same_picture_gives_the_same_face() -> None:
    (again,) = load_engine().find(portrait())
    np.testing.assert_array_equal(again.landmarks, portrait_face().landmarks)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (540, 960), (6000, 4000), (800, 800), (20000, 300)])
def test_tiles_cover_every_face_sized_piece_of_the_frame(width: int, height: int) -> None:
    squares = [tile for tile in tiles(width, height) if tile.side == TILE]
    for x, y in np.random.default_rng(0).uniform((50, 50), (width - 50, height - 50), (200, 2)):
        inside = [max(abs(x - tile.x), abs(y - tile.y)) + 50 <= tile.side / 2 + 1 for tile in squares]
        assert any(inside)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (360, 288), (400, 300)])
def test_small_frames_need_no_tiles(width: int, height: int) -> None:
    assert list(tiles(width, height)) == []


def test_landmarks_do_not_tremble_on_a_still_face() -> None:
    """A pixel of noise in the frame must not move the crop: merged faces would shake."""
    random = np.random.default_rng(0)
    noisy = [np.clip(portrait() + random.normal(0, 4, portrait().shape), 0, 255).astype(np.uint8) for _ in range(6)]
    landmarks = np.array([engine().find(picture)[0].landmarks for picture in noisy])
    assert landmarks.std(axis=0).mean() < 0.01 * eye_distance(portrait_face().landmarks)
    assert math.isfinite(float(landmarks.sum()))


def test_more_looks_tremble_less_and_see_the_same_face() -> None:
    """What --accuracy high promises; a mirrored look whose sides were not put back would be far off."""
    random = np.random.default_rng(0)
    noisy = [np.clip(portrait() + random.normal(0, 6, portrait().shape), 0, 255).astype(np.uint8) for _ in range(8)]
    finer = load_engine(accuracy=Accuracy.HIGH)
    fast = np.array([engine().find(picture)[0].landmarks for picture in noisy])
    high = np.array([finer.find(picture)[0].landmarks for picture in noisy])
    assert high.std(axis=0).mean() < 0.95 * fast.std(axis=0).mean()
    assert np.linalg.norm(high.mean(0) - fast.mean(0), axis=1).mean() < 0.03 * eye_distance(fast.mean(0))
