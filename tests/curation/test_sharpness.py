"""The classic measures of sharpness, against values and against the algorithm written out pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.feature import canny

from small_faces import face_files
from understudy.curation.sharpness import blur_score, cpbd, masked_grey, motion_blur_score
from understudy.facesets import Face, FaceMeta, decode_jpeg
from understudy.masks.hull import face_hull
from understudy.records import FaceType, Side


def pattern() -> np.ndarray:
    y, x = np.mgrid[:256, :256].astype(np.float64)
    values = 128 + 60 * np.sin(x / 9) + 50 * np.sign(np.sin(x / 23 + y / 57))
    return np.trunc(np.clip(values, 0, 255)).astype(np.uint8)


def test_known_values() -> None:
    assert cpbd(pattern()) == pytest.approx(0.0329608938547486, abs=1e-12)
    assert cpbd(cv2.GaussianBlur(pattern(), (0, 0), 2)) == 0


def test_what_has_no_block_or_no_edges_scores_nothing() -> None:
    assert cpbd(np.random.default_rng(0).integers(0, 255, (63, 200), np.uint8)) == 0
    assert cpbd(np.zeros((256, 256), np.uint8)) == 0
    assert cpbd(np.full((256, 256), 200, np.uint8)) == 0


def plain_cpbd(grey: np.ndarray) -> float:
    """Steps 1 to 7 as they are described, one pixel after the other."""
    image = grey.astype(np.float64)
    height, width = image.shape
    padded = np.pad(image, 1, mode="symmetric")
    change = (
        (padded[:-2, :-2] - padded[:-2, 2:]) + 2 * (padded[1:-1, :-2] - padded[1:-1, 2:]) + padded[2:, :-2]
    ) - padded[2:, 2:]
    strength = (change / 8) ** 2
    strength[strength <= 2 * np.sqrt(strength.mean())] = 0
    around = np.pad(strength, 1)
    gy, gx = np.gradient(image)
    angles = np.where(gx != 0, np.degrees(np.arctan2(gy, gx)), 0)
    widths = np.zeros((height, width), int)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            s, here = strength[y, x], around[y : y + 3, x : x + 3]
            is_edge = s > max(here[1, 0], here[1, 2]) or s > max(here[0, 1], here[2, 1])
            quantised = 45 * np.round(angles[y, x] / 45)
            if not is_edge or quantised not in (0, 180, -180) or not angles.any():
                continue
            sign = 1 if quantised == 0 else -1
            for step in (-1, 1):
                for margin in range(101):
                    inner, outer = x + step * (1 + margin), x + step * (2 + margin)
                    if not 0 <= outer < width or (image[y, outer] - image[y, inner]) * step * sign <= 0:
                        break
                widths[y, x] += margin + 1
    edges, buckets = canny(image), []
    for top in range(0, height - 63, 64):
        for left in range(0, width - 63, 64):
            block = np.s_[top : top + 64, left : left + 64]
            if edges[block].sum() <= 0.002 * 4096:
                continue
            just = 5 if int(np.ptp(image[block])) <= 50 else 3
            found = widths[block][widths[block] > 0]
            buckets += [round(100 * (1 - np.exp(-((w / just) ** 3.6)))) for w in found]
    return sum(bucket <= 63 for bucket in buckets) / len(buckets) if buckets else 0.0


def noisy(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(rng.uniform(0, 255, (height, width)), (0, 0), 1.0 + seed)
    return np.clip((soft - soft.mean()) * (2 + 3 * seed) + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_every_pixel_as_described(seed: int) -> None:
    """Also where the picture is black around its middle, and blocks are cut off at the right and the bottom."""
    grey = noisy(seed, 150, 200)
    assert cpbd(grey) == pytest.approx(plain_cpbd(grey), abs=1e-12)
    mask = np.zeros_like(grey)
    cv2.ellipse(mask, (110, 80), (70, 50), 20, 0, 360, 1, -1)
    assert cpbd(grey * mask) == pytest.approx(plain_cpbd(grey * mask), abs=1e-12)
    assert cpbd(grey) > 0 or seed > 1


def face(size: int = 192, sigma: float = 0.0) -> Face:
    _, jpeg, meta = face_files(Side.SRC)[0]
    picture = cv2.resize(decode_jpeg(jpeg), (size, size), interpolation=cv2.INTER_LANCZOS4)
    picture = np.clip(picture + np.random.default_rng(0).normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture
    return Face(picture, FaceMeta(FaceType.WHOLE_FACE, meta.landmarks * size / 64))


def test_only_the_face_counts() -> None:
    sharp = face()
    outside = face_hull(sharp.meta.landmarks, 192, 192) == 0
    other = sharp.rgb8.copy()
    other[outside] = 255 - other[outside]
    for score in (blur_score, motion_blur_score):
        assert score(other, sharp.meta) == score(sharp.rgb8, sharp.meta) > 0
    assert not masked_grey(sharp.rgb8, sharp.meta)[outside].any()


def test_blurred_faces_score_less() -> None:
    scores = [blur_score(face(sigma=sigma).rgb8, face().meta) for sigma in (0, 1, 3)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[1]
    smeared = [motion_blur_score(face(sigma=sigma).rgb8, face().meta) for sigma in (0, 1, 3)]
    assert smeared == sorted(smeared, reverse=True)


def test_the_laplacian_is_that_of_the_whole_masked_picture() -> None:
    one = face()
    masked = one.rgb8 * (face_hull(one.meta.landmarks, 192, 192)[..., None] > 0)
    expected = cv2.Laplacian(masked.astype(np.uint8), cv2.CV_64F, ksize=11).var()
    assert motion_blur_score(one.rgb8, one.meta) == pytest.approx(expected, rel=1e-12)


def test_a_hull_outside_of_the_picture_is_no_crash() -> None:
    away = FaceMeta(FaceType.WHOLE_FACE, face().meta.landmarks + 1000)
    assert (blur_score(face().rgb8, away), motion_blur_score(face().rgb8, away)) == (0, 0)
