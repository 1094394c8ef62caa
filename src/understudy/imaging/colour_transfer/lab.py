"""CIE Lab of D65 in torch: L 0..100, a and b about ±127.

Two forms of the way there. The plain one follows the formulas. The tabled one is what OpenCV makes of encoded float
pictures, and so what the reference program uses: a table of 33 nodes for each channel, between which it interpolates in
sixteenths, so it knows 513 levels of a channel; it lies up to 0.3 (L), 0.7 (a) and 0.5 (b) from the formulas.

On a processor OpenCV does the work, and what comes back has the channels of a pixel side by side, as OpenCV wants them
again. Elsewhere its arithmetic is repeated: the table within one of its steps, 0.0062 (L)
and 0.0157 (a, b), the formulas within 0.005 (L), 0.04 (a) and 0.02 (b), the way back within 1e-4 of RGB.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.float32]

XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
"""Linear light of sRGB to XYZ, the digits that OpenCV uses."""

WHITE = np.array([0.950456, 1.0, 1.088754])
"""XYZ of D65."""

SCALED_XYZ_FROM_RGB = XYZ_FROM_RGB / WHITE[:, None]
KNEE, SLOPE, OFFSET = 0.008856, 7.787, 16 / 116
"""Below the knee the cube root is a line."""

LOWEST, HIGHEST = (0.0, -127.0, -127.0, 0.0), (100.0, 127.0, 127.0, 0.0)
"""Of L, a, b in a transfer, and of the fourth channel that OpenCV always asks for."""

NODES, UNIT, FRACTIONS = 33, 1 << 14, 16
"""Nodes of OpenCV's table for each channel, what it calls one, and the steps between two nodes."""


def lab_from_rgb(pictures: Tensor, *, tabled: bool = False) -> Tensor:
    """(B,3,H,W) RGB float32 0..1, sRGB encoded, to Lab. tabled: as OpenCV, see above; colours are cut to 0..1."""
    if pictures.device.type == "cpu":
        rows = rows_of(pictures)
        if tabled:
            return _converted(rows, cv2.COLOR_RGB2Lab)
        return _converted(_linear_rows(rows), cv2.COLOR_LRGB2Lab)
    return lab_by_table(pictures) if tabled else lab_by_formula(pictures)


def rgb_from_lab(lab: Tensor) -> Tensor:
    """(B,3,H,W) Lab back to RGB float32; colours outside sRGB are cut to 0..1."""
    if lab.device.type == "cpu":
        return _converted(rows_of(lab), cv2.COLOR_Lab2RGB)
    return rgb_by_formula(lab)


