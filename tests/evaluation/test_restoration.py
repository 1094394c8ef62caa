"""The figures by which restored faces are judged."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut
from skimage.metrics import structural_similarity

from understudy.evaluation.restoration import closeness, gradient_similarity, luma, plausibility, psnr, ssim
from understudy.imaging.types import Image, as_float


@pytest.fixture(scope="module")
def face() -> Image:
    return as_float(np.ascontiguousarray(astronaut()[20:212, 130:322]))


@pytest.fixture(scope="module")
def soft(face: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(face, (0, 0), 2.0), np.float32)


def test_a_picture_is_as_close_to_itself_as_can_be(face: Image) -> None:
    same = closeness(face, face)
    assert same.psnr == 100
    assert same.ssim == pytest.approx(1, abs=1e-5)
    assert same.gradients == pytest.approx(1, abs=1e-5)


def test_ssim_is_the_one_of_the_literature(face: Image, soft: Image) -> None:
    first, second = luma(face), luma(soft)
    _, everywhere = structural_similarity(
        first, second, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert ssim(first, second) == pytest.approx(everywhere.mean(), abs=1e-3)


def test_half_blurred_is_closer_than_blurred_in_every_figure(face: Image, soft: Image) -> None:
    less = closeness(np.asarray(cv2.GaussianBlur(face, (0, 0), 1.0), np.float32), face)
    more = closeness(soft, face)
    assert less.psnr > more.psnr
    assert less.ssim > more.ssim
    assert less.gradients > more.gradients


def test_psnr_of_a_known_error(face: Image) -> None:
    assert psnr(np.zeros((8, 8, 3), np.float32), np.full((8, 8, 3), 0.1, np.float32)) == pytest.approx(20, abs=1e-3)


def test_gradients_do_not_mind_brightness(face: Image) -> None:
    grey = luma(face) * np.float32(0.5)
    assert gradient_similarity(grey, grey + np.float32(0.2)) == pytest.approx(1, abs=1e-4)


def test_the_true_face_is_plausible_for_its_soft_one(face: Image, soft: Image) -> None:
    found = plausibility(face, soft, blur_px=6)
    assert found.faithful > 40
    assert found.detail > 1.5
    assert found.overshoot < 0.02


def test_another_colour_spots_and_grain_are_noticed(face: Image, soft: Image) -> None:
    rng = np.random.default_rng(0)
    spots = face.copy()
    spots[::8, ::8] = 1 - spots[::8, ::8]
    assert plausibility(face * np.float32(0.8), soft, blur_px=6).faithful < 30
    assert plausibility(spots, soft, blur_px=6).overshoot > plausibility(face, soft, blur_px=6).overshoot + 0.003
    grainy = np.asarray(soft + rng.normal(0, 0.05, soft.shape), np.float32)
    assert plausibility(grainy, soft, blur_px=6).noise > 5
