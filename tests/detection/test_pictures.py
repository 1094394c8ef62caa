"""Pieces of a frame: the same points, whatever the size, turn and level they are cut from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from understudy.detection.pictures import Picture, Square


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, -2.5])
def test_a_point_goes_into_a_square_and_comes_back(angle: float) -> None:
    square, points = Square(120.5, 80.25, 60.0, angle), np.random.default_rng(0).uniform(0, 200, (20, 2))
    np.testing.assert_allclose(square.to_frame(square.from_frame(points)), points, atol=1e-9)


@pytest.mark.parametrize("side", [40, 150, 400, 1100])
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_a_bright_spot_is_where_the_square_says_it_is(side: int, angle: float) -> None:
    """Halved copies move pixel centres; a spot must stay put across levels to a fraction of a pixel."""
    y, x = np.mgrid[0:900, 0:1200]
    spot, radius = (610.0, 420.0), side / 16
    frame = (255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * radius**2))).astype(np.uint8)
    square = Square(600.0, 430.0, float(side), angle)
    cut = Picture(np.repeat(frame[..., None], 3, axis=2)).cut(square, 96)[..., 0].astype(np.float64)
    row, column = np.mgrid[0:96, 0:96]
    centre = np.array([(cut * column).sum(), (cut * row).sum()]) / cut.sum()
    # Units of the square count from its edge, pixel centres lie half a pixel in.
    found = square.to_frame(((centre + 0.5) / 96)[None])[0]
    assert np.abs(found - spot).max() < side / 96 * 0.1 + 0.05


def test_what_lies_outside_the_frame_is_black() -> None:
    frame = np.full((50, 80, 3), 200, np.uint8)
    cut = Picture(frame).cut(Square(0.0, 0.0, 60.0), 60)
    assert cut[:20, :20].max() == 0
    assert cut[45, 45, 0] == 200


def test_fine_stripes_do_not_become_false_ones() -> None:
    """Aliasing would show detectors patterns that are not there."""
    frame = np.zeros((1024, 1024, 3), np.uint8)
    frame[:, ::2] = 255
    cut = Picture(frame).cut(Square(511.5, 511.5, 1000.0), 100)[10:-10, 10:-10]
    assert abs(float(cut.mean()) - 127.5) < 2
    assert float(cut.std()) < 3
