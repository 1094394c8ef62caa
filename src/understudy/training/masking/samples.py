"""One sample for the mask network: a labelled face in other surroundings, bent, turned and spoiled, and its mask.

    face, mask ─► others' surroundings behind it ─► warp, turn, mirror ─► mask 0 or 1 ─► light, colour, blur, JPEG

A sample is a function of the faces and of `chance`, NumPy's legacy generator, which is drawn from in the reference's
order (spec: training, 7 and 12).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from understudy.training.batches.warp import Draw, Ranges, node_maps, turn
from understudy.training.masking.spoiling import Mask, Picture, bend_levels, clipped, coin, mixed, shift_hsv, spoil

FACE = Ranges(rotation_degrees=10, scale=0.05, shift=0.05, flip_share=0.4)
"""How far a face is turned, resized, moved and mirrored."""

BEHIND = Ranges(rotation_degrees=180, scale=0.10, shift=0.10, flip_share=0.4)
"""The same of the face whose surroundings are put behind it."""


class Labelled(NamedTuple):
    """picture (S,S,3) float32 RGB 0..1; mask (S,S) float32 0..1."""

    picture: Picture
    mask: Mask


def sample(face: Labelled, behind: Labelled, chance: RandomState, *, faithful: bool = False) -> Labelled:
    """A face as the network sees it, and the mask that it should find: 0 or 1. Both (S,S,…) as the face's.

    behind: another face; half the time its surroundings come through those of this one.
    faithful: the reference's warp, whose two maps are each other's transpose.
    """
    if coin(chance):
        face = with_surroundings(face, behind, chance)
    bent = bend(face, draw(len(face.mask), FACE, chance), faithful=faithful)
    mask = (bent.mask >= 0.5).astype(np.float32)
    return Labelled(clipped(spoil(clipped(bent.picture), mask, chance)), mask)


def with_surroundings(face: Labelled, behind: Labelled, chance: RandomState) -> Labelled:
    """A face with what is around another one behind it; what is in either mask stays the face's own."""
    other = turned(behind, draw(len(face.mask), BEHIND, chance))
    around = other.picture * (1 - other.mask[..., None])
    if coin(chance):
        around = shift_hsv(around, chance)
    if coin(chance):
        around = bend_levels(around, chance)
    own = 1 - (1 - other.mask) * (1 - face.mask)
    share = 0.15 + 0.85 * chance.random_sample()
    return Labelled(mixed(face.picture * share + around * (1 - share), face.picture, own), face.mask)


def draw(size: int, ranges: Ranges, chance: RandomState, bending: RandomState | None = None) -> Draw:
    """A warp and a transform by the reference's draws, in its order. bending: what the warp is drawn from, where that
    is another generator."""
    rotation = chance.uniform(-ranges.rotation_degrees, ranges.rotation_degrees)
    scale = chance.uniform(1 / (1 + ranges.scale), 1 + ranges.scale)
    shift = [chance.uniform(-ranges.shift, ranges.shift) for _ in range(2)]
    flip = bool(ranges.flip_share) and chance.randint(10) < round(10 * ranges.flip_share)
    bending = bending or chance
    cell = size // (2, 4, 8)[bending.randint(3)]
    inner = size // cell - 1
    noise = np.array([_truncated(bending) for _ in range(2 * inner * inner)]).reshape(2, inner, inner)
    return Draw(size, cell, noise, turn(size, rotation, scale, shift), bool(flip))


def bend(face: Labelled, drawn: Draw, *, faithful: bool = False) -> Labelled:
    """Picture and mask through warp, transform and flip: bicubic, the mask too, which is black beyond its edge. The
    picture's edge is repeated beyond it; faithful: black before it is turned."""
    x, y = warp_maps(drawn, faithful=faithful)
    around = cv2.BORDER_CONSTANT if faithful else cv2.BORDER_REPLICATE
    picture = cv2.remap(face.picture, x, y, cv2.INTER_CUBIC, borderMode=around)
    mask = cv2.remap(face.mask, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    return turned(Labelled(*(np.asarray(part, np.float32) for part in (picture, mask))), drawn)


def turned(face: Labelled, drawn: Draw) -> Labelled:
    """Picture and mask through transform and flip alone; a picture's edge is repeated beyond it."""
    picture = _turned(face.picture, drawn, cv2.BORDER_REPLICATE)
    return Labelled(picture, _turned(face.mask, drawn, cv2.BORDER_CONSTANT))


def warp_maps(drawn: Draw, *, faithful: bool) -> NDArray[np.float32]:
    """(2,S,S): the x and y that each pixel of a warped picture fetches.

    faithful: as the reference's, half a pixel right and below where nothing is bent.
    """
    size, cell = drawn.size, drawn.cell
    whole = [
        cv2.resize(nodes, (size + cell, size + cell), interpolation=cv2.INTER_LINEAR)
        for nodes in node_maps(drawn, faithful=faithful)
    ]
    start = cell // 2
    maps = np.stack(whole)[:, start : start + size, start : start + size]
    return np.ascontiguousarray(maps if faithful else maps - np.float32(0.5))


def _turned(part: NDArray[np.float32], drawn: Draw, border: int) -> NDArray[np.float32]:
    size = (drawn.size, drawn.size)
    moved: Any = cv2.warpAffine(part, drawn.matrix, size, flags=cv2.INTER_CUBIC, borderMode=border)
    return np.ascontiguousarray(moved[:, ::-1] if drawn.flip else moved)


def _truncated(chance: RandomState) -> float:
    """A normal number drawn again until within ±2.5, divided by 2.5."""
    while abs(value := chance.standard_normal()) > 2.5:
        pass
    return value / 2.5
