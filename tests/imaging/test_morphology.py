"""Erosion, dilation and feathering agree with OpenCV's own, however they are computed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from understudy.imaging import morphology
from understudy.imaging.types import Mask

BOTH_WAYS = [1, 2, 9, 12, 13, 20, 37, 64]
ONE_STEP = 1 / 255


@pytest.fixture(scope="module")
def soft() -> Mask:
    """A mask as a network draws it, resized with a cubic filter: it leaves 0..1 a little."""
    rng = np.random.default_rng(5)
    coarse = cv2.GaussianBlur((rng.random((64, 64)) > 0.45).astype(np.float32), (5, 5), 0)
    return np.asarray(cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC), np.float32)


def ellipse(size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


@pytest.mark.parametrize("size", BOTH_WAYS)
def test_erosion_is_the_minimum_under_an_ellipse(soft: Mask, size: int) -> None:
    expected = cv2.erode(soft, ellipse(size), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    np.testing.assert_allclose(morphology.erode(soft, size), expected, atol=2e-5)


@pytest.mark.parametrize("size", BOTH_WAYS)
def test_dilation_is_the_maximum_under_an_ellipse(soft: Mask, size: int) -> None:
    expected = cv2.dilate(soft, ellipse(size), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    np.testing.assert_allclose(morphology.dilate(soft, size), expected, atol=2e-5)


def test_an_element_larger_than_the_mask_leaves_nothing() -> None:
    assert not morphology.erode(np.ones((64, 64), np.float32), 200).round(4).any()


def test_nothing_asked_for_nothing_done(soft: Mask) -> None:
    for same in (morphology.erode, morphology.dilate, morphology.feather, morphology.feather_coarsely):
        np.testing.assert_array_equal(same(soft, 0), soft)


@pytest.mark.parametrize("size", [1, 10, 30, *range(36, 48), 77, *range(82, 94), 100, *range(180, 190), 199, 200, 400])
@pytest.mark.parametrize("shape", ["square", "disc", "soft"])
def test_a_coarse_feather_shows_no_difference(size: int, shape: str) -> None:
    """A hard-edged square cut to half the feather is the worst case that a merge can make."""
    side = 512
    mask = {"square": np.ones((side, side), np.float32), "disc": _disc(side, 400), "soft": _disc(side, 4)}[shape]
    border = size // 2
    mask[:border] = mask[side - border :] = 0
    mask[:, :border] = mask[:, side - border :] = 0
    coarse = morphology.feather_coarsely(mask, size)
    assert len(coarse) in (side, side // 2, side // 4, side // 8)
    fine = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    assert float(np.abs(fine - morphology.feather(mask, size)).max()) < ONE_STEP


def _disc(side: int, steepness: float) -> Mask:
    along = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    distance = (along[None, :] ** 2 + along[:, None] ** 2) / 0.4**2
    return np.clip((1 - distance) * steepness, 0, 1).astype(np.float32)
