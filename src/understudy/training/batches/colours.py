"""Colours of samples: those of other faces, and random hue, saturation and light; batched on the device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from understudy.imaging.colour_transfer import RANDOM_MODES, Mode, Where, transfer


class ColourDraw(NamedTuple):
    """What chance decided for one sample: hue_degrees is added to the hue, the others to saturation and value, 0..1."""

    hue_degrees: float
    saturation: float
    value: float


class Partners(NamedTuple):
    """Faces whose colours others take on: pictures (B,3,h,w) RGB 0..1, masks (B,1,h,w) bool of where their faces are
    (None: everywhere), and a seed below 2³² for each target and each input."""

    pictures: Tensor
    masks: Tensor | None
    target_seeds: list[int]
    input_seeds: list[int]


def in_colours_of(
    mode: Mode, pictures: Tensor, masks: Tensor, partners: Partners, *, faithful: bool
) -> tuple[Tensor, Tensor]:
    """Pictures (B,3,S,S) in the colours of their partners, as targets and as inputs of the network.

    Measured inside both faces, masks (B,1…,S,S) ≥ 0.5, and the same for both: the network need not guess a tint.
    faithful: measured everywhere, and for input and target separately, so that chance gives them different tints; a
    picture that the reference would have turned into no numbers, for want of contrast, keeps its colours.
    """
    if not faithful:
        where = Where(masks[:, :1] >= 0.5, partners.masks)
        changed = transfer(mode, pictures, partners.pictures, where, seeds=partners.target_seeds)
        return changed, changed
    target = _faithfully(mode, pictures, partners.pictures, partners.target_seeds)
    if mode not in RANDOM_MODES:
        return target, target
    return target, _faithfully(mode, pictures, partners.pictures, partners.input_seeds)


def _faithfully(mode: Mode, pictures: Tensor, references: Tensor, seeds: list[int]) -> Tensor:
    changed = transfer(mode, pictures, references, seeds=seeds, faithful=True)
    return torch.where(changed.isfinite().all(1, keepdim=True), changed, pictures)


def draw_colour(power: float, chance: np.random.Generator) -> ColourDraw:
    """Shifts within ±180·power degrees, at least 1, and ±power/2."""
    most = max(1, int(180 * power))
    saturation, value = (chance.random(2) - 0.5) * power
    return ColourDraw(float(chance.integers(-most, most + 1)), float(saturation), float(value))


def shift_colours(pictures: Tensor, draws: list[ColourDraw]) -> Tensor:
    """Each picture of (B,3,H,W) RGB in 0..1 by its draw, in HSV, whose saturation and value stay within 0..1."""
    shifts = torch.tensor(draws, dtype=pictures.dtype, device=pictures.device)[:, :, None, None]
    value, _ = pictures.max(1)
    least, _ = pictures.min(1)
    chroma = value - least
    saturation = torch.where(value > 0, chroma / value.clamp_min(1e-8), torch.zeros_like(value))
    hue = _hue(pictures, value, chroma) + shifts[:, 0] / 60
    return _rgb(hue, (saturation + shifts[:, 1]).clamp(0, 1), (value + shifts[:, 2]).clamp(0, 1))


def _hue(pictures: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    """(B,H,W) in sixths of a turn from red; 0 for grey."""
    red, green, blue = pictures.unbind(1)
    scale = chroma.clamp_min(1e-8)
    hue = torch.where(
        value == red,
        (green - blue) / scale,
        torch.where(value == green, 2 + (blue - red) / scale, 4 + (red - green) / scale),
    )
    return torch.where(chroma > 0, hue, torch.zeros_like(hue))


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Hue in sixths of a turn, the others in 0..1, each (B,H,W) → (B,3,H,W)."""
    channels = []
    for offset in (5, 3, 1):  # red, green, blue: each falls from its full value on both sides of its own hue
        place = (hue + offset) % 6
        channels.append(value - value * saturation * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, 1)
