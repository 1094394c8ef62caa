"""Makes the pictures of the guide that show what a network sees of a face, without training one.

    python scripts/make_sample_pictures.py

    docs/images/random_warp.jpg     a face, what of it is seen and what is to be drawn, and the same bend on a grid
    docs/images/masks.jpg           masked training, blurred surroundings, and where eyes and mouth count more
    docs/images/uniform_yaw.png     how often faces are drawn by which way they look, without and with uniform yaw

The faces are those of the demo's footage, so every picture of one is altered, which it says.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.demo.footage import Performer, Shot, draw_shot
from understudy.demo.sheet import save_picture
from understudy.geometry import conversion
from understudy.geometry.affine import apply
from understudy.geometry.pose import pose
from understudy.imaging.sheet import FAINT, Sheet
from understudy.masks.hull import eyes_mouth_mask, face_hull
from understudy.records import FaceType
from understudy.training.batches.samplers import YAW_EDGES, Draws, Sampler, YawSampler
from understudy.training.batches.samples import Augmentation, augment
from understudy.training.batches.warp import Ranges, draw
from understudy.training.losses.blocks import blur_out, soft_mask

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
LABEL = "Altered pictures: the portraits of the demo, animated"
SIZE, GAP, HEAD = 160, 6, 44
BLUE, YELLOW = (64, 140, 255), (255, 214, 64)

Picture = NDArray[np.uint8]


class Crop(NamedTuple):
    """A face (1,3,S,S) RGB, its mask and that of its eyes and mouth (1,1,S,S), float32 in 0..1."""

    face: Tensor
    mask: Tensor
    eyes_mouth: Tensor


def main() -> None:
    """Draw them all."""
    save_picture(IMAGES / "random_warp.jpg", bends(crop(Performer.ASTRONAUT, FaceType.FULL)))
    crops = [crop(performer, FaceType.WHOLE_FACE) for performer in (Performer.ASTRONAUT, Performer.ADMIRAL)]
    save_picture(IMAGES / "masks.jpg", masks(crops))
    save_picture(IMAGES / "uniform_yaw.png", directions(draw_shot(Performer.ADMIRAL, frames=1000, seed=2)))


def bends(of: Crop) -> Picture:
    """Three draws of chance: rows; what they do to the face, to its target, and to a grid."""
    chance = np.random.default_rng(5)
    varied = Augmentation(Ranges(scale=0.15))
    columns: dict[str, list[Tensor]] = {name: [] for name in ("in the faceset", "seen", "to be drawn", "the bend")}
    for _ in range(3):
        drawn = draw(SIZE, varied.ranges, chance)
        sample = augment(of.face, of.mask, [drawn], varied)
        lined = augment(grid(), of.mask, [drawn], varied)
        pictures = (of.face, sample.warped, sample.target, lined.warped)
        for column, picture in zip(columns.values(), pictures, strict=True):
            column.append(picture)
    return table(columns)


def masks(crops: list[Crop]) -> Picture:
    """What the losses look at: a row for each face."""
    columns: dict[str, list[Tensor]] = {}
    for of in crops:
        soft = soft_mask(of.mask)
        blurred = blur_out(of.face, of.mask)
        shown = {
            "whole square": of.face,
            "masked training": of.face * soft,
            "edge, four times": enlarged(of.face, of.mask),
            "edge, blurred out": enlarged(blurred, of.mask),
            "eyes and mouth": of.face * (0.25 + 0.75 * of.eyes_mouth),
        }
        for name, picture in shown.items():
            columns.setdefault(name, []).append(picture)
    return table(columns)


def directions(shot: Shot) -> Picture:
    """Bars: how often each direction is drawn of 12,800 times, in the order of the faceset and with uniform yaw."""
    angles = yaws(shot)
    edges = YAW_EDGES[24:105:4]
    width, height, left = 720, 150, 60
    sheet = Sheet(width, 2 * (height + 70))
    orders: dict[str, tuple[Draws, tuple[int, int, int]]] = {
        "each face equally often": (Sampler(len(angles), 1), BLUE),
        "--uniform-yaw: each direction equally often": (YawSampler(angles, 1), YELLOW),
    }
    for row, (name, (order, colour)) in enumerate(orders.items()):
        top = row * (height + 70)
        counts = np.histogram(angles[order.take(0, 12800)], edges)[0]
        sheet.write(name, left, top + 6)
        sheet.write(f"{100 * counts.max() / counts.sum():.0f} %", left - 8, top + 30, size=12, to_left=True)
        bar = (width - left - 12) // len(counts)
        for place, count in enumerate(counts):
            tall = max(1, round(height * count / counts.max()))
            sheet.fill(left + place * bar, top + 30 + height - tall, bar - 2, tall, colour)
        for place in range(0, len(edges), 3):
            sheet.write(
                f"{np.rad2deg(edges[place]):+.0f}°", left + place * bar - 8, top + 34 + height, size=12, colour=FAINT
            )
    return np.asarray(sheet.pixels)


def yaws(shot: Shot) -> NDArray[np.float64]:
    """(N,) which way the face of each frame looks, in radians, positive to the right of the picture."""
    found = []
    for landmarks in shot.truth.landmarks:
        aligned = apply(conversion(landmarks, 256, FaceType.WHOLE_FACE), landmarks)
        found.append(-pose(aligned, 256).yaw)
    return np.array(found)


def crop(performer: Performer, face_type: FaceType) -> Crop:
    """A face of the demo's footage with open eyes and lips that are a little apart."""
    shot = draw_shot(performer)
    calm = int(np.argmin(5 * shot.truth.blink + np.abs(shot.truth.mouth_opening - 0.25)))
    frame, landmarks = shot.frame(calm), shot.truth.landmarks[calm]
    matrix = conversion(landmarks, SIZE, face_type)
    hull = face_hull(landmarks, *frame.shape[:2])
    parts = (frame, 255 * hull, 255 * eyes_mouth_mask(landmarks, hull))
    pictures = [cv2.warpAffine(part, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE) for part in parts]
    face, mask, eyes_mouth = (torch.from_numpy(np.float32(picture) / 255) for picture in pictures)
    return Crop(face.permute(2, 0, 1)[None], mask[None, None], eyes_mouth[None, None])


