"""A picture of the shots of a piece of footage: the first and the last frame of each, with its number and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from understudy.imaging.sheet import Sheet
from understudy.media.frames import Frame
from understudy.media.timecode import clock

Array = np.ndarray[Any, Any]

HEIGHT = 96
CAPTION = 22
GAP = 10
ACROSS = 4
MOST = 240
"""Shots on one sheet; more are left out and the last caption says so."""


@dataclass(frozen=True, eq=False)
class Thumb:
    """A small picture of a frame. time: seconds since the first frame."""

    index: int
    stem: str
    time: Fraction
    rgb8: Array

    @classmethod
    def of(cls, frame: Frame, time: Fraction, sar: Fraction) -> Thumb:
        """HEIGHT px high with natural proportions, no wider than 2.4 heights."""
        aspect = frame.width * float(sar) / frame.height
        width, height = max(1, round(HEIGHT * aspect)), HEIGHT
        if width > 2.4 * HEIGHT:
            width, height = round(2.4 * HEIGHT), max(1, round(2.4 * HEIGHT / aspect))
        step = max(1, frame.height // (3 * height))
        pixels = np.ascontiguousarray(frame.rgb8[::step, ::step])
        return cls(
            frame.index, Path(frame.name).stem, time, cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        )  # fmt: skip


def draw_sheet(shots: Sequence[tuple[Thumb, Thumb]]) -> Sheet:
    """Per shot its first and last frame side by side, in rows of four, at most MOST shots."""
    shown = shots[:MOST]
    width = max(first.rgb8.shape[1] + last.rgb8.shape[1] for first, last in shown) + 2
    width = max(width, 220)
    across = min(ACROSS, len(shown))
    down = -(-len(shown) // across)
    cell = (HEIGHT + CAPTION + GAP, width + GAP)
    sheet = Sheet(across * cell[1] + GAP, down * cell[0] + GAP)
    for number, (first, last) in enumerate(shown):
        top, left = GAP + number // across * cell[0], GAP + number % across * cell[1]
        sheet.put(first.rgb8, left, top)
        sheet.put(last.rgb8, left + first.rgb8.shape[1] + 2, top)
        more = f" (+{len(shots) - MOST} more)" if number == MOST - 1 < len(shots) - 1 else ""
        text = f"{number + 1}: {first.stem}-{last.stem}  {clock(first.time)}{more}"
        sheet.write(text, left, top + HEIGHT + 2)
    return sheet
