"""rct: mean and deviation of L, a and b (Reinhard et al., "Color transfer between images", 2001, in CIE Lab)."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.imaging.colour_transfer.lab import lab_from_rgb, rgb_from_lab, stretched
from understudy.imaging.colour_transfer.statistics import EVERYWHERE, Moments, Where, moments

FLAT = 1e-3
"""Lab deviation below which a channel counts as flat: its contrast is then left as it is."""


def rct(pictures: Tensor, references: Tensor, where: Where = EVERYWHERE, *, faithful: bool = False) -> Tensor:
    """Give `pictures` (B,3,H,W) RGB 0..1 the Lab means and deviations of `references` (B,3,h,w).

    Channels that are flat in a picture are only shifted. The result lies in 0..1.

    faithful: DeepFaceLab's form. Pixels outside a mask are not left out but count as Lab (0, 0, 0); a flat channel
    gives infinities or NaN; Lab is OpenCV's table, which the results resemble within 1e-5.
    """
    lab, lab_references = (lab_from_rgb(images, tabled=faithful) for images in (pictures, references))
    if faithful:
        ours, theirs = (moments(_blackened(one, mask)) for one, mask in zip((lab, lab_references), where, strict=True))
        return rgb_from_lab(_matched(lab, ours, theirs.deviation / ours.deviation, theirs.mean))
    ours, theirs = moments(lab, where.pictures), moments(lab_references, where.references)
    gain = torch.where(ours.deviation > FLAT, theirs.deviation / ours.deviation.clamp_min(FLAT), 1.0)
    changed = rgb_from_lab(_matched(lab, ours, gain, theirs.mean))
    return where.kept_where_empty(changed, pictures)


def _blackened(lab: Tensor, inside: Tensor | None) -> Tensor:
    return lab if inside is None else lab * inside


def _matched(lab: Tensor, ours: Moments, gain: Tensor, mean: Tensor) -> Tensor:
    """(lab − its mean) · gain + mean, clamped to the range of Lab."""
    return stretched(lab, gain, mean - ours.mean * gain)
