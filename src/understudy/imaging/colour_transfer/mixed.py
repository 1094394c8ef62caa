"""mix: light by lct on L alone, tint by sot with the light held equal, everything in 8 bit between the steps."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.imaging.colour_transfer.linear import lct
from understudy.imaging.colour_transfer.sliced import sorted_sot

HELD_LIGHT = 100
"""L of both pictures, of 255, while their tints are matched."""

Pixels = NDArray[np.uint8]


def mix(pictures: Tensor, references: Tensor, directions: Tensor) -> Tensor:
    """(B,3,H,W) RGB 0..1 of one size, directions (B,steps,batch,3) of length 1 → (B,3,H,W) on 255 levels.

    Runs on the processor: its 8-bit Lab is OpenCV's.
    """
    changed = [
        _mixed(picture, reference, drawn[None])
        for picture, reference, drawn in zip(_in_8_bit(pictures), _in_8_bit(references), directions, strict=True)
    ]
    return _batched(np.stack(changed)).div(255).to(pictures.device)


def _mixed(picture: Pixels, reference: Pixels, directions: Tensor) -> Pixels:
    """One picture (H,W,3) RGB."""
    lab, lab_reference = (_converted(image, cv2.COLOR_RGB2Lab) for image in (picture, reference))
    light = _planes(lct(_light(lab), _light(lab_reference)) * 255)[..., 0]
    lab[..., 0] = lab_reference[..., 0] = HELD_LIGHT
    tint, tint_reference = (_batched(_converted(image, cv2.COLOR_Lab2RGB)[None]) for image in (lab, lab_reference))
    tinted = _converted(_planes(sorted_sot(tint, tint_reference, directions)), cv2.COLOR_RGB2Lab)
    tinted[..., 0] = light
    return _converted(tinted, cv2.COLOR_Lab2RGB)


def _in_8_bit(pictures: Tensor) -> list[Pixels]:
    """(H,W,3) each, cut down to the level below."""
    return [_planes(255 * picture[None]) for picture in pictures]


def _planes(values: Tensor) -> Pixels:
    """The only picture of (1,C,H,W) in 0..255 as (H,W,C)."""
    return values[0].permute(1, 2, 0).clamp(0, 255).cpu().numpy().astype(np.uint8)


def _light(lab: Pixels) -> Tensor:
    return _batched(lab[None, ..., :1]).div(255)


def _batched(pixels: Pixels) -> Tensor:
    """(B,H,W,C) uint8 as (B,C,H,W) float32 of the same values."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()


def _converted(picture: Pixels, code: int) -> Pixels:
    return cast(Pixels, cv2.cvtColor(np.ascontiguousarray(picture), code))
