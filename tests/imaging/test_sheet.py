"""Sheets show what was put on them, where it was put."""

from __future__ import annotations

import numpy as np

from understudy.imaging.sheet import BACK, BeforeAfter, Sheet, before_and_after


def test_pictures_stay_as_they_are() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8)
    sheet = Sheet(30, 20)
    sheet.put(picture, 4, 5)
    np.testing.assert_array_equal(sheet.pixels[5:11, 4:13], picture)
    assert (sheet.pixels[:5] == BACK).all()


def test_text_that_ends_at_a_place() -> None:
    sheet = Sheet(200, 40)
    sheet.write("up to here", 150, 4, to_left=True)
    inked = np.flatnonzero((sheet.pixels != BACK).any(axis=(0, 2)))
    assert inked[0] > 60
    assert inked[-1] <= 150


def test_differences_are_shown_amplified_around_grey() -> None:
    """Pictures of several sizes; what is too much is clipped."""
    small = np.full((40, 50, 3), 100, np.uint8)
    rows = [
        BeforeAfter("small", small, small + 5),
        BeforeAfter("large", np.zeros((60, 80, 3), np.uint8), np.full((60, 80, 3), 90, np.uint8)),
    ]
    shown = before_and_after(rows, amplified=4).pixels
    colours = {tuple(colour) for colour in np.unique(shown.reshape(-1, 3), axis=0).tolist()}
    assert {(148, 148, 148), (255, 255, 255), (105, 105, 105), (90, 90, 90)} <= colours
    assert before_and_after([], amplified=4).pixels.ndim == 3
