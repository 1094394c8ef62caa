"""Colour spaces and the transfer of one picture's colours onto another.

Every transfer is a plain function that changes `image` towards the colours of `onto`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.imaging.types import Image, Mask

FLAT = 1e-3
"""Lab deviation below which a channel counts as flat: its contrast is then left as it is."""

_LAB_LOW = np.array([0, -127, -127], np.float32)
_LAB_HIGH = np.array([100, 127, 127], np.float32)


@dataclass(frozen=True)
class LabStatistics:
    """Mean and population standard deviation of L, a and b, each (3,) float64."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def rgb_to_lab(image: Image) -> Image:
    """(H, W, 3) RGB float32 0..1, sRGB encoded, to CIE Lab of D65: L 0..100, a and b about ±127."""
    return cast(Image, cv2.cvtColor(image, cv2.COLOR_RGB2Lab))


def lab_to_rgb(lab: Image) -> Image:
    """CIE Lab back to RGB float32; colours outside sRGB leave 0..1."""
    return cast(Image, cv2.cvtColor(lab, cv2.COLOR_Lab2RGB))


def lab_statistics(lab: Image, inside: NDArray[np.bool_] | None = None) -> LabStatistics:
    """Statistics over all pixels, or over those where `inside` (H, W) is true; at least one must be."""
    if inside is None:
        mean, deviation = cv2.meanStdDev(lab)
    else:
        mean, deviation = cv2.meanStdDev(lab, mask=inside.view(np.uint8))
    return LabStatistics(np.asarray(mean, np.float64).reshape(3), np.asarray(deviation, np.float64).reshape(3))


def rct(
    image: Image,
    onto: Image,
    *,
    inside: NDArray[np.bool_] | None = None,
    inside_onto: NDArray[np.bool_] | None = None,
) -> Image:
    """Reinhard's transfer: give `image` the Lab means and deviations of `onto`, measured inside the masks only.

    image, onto: (H, W, 3) RGB 0..1, sizes may differ. inside, inside_onto: (H, W) of their picture; None: everywhere.
    All pixels are changed, also those outside. Channels that are flat in `image` are only shifted. Clipped to 0..1.
    Where a mask is empty there is nothing to match and the image comes back unchanged.
    """
    if any(mask is not None and not mask.any() for mask in (inside, inside_onto)):
        return image
    lab, lab_onto = rgb_to_lab(image), rgb_to_lab(onto)
    ours, theirs = lab_statistics(lab, inside), lab_statistics(lab_onto, inside_onto)
    gain = np.where(ours.deviation > FLAT, theirs.deviation / np.maximum(ours.deviation, FLAT), 1.0)
    return np.clip(lab_to_rgb(_matched(lab, ours.mean, gain, theirs.mean)), 0, 1)


def rct_counting_outside_as_black(
    image: Image, onto: Image, *, mask: Mask | None = None, mask_onto: Mask | None = None
) -> Image:
    """DeepFaceLab's masked rct: pixels where the mask is below 0.5 are not left out but count as Lab (0, 0, 0).

    Its other habits are kept too: no guard for flat channels (they give infinities or NaN), no clipping of the result.
    """
    lab, lab_onto = rgb_to_lab(image), rgb_to_lab(onto)
    ours, theirs = lab_statistics(_blackened(lab, mask)), lab_statistics(_blackened(lab_onto, mask_onto))
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = theirs.deviation / ours.deviation
        return lab_to_rgb(_matched(lab, ours.mean, gain, theirs.mean))


def _blackened(lab: Image, mask: Mask | None) -> Image:
    if mask is None:
        return lab
    return np.where((mask < 0.5)[..., None], np.float32(0), lab)


def _matched(lab: Image, mean: NDArray[np.float64], gain: NDArray[np.float64], new_mean: NDArray[np.float64]) -> Image:
    """(lab − mean) · gain + new_mean, clamped to the range of Lab."""
    scale, shift = gain.astype(np.float32), (new_mean - mean * gain).astype(np.float32)
    result: Image = lab * scale + shift
    return np.clip(result, _LAB_LOW, _LAB_HIGH, out=result)
