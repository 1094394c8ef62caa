"""What befalls a picture that the mask network learns from: colour, light, blur, sharpening, compression, in places.

Pictures are (S,S,3) float32 RGB, 0..1 unless a filter overshoots, and are not modified. `chance` is NumPy's legacy
generator, drawn from in the reference's order (spec: training, 12), so that a recorded seed gives its samples again.
Numbers of pixels are those of 256 px and go with the side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Mask = NDArray[np.float32]
Effect = Callable[[Picture, RandomState], Picture]

SELDOM = 25
"""How often, of 100, an effect that is tried is there at all."""


def spoil(picture: Picture, mask: Mask, chance: RandomState) -> Picture:
    """A picture as footage may have it. mask (S,S): flares start from it, and from what is around it."""
    picture = flare(picture, mask, chance)
    picture = flare(picture, 1 - mask, chance)
    picture = somewhere(picture, chance, shift_hsv if coin(chance) else bend_levels)
    if coin(chance):
        picture = somewhere(picture, chance, sharpen)
    else:
        picture = somewhere(picture, chance, blur_by_motion)
        picture = somewhere(picture, chance, blur)
    how = cv2.INTER_NEAREST if coin(chance) else cv2.INTER_LINEAR
    picture = somewhere(picture, chance, lambda whole, draws: shrink_and_enlarge(whole, draws, how))
    return somewhere(clipped(picture), chance, compress)


def coin(chance: RandomState) -> bool:
    return bool(chance.randint(2))


def seldom(chance: RandomState) -> bool:
    return bool(chance.randint(100) < SELDOM)


def somewhere(picture: Picture, chance: RandomState, effect: Effect) -> Picture:
    """The effect inside a random soft circle; the circle is drawn before what the effect draws."""
    where = soft_circle(len(picture), chance)
    changed = effect(picture, chance)
    return picture if changed is picture else mixed(picture, changed, where)


def soft_circle(size: int, chance: RandomState) -> Mask:
    """(S,S): 1 up to a random radius around a random pixel, falling to 0 over a random width."""
    full = int(chance.randint(size))
    fall = full + int(chance.randint(size - full))
    row, column = int(chance.randint(size)), int(chance.randint(size))
    axis = np.arange(size, dtype=np.float32)
    distance = np.sqrt(np.square(axis - row)[:, None] + np.square(axis - column))
    return np.asarray(np.clip(1 - (distance - full) / max(1, fall), 0, 1), np.float32)


def mixed(under: Picture, over: Picture, share: Mask) -> Picture:
    """`over` where share (S,S) is 1, `under` where it is 0."""
    return np.asarray(under + (over - under) * share[..., None], np.float32)


def flare(picture: Picture, mask: Mask, chance: RandomState) -> Picture:
    """Half the time: light from what is inside the mask (S,S) spreads over a random width."""
    if not coin(chance):
        return picture
    size = len(picture)
    taps = int(chance.randint(size // 4, size))
    taps += 1 - taps % 2
    return np.asarray(picture + cv2.GaussianBlur(picture * mask[..., None], (taps, taps), 0), np.float32)


def shift_hsv(picture: Picture, chance: RandomState) -> Picture:
    """Any hue; saturation and light up to a half more or less."""
    hue, saturation, value = (np.asarray(part) for part in cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)))
    hue = (hue + chance.randint(360)) % 360
    saturation = np.clip(saturation + chance.random_sample() - 0.5, 0, 1)
    value = np.clip(value + chance.random_sample() - 0.5, 0, 1)
    shifted = np.stack([hue, saturation, value], axis=2).astype(np.float32)
    return clipped(cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB))


def bend_levels(picture: Picture, chance: RandomState) -> Picture:
    """Each channel with its own black, white and gamma."""

    def three() -> Picture:
        return chance.random_sample(3)[::-1].astype(np.float32)  # the reference counts blue first

    black, white, gamma = 0.25 * three(), 1 - 0.25 * three(), 0.5 + three()
    out_black, out_white = 0.25 * three(), 1 - 0.25 * three()
    light = clipped((picture - black) / (white - black)) ** (1 / gamma)
    return clipped(light * (out_white - out_black) + out_black)


def sharpen(picture: Picture, chance: RandomState) -> Picture:
    """Seldom: more contrast to the surroundings, by a box or a Gaussian; often far too much."""
    taps = 1 + int(chance.randint(5))
    taps += 1 - taps % 2
    if not seldom(chance):
        return picture
    if coin(chance):
        amount = float(chance.randint(10))
        around = cv2.blur(picture, (taps, taps), borderType=cv2.BORDER_REFLECT_101)
    else:
        amount = 0.5 * chance.randint(50)
        around = cv2.GaussianBlur(picture, (taps, taps), 0)
    return np.asarray(picture + amount * (picture - around), np.float32)


def blur_by_motion(picture: Picture, chance: RandomState) -> Picture:
    """Seldom: a movement of up to five pixels in any direction."""
    taps, degrees = 1 + int(chance.randint(5)), int(chance.randint(360))
    return cv2.filter2D(picture, -1, motion_kernel(taps, degrees)) if seldom(chance) else picture  # type: ignore[return-value]


@cache
def motion_kernel(taps: int, degrees: float) -> Picture:
    """(taps, taps), sum 1: the middle row turned counter-clockwise about the middle."""
    line = np.zeros((taps, taps), np.float32)
    line[(taps - 1) // 2] = 1
    turn = cv2.getRotationMatrix2D((taps / 2 - 0.5, taps / 2 - 0.5), degrees, 1.0)
    kernel = cv2.warpAffine(line, turn, (taps, taps))
    return np.asarray(kernel / kernel.sum(), np.float32)


def blur(picture: Picture, chance: RandomState) -> Picture:
    """Seldom: a Gaussian of up to nine taps."""
    if not seldom(chance):
        return picture
    taps = 2 * int(chance.randint(5)) + 1
    return cv2.GaussianBlur(picture, (taps, taps), 0)  # type: ignore[return-value]


def shrink_and_enlarge(picture: Picture, chance: RandomState, how: int) -> Picture:
    """Seldom: as if it had been down to a quarter of its side. how: OpenCV's name of the filter, both ways."""
    if not seldom(chance):
        return picture
    size = len(picture)
    small = size - int(chance.random_sample() * int(0.75 * size))
    return cv2.resize(cv2.resize(picture, (small, small), interpolation=how), (size, size), interpolation=how)  # type: ignore[return-value]


def compress(picture: Picture, chance: RandomState) -> Picture:
    """Seldom: through a JPEG of quality 10 to 100."""
    if not seldom(chance):
        return picture
    quality = int(chance.randint(10, 101))
    levels = np.clip(255 * picture[..., ::-1], 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.asarray(decoded[..., ::-1], np.float32) / np.float32(255)


def clipped(picture: NDArray[Any]) -> Picture:
    return np.asarray(np.clip(picture, 0, 1), np.float32)