def grid() -> Tensor:
    """(1,3,S,S): light lines every tenth of the square on a dark ground."""
    lines = torch.full((1, 3, SIZE, SIZE), 0.12)
    for place in range(SIZE // 20, SIZE, SIZE // 10):
        lines[..., place - 1 : place + 1, :] = 0.8
        lines[..., place - 1 : place + 1] = 0.8
    return lines


def enlarged(picture: Tensor, mask: Tensor) -> Tensor:
    """The left edge of the face, where cheek and background meet, four times as large."""
    part, top = SIZE // 4, SIZE // 2
    left = int((mask[0, 0, top + part // 2] > 0.5).int().argmax()) - part // 2
    return torch.nn.functional.interpolate(picture[..., top : top + part, left : left + part], size=(SIZE, SIZE))


def table(columns: dict[str, list[Tensor]]) -> Picture:
    """Pictures (1,3,S,S) below each other in named columns."""
    count = len(next(iter(columns.values())))
    sheet = Sheet(GAP + len(columns) * (SIZE + GAP), HEAD + count * (SIZE + GAP))
    sheet.write(LABEL, GAP, 4, size=12, colour=FAINT)
    for place, (name, pictures) in enumerate(columns.items()):
        sheet.write(name, GAP + place * (SIZE + GAP), HEAD - 20, size=13)
        for row, picture in enumerate(pictures):
            sheet.put(shown(picture), GAP + place * (SIZE + GAP), HEAD + row * (SIZE + GAP))
    return np.asarray(sheet.pixels)


def shown(picture: Tensor) -> Picture:
    """(1,3,S,S) RGB 0..1 as (S,S,3) uint8."""
    return np.asarray(np.rint(255 * picture[0].clamp(0, 1).permute(1, 2, 0).numpy()), np.uint8)


if __name__ == "__main__":
    main()
