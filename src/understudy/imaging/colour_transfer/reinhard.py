"""rct: mean and deviation of L, a and b (Reinhard et al., "Color transfer between images", 2001, in CIE Lab)."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.imaging.colour_transfer.lab import lab_from_rgb, rgb_from_lab
from understudy.imaging.colour_transfer.statistics import Moments, kept_where_empty, moments

FLAT = 1e-3
"""Lab deviation below which a channel counts as flat: its contrast is then left as it is."""


def rct(
    pictures: Tensor,
    references: Tensor,
    *,
    inside: Tensor | None = None,
    inside_references: Tensor | None = None,
    faithful: bool = False,
) -> Tensor:
    """Give `pictures` (B,3,H,W) RGB 0..1 the Lab means and deviations of `references` (B,3,h,w).

    inside, inside_references: (B,1,H,W) bool of their picture, where is measured; None: everywhere. All pixels are
    changed. Channels that are flat in a picture are only shifted; without a pixel to measure it comes back as it is.

    faithful: DeepFaceLab's form. Pixels outside a mask are not left out but count as Lab (0, 0, 0); a flat channel
    gives infinities or NaN; Lab is OpenCV's table, which the results resemble within 1e-5.
    """
    lab, lab_references = (lab_from_rgb(images, tabled=faithful) for images in (pictures, references))
    if faithful:
        ours, theirs = moments(_blackened(lab, inside)), moments(_blackened(lab_references, inside_references))
        return rgb_from_lab(_matched(lab, ours, theirs.deviation / ours.deviation, theirs.mean))
    ours, theirs = moments(lab, inside), moments(lab_references, inside_references)
    gain = torch.where(ours.deviation > FLAT, theirs.deviation / ours.deviation.clamp_min(FLAT), 1.0)
    changed = rgb_from_lab(_matched(lab, ours, gain, theirs.mean))
    return kept_where_empty(changed, pictures, inside, inside_references)


def _blackened(lab: Tensor, inside: Tensor | None) -> Tensor:
    return lab if inside is None else lab * inside


def _matched(lab: Tensor, ours: Moments, gain: Tensor, mean: Tensor) -> Tensor:
    """(lab − its mean) · gain + mean, clamped to the range of Lab."""
    shifted = (lab - ours.mean) * gain + mean
    light, colour = shifted[:, :1].clamp(0, 100), shifted[:, 1:].clamp(-127, 127)
    return torch.cat([light, colour], 1)
