"""The small loss graph that stands above every picture of the preview history and of a backup.

Losses of all iterations side by side, squeezed into the width of the picture: one column for each run of neighbouring
iterations, a bar from the least to the greatest loss of the run. Scale, colours and lines are the reference's, so that
histories of both programs compare.
"""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from understudy.training.history import History

HEIGHT = 100
BACKGROUND, LINE = 0.1, 0.8
LINES = 6
LABEL_HEIGHT = 18
"""Pixels at the bottom in which the iteration is written."""


def loss_graph(history: History, width: int, *, iteration: int, height: int = HEIGHT) -> NDArray[np.uint8]:
    """(height, width, 3) RGB, 8 bit. The greatest loss shown is twice the mean of all but the first fifth."""
    picture = np.full((height, width, 3), BACKGROUND, np.float32)
    losses = [np.asarray(values, np.float64) for values in history.losses.values()]
    top = _full_scale(losses)
    for place, values in enumerate(losses):
        if len(values):
            _draw_bars(picture, values / top, colour_of(place, len(losses)))
    for line in range(LINES):
        picture[min(int(line * 0.198 * height), height - 1)] = LINE
    return _labelled(np.rint(picture * 255).astype(np.uint8), f"Iter: {iteration}")


def colour_of(place: int, count: int) -> tuple[float, float, float]:
    """RGB of one of several losses: blue for src and yellow for dst, where these are all.

    Hues evenly spaced, with red and blue swapped: the reference writes RGB into a BGR picture.
    """
    red, green, blue = colorsys.hsv_to_rgb(place / count, 1.0, 1.0)
    return blue, green, red


def _full_scale(losses: list[NDArray[np.float64]]) -> float:
    """Twice the mean of all losses from the first fifth on; 1 where there are none."""
    later = [values[len(values) // 5 :] for values in losses]
    known = np.concatenate([values[np.isfinite(values)] for values in later]) if later else np.empty(0)
    return float(2 * known.mean()) or 1.0 if known.size else 1.0


def _draw_bars(picture: NDArray[np.float32], shares: NDArray[np.float64], colour: tuple[float, ...]) -> None:
    """A bar for each column of the picture, over those drawn before; shares: of the full scale. In place."""
    height, width = picture.shape[:2]
    starts = np.arange(width) * len(shares) // width
    known = np.isfinite(shares)
    least = np.minimum.reduceat(np.where(known, shares, np.inf), starts)
    greatest = np.maximum.reduceat(np.where(known, shares, -np.inf), starts)
    seen = greatest >= least
    low, high = (_rows(ends, seen, height) for ends in (least, greatest))
    rows = (height - 1 - np.arange(height))[:, None]
    picture[(rows >= low) & (rows <= high) & seen] = colour


def _rows(shares: NDArray[np.float64], seen: NDArray[np.bool_], height: int) -> NDArray[np.int64]:
    """Heights above the bottom, in pixels, of shares of the full scale."""
    rows: NDArray[np.int64] = np.clip(np.where(seen, shares, 0.0) * (height - 1), 0, height - 1).astype(np.int64)
    return rows


def _labelled(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """The picture with a text in its lowest strip."""
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((4, picture.shape[0] - LABEL_HEIGHT), text, fill=(204, 204, 204))
    return np.asarray(image)
