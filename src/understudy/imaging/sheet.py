"""Sheets to look at: pictures and a few words on a dark ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from understudy.imaging.files import encode_png

Array = np.ndarray[Any, Any]
Colour = tuple[int, int, int]

BACK, INK, FAINT, WARN = (24, 26, 30), (232, 234, 238), (150, 156, 166), (255, 176, 64)

_GAP, _LINE = 8, 22


class Sheet:
    """A dark picture that is filled bit by bit. Places are in px from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width, height), BACK)
        self._pen = ImageDraw.Draw(self._image)

    def put(self, picture: Array, left: int, top: int) -> None:
        """Lay (H, W, 3) uint8 RGB there; what does not fit is cut off."""
        self._image.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, top))

    def fill(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        """Colour a rectangle."""
        self._pen.rectangle((left, top, left + width - 1, top + height - 1), colour)

    def write(
        self, text: str, left: int, top: int, *, size: int = 14, colour: Colour = INK, to_left: bool = False
    ) -> None:
        """Write one or several lines, the first one below `top`. to_left: the text ends at `left`."""
        font = ImageFont.load_default(size)
        place = (left - self._pen.textlength(text, font) if to_left else left, top)
        self._pen.multiline_text(place, text, colour, font, spacing=2)

    @property
    def pixels(self) -> Array:
        """(H, W, 3) uint8 RGB."""
        return np.asarray(self._image, np.uint8)

    def png(self) -> bytes:
        return encode_png(self.pixels)


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """One picture before and after. before, after: (H, W, 3) uint8 RGB of one size."""

    name: str
    before: Array
    after: Array


def before_and_after(rows: Sequence[BeforeAfter], *, amplified: int) -> Sheet:
    """A row for each: before, after, and how they differ, `amplified` times as strong around middle grey."""
    width = max((row.before.shape[1] for row in rows), default=0) + _GAP
    heights = [row.before.shape[0] + _LINE + _GAP for row in rows]
    sheet = Sheet(max(3 * width + _GAP, 400), _LINE + sum(heights))
    for column, title in enumerate(("before", "after", f"difference, {amplified} times as strong")):
        sheet.write(title, _GAP + column * width, 3)
    top = _LINE
    for row, height in zip(rows, heights, strict=True):
        difference = 128 + amplified * (row.after.astype(np.int16) - row.before)
        for column, picture in enumerate((row.before, row.after, np.clip(difference, 0, 255).astype(np.uint8))):
            sheet.put(picture, _GAP + column * width, top)
        sheet.write(row.name, _GAP, top + row.before.shape[0] + 2, colour=FAINT)
        top += height
    return sheet
