"""A picture of faces before and after, side by side, with what was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from understudy.imaging.files import encode_png

Pixels = NDArray[np.uint8]

CELL_PX, GAP_PX, LINE_PX = 384, 8, 22
_LOOKED_AT = 0.62
_TITLES = ("before", "after", "what was added, 4 times as strong")


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """One row. before, after: (S,S,3) uint8 RGB of the same size."""

    name: str
    before: Pixels
    after: Pixels


def draw_sheet(rows: Sequence[BeforeAfter]) -> bytes:
    """A PNG with one row per face: before, after, and their difference around middle grey."""
    width = len(_TITLES) * (CELL_PX + GAP_PX) + GAP_PX
    height = LINE_PX + len(rows) * (CELL_PX + LINE_PX + GAP_PX)
    sheet = Image.new("RGB", (width, height), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(_TITLES):
        draw.text((GAP_PX + column * (CELL_PX + GAP_PX), 4), title, fill=(230, 230, 230))
    for number, row in enumerate(rows):
        top = LINE_PX + number * (CELL_PX + LINE_PX + GAP_PX)
        added = 128 + 4 * (row.after.astype(np.float32) - row.before)
        for column, picture in enumerate((row.before, row.after, np.clip(added, 0, 255).astype(np.uint8))):
            sheet.paste(Image.fromarray(_cell(picture)), (GAP_PX + column * (CELL_PX + GAP_PX), top))
        draw.text((GAP_PX, top + CELL_PX + 3), row.name, fill=(170, 170, 170))
    return encode_png(np.asarray(sheet, np.uint8))


def _cell(picture: Pixels) -> Pixels:
    """The middle of a face, at the size of a cell."""
    side = picture.shape[0]
    edge = round(side * (1 - _LOOKED_AT) / 2)
    middle = picture[edge : side - edge, edge : side - edge]
    how = cv2.INTER_AREA if middle.shape[0] > CELL_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(middle, (CELL_PX, CELL_PX), interpolation=how), np.uint8)
