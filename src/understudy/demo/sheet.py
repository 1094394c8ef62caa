"""The contact sheet: what went in, what was cut out, what the model learned and what came out, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from understudy.files import writing

Picture = NDArray[np.uint8]

LABEL = "altered by understudy"
WIDTH = 1600
_MARGIN, _CAPTION = 12, 30
_PAPER, _INK = (24, 24, 27), (228, 228, 231)


@dataclass(frozen=True, eq=False)
class Row:
    """A line of the sheet: equally high pictures (H,W,3) uint8 RGB under one caption."""

    caption: str
    pictures: Sequence[Picture]


def draw_sheet(rows: Sequence[Row], *, title: str) -> Picture:
    """The sheet, (H, WIDTH, 3) uint8 RGB, with the label that the pictures are altered in every row."""
    strips = [_strip(row) for row in rows if row.pictures]
    height = 2 * _CAPTION + sum(_CAPTION + strip.height + _MARGIN for strip in strips)
    sheet = Image.new("RGB", (WIDTH, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, 16), title, fill=_INK, font=ImageFont.load_default(24))
    top = 2 * _CAPTION
    for row, strip in zip([row for row in rows if row.pictures], strips, strict=True):
        pen.text((_MARGIN, top + 5), row.caption, fill=_INK, font=ImageFont.load_default(17))
        sheet.paste(strip, (_MARGIN, top + _CAPTION))
        top += _CAPTION + strip.height + _MARGIN
    return np.array(sheet)


def label(picture: Picture) -> Picture:
    """A copy of (H,W,3) with the words that it is altered in its lower left corner."""
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(11, image.height // 22))
    box = pen.textbbox((0, 0), LABEL, font=font)
    left, top = 6, image.height - box[3] - 8
    pen.rectangle((left - 4, top - 3, left + box[2] + 5, image.height - 3), fill=(0, 0, 0))
    pen.text((left, top), LABEL, fill=(255, 255, 255), font=font)
    return np.array(image)


def save_picture(path: Path, picture: Picture, *, quality: int = 88) -> None:
    """Write (H,W,3) uint8 RGB as PNG or JPEG, by the name."""
    with writing(path) as temp:
        if path.suffix == ".png":
            Image.fromarray(picture).save(temp, format="PNG", optimize=True)
        else:
            Image.fromarray(picture).save(temp, format="JPEG", quality=quality, optimize=True)


def before_and_after(plates: Sequence[Picture], merged: Sequence[Picture], *, height: int = 240) -> Picture:
    """Plates above, the same frames merged below, each labelled."""
    lines = [np.hstack([label(_scaled(picture, height)) for picture in line]) for line in (plates, merged)]
    return np.vstack(lines)


def _strip(row: Row) -> Image.Image:
    """The pictures of a row side by side, as high as the sheet's width allows."""
    ratios = [picture.shape[1] / picture.shape[0] for picture in row.pictures]
    gap = 4
    height = int(min(420, (WIDTH - 2 * _MARGIN - gap * (len(ratios) - 1)) / sum(ratios)))
    scaled = [label(_scaled(picture, height)) for picture in row.pictures]
    strip = Image.new("RGB", (WIDTH - 2 * _MARGIN, height), _PAPER)
    left = 0
    for picture in scaled:
        strip.paste(Image.fromarray(picture), (left, 0))
        left += picture.shape[1] + gap
    return strip


def _scaled(picture: Picture, height: int) -> Picture:
    image = Image.fromarray(picture)
    width = max(1, round(image.width * height / image.height))
    return np.array(image.resize((width, height), Image.Resampling.LANCZOS))