def stretched(lab: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """lab · gain + shift, (B,3,H,W) and (B,3,1,1), within 0..100 and ±127."""
    if lab.device.type == "cpu":
        matrices = torch.cat([torch.diag_embed(gain.flatten(1)), shift.flatten(2)], 2).numpy()
        rows = [cv2.transform(*one) for one in zip(rows_of(lab), matrices, strict=True)]
        kept = [cv2.min(cv2.max(row, LOWEST), HIGHEST) for row in rows]  # type: ignore[call-overload]
        return _of_rows(np.stack(kept))
    return stretched_by_formula(lab, gain, shift)


def stretched_by_formula(lab: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """`stretched` in plain operations, for every device."""
    changed = torch.addcmul(shift, lab, gain)
    changed[:, :1].clamp_(LOWEST[0], HIGHEST[0])
    changed[:, 1:].clamp_(LOWEST[1], HIGHEST[1])
    return changed


def lab_by_formula(pictures: Tensor) -> Tensor:
    """`lab_from_rgb` in plain operations, for every device."""
    return _lab_from_xyz(_mixed(linear_from_srgb(pictures), SCALED_XYZ_FROM_RGB))


def rgb_by_formula(lab: Tensor) -> Tensor:
    """`rgb_from_lab` in plain operations, for every device."""
    light, a, b = lab.unbind(1)
    fy = (light + 16) / 116
    straight = fy <= SLOPE * KNEE + OFFSET
    fy = torch.where(straight, light * (SLOPE / 903.3) + OFFSET, fy)
    y = torch.where(straight, light / 903.3, fy**3)
    xyz = torch.stack([_cubed(a / 500 + fy), y, _cubed(fy - b / 200)], 1)
    return srgb_from_linear(_mixed(xyz, np.linalg.inv(SCALED_XYZ_FROM_RGB)).clamp(0, 1))


def lab_by_table(pictures: Tensor) -> Tensor:
    """OpenCV's table with its fixed-point arithmetic, for every device."""
    table = _table(pictures.device)
    levels = (pictures.clamp(0, 1) * UNIT).round().to(torch.int64)
    node = levels >> 9
    share = (levels & 511) >> 5
    total = torch.zeros_like(levels)
    for corner in range(8):
        offsets = (corner >> 2 & 1, corner >> 1 & 1, corner & 1)
        weight = torch.ones_like(levels[:, 0])
        place = torch.zeros_like(levels[:, 0])
        for channel, offset in enumerate(offsets):
            part = share[:, channel]
            weight = weight * (part if offset else FRACTIONS - part)
            place = place * NODES + (node[:, channel] + offset).clamp_max(NODES - 1)
        total += weight[:, None] * table[place].permute(0, 3, 1, 2)
    fixed = (total + FRACTIONS**3 // 2).div(FRACTIONS**3, rounding_mode="floor").to(pictures.dtype) / UNIT
    scale, shift = (
        torch.tensor(row, device=fixed.device)[:, None, None] for row in ([100.0, 256, 256], [0.0, 128, 128])
    )
    return fixed * scale - shift


def linear_from_srgb(encoded: Tensor) -> Tensor:
    """Linear light of display-encoded values in 0..1 (IEC 61966-2-1)."""
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Tensor) -> Tensor:
    """Display-encoded values of linear light in 0..1."""
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(1e-8) ** (1 / 2.4) - 0.055)


def _lab_from_xyz(xyz: Tensor) -> Tensor:
    """xyz: (B,3,H,W), each divided by that of white."""
    root = torch.where(xyz > KNEE, xyz.clamp_min(KNEE) ** (1 / 3), xyz * SLOPE + OFFSET)
    x, y, z = root.unbind(1)
    light = torch.where(xyz[:, 1] > KNEE, 116 * y - 16, 903.3 * xyz[:, 1])
    return torch.stack([light, 500 * (x - y), 200 * (y - z)], 1)


def _cubed(root: Tensor) -> Tensor:
    return torch.where(root <= SLOPE * KNEE + OFFSET, (root - OFFSET) / SLOPE, root**3)


def _mixed(pictures: Tensor, matrix: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    """Every pixel (3) of (B,3,H,W) multiplied by a 3×3 matrix."""
    weights = torch.from_numpy(matrix).to(pictures)
    return (weights @ pictures.flatten(2)).view_as(pictures)


def rows_of(pictures: Tensor) -> Rows:
    """(B,3,H,W) float32 on a processor as (B,H,W,3), without a copy where they lie so."""
    return pictures.permute(0, 2, 3, 1).contiguous().numpy()


def _of_rows(rows: Rows) -> Tensor:
    return torch.from_numpy(rows).permute(0, 3, 1, 2)


def _converted(rows: Rows, code: int) -> Tensor:
    """An OpenCV conversion of (B,H,W,3), as (B,3,H,W)."""
    batch, height, width, _ = rows.shape
    converted = cv2.cvtColor(rows.reshape(batch * height, width, 3), code)
    return _of_rows(converted.astype(np.float32, copy=False).reshape(rows.shape))


def _linear_rows(encoded: Rows) -> Rows:
    """`linear_from_srgb`; logarithm and exponential take a third of the time of a power."""
    linear = np.maximum(encoded, 0)
    linear += np.float32(0.055)
    linear *= np.float32(1 / 1.055)
    np.log(linear, out=linear)
    linear *= np.float32(2.4)
    np.exp(linear, out=linear)
    np.multiply(encoded, np.float32(1 / 12.92), out=linear, where=encoded <= np.float32(0.04045))
    return linear


@lru_cache(maxsize=4)
def _table(device: torch.device) -> Tensor:
    """(33³, 3) int64: Lab of the nodes, L/100, a/256 + ½ and b/256 + ½ in units, red counting slowest."""
    axis = torch.arange(NODES, dtype=torch.float64) / (NODES - 1)
    red, green, blue = torch.meshgrid(axis, axis, axis, indexing="ij")
    nodes = torch.stack([red, green, blue]).reshape(1, 3, -1, 1)
    lab = lab_by_formula(nodes)[0, ..., 0].T
    scale, shift = torch.tensor([100.0, 256, 256]), torch.tensor([0.0, 128, 128])
    return ((lab + shift) / scale * UNIT).round().to(torch.int64).to(device)
