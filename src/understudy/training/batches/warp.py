"""How a training face is bent and turned: the draws, the maps made from them, and the resampling, all batched.

Draws are small NumPy records made on the CPU; everything with pixels runs in torch on the device of the pictures.
Pixel centres lie at integer coordinates, as in OpenCV, and bicubic means its a = −0.75, which is also torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

NODE_SHARE = 0.24
"""Largest move of a grid node, in cells, for a noise of one."""


@dataclass(frozen=True)
class Ranges:
    """How far a face may be turned, grown and moved, each way. shift: in sides of the picture."""

    rotation_degrees: float = 10.0
    scale: float = 0.05
    shift: float = 0.05
    flip_share: float = 0.0

    def times(self, share: float) -> Ranges:
        """Ranges of this share of the size; flips stay."""
        return replace(
            self, rotation_degrees=self.rotation_degrees * share, scale=self.scale * share, shift=self.shift * share
        )


@dataclass(frozen=True, eq=False)
class Draw:
    """What chance decided for one sample of side `size`.

    cell: distance of the warp grid's nodes in pixels. noise: (2, n−2, n−2) in −1..1, for the nodes not on the border.
    matrix: (2,3) float64, original → transformed picture. flip: mirrored afterwards.
    """

    size: int
    cell: int
    noise: NDArray[np.float64]
    matrix: NDArray[np.float64]
    flip: bool = False


def draw(size: int, ranges: Ranges, chance: np.random.Generator) -> Draw:
    """Draw a warp and a transform for one sample."""
    cell = size // (2, 4, 8)[chance.integers(3)]
    inner = size // cell - 1
    noise = _truncated_normal((2, inner, inner), chance)
    rotation = chance.uniform(-ranges.rotation_degrees, ranges.rotation_degrees)
    scale = chance.uniform(1 / (1 + ranges.scale), 1 + ranges.scale)
    shift = chance.uniform(-ranges.shift, ranges.shift, 2)
    return Draw(size, cell, noise, turn(size, rotation, scale, shift), bool(chance.random() < ranges.flip_share))


def turn(
    size: int, rotation_degrees: float, scale: float, shift: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """(2,3) original → transformed: turned (positive: counter-clockwise) and scaled about the middle, then moved by
    `shift` sides of the picture."""
    centre = size // 2
    angle = np.deg2rad(rotation_degrees)
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    return np.array(
        [
            [a, b, (1 - a) * centre - b * centre + shift[0] * size],
            [-b, a, b * centre + (1 - a) * centre + shift[1] * size],
        ]
    )


def node_maps(drawn: Draw, *, faithful: bool) -> NDArray[np.float32]:
    """(2, n, n): the x and y that each grid node fetches.

    faithful: the reference's two maps share memory, so each is the other's transpose and holds both noises.
    """
    steps = drawn.size // drawn.cell + 1
    x = np.tile(np.linspace(0, drawn.size, steps), (steps, 1))
    maps = np.stack([x, x.T])
    first, second = NODE_SHARE * drawn.cell * drawn.noise
    inner = slice(1, -1)
    if faithful:
        maps[0, inner, inner] += first + second.T
        maps[1] = maps[0].T
    else:
        maps[:, inner, inner] += np.stack([first, second])
    return maps.astype(np.float32)


def pixel_maps(draws: Sequence[Draw], device: torch.device, *, faithful: bool) -> Tensor:
    """(B,2,S,S): the x and y that each pixel of a warped picture fetches.

    faithful: without noise a pixel fetches from half a pixel right and below, as in the reference, and rounded to 32nds
    of a pixel, as OpenCV 4 does; else from its place.
    """
    maps = []
    for drawn in draws:
        nodes = torch.from_numpy(node_maps(drawn, faithful=faithful)).to(device)
        spread = _spread(drawn.size, drawn.cell, device)
        maps.append(spread @ nodes @ spread.mT)
    stacked = torch.stack(maps)
    return (stacked * 32).round_().div_(32) if faithful else stacked - 0.5


def warp(images: Tensor, maps: Tensor, *, faithful: bool = False) -> Tensor:
    """Bicubic: pixel p of the result is `images` (B,C,S,S) at `maps[:, :, p]` (B,2,S,S). The edge is repeated beyond
    it, where a bend fetches from up to an eighth of a pixel outside; faithful: black."""
    border = "zeros" if faithful else "border"
    return F.grid_sample(images, _grid(maps), mode="bicubic", padding_mode=border, align_corners=True)


def places_of(draws: Sequence[Draw], device: torch.device, *, faithful: bool) -> Tensor:
    """(B,S,S,2): where each pixel of transformed pictures comes from, for `transform`, as grid_sample counts."""
    return _grid(_affine_maps_on_32nds(draws, device) if faithful else _affine_maps(draws, device))


def transform(
    images: Tensor,
    draws: Sequence[Draw],
    *,
    mode: str = "bicubic",
    border: str = "border",
    faithful: bool = False,
    places: Tensor | None = None,
) -> Tensor:
    """Each picture of (B,C,S,S) through its draw's matrix and flip. mode: bicubic or bilinear.

    border: "border" repeats the edge, "zeros" is black. faithful: from places rounded as OpenCV 4 rounds them.
    places: those of `places_of`, where several pictures go by the same draws.
    """
    if places is None:
        places = places_of(draws, images.device, faithful=faithful)
    moved = F.grid_sample(images, places, mode=mode, padding_mode=border, align_corners=True)
    flips = [drawn.flip for drawn in draws]
    if not any(flips):
        return moved
    flip = torch.tensor(flips, device=images.device)[:, None, None, None]
    return torch.where(flip, moved.flip(3), moved)


def _affine_maps(draws: Sequence[Draw], device: torch.device) -> Tensor:
    """(B,2,S,S): where each pixel of a transformed picture comes from."""
    back = torch.from_numpy(_backwards(draws).astype(np.float32)).to(device)
    axis = torch.arange(draws[0].size, dtype=torch.float32, device=device)
    x, y = back[:, :, 0, None, None] * axis, back[:, :, 1, None, None] * axis[:, None]
    return x + y + back[:, :, 2, None, None]


def _affine_maps_on_32nds(draws: Sequence[Draw], device: torch.device) -> Tensor:
    """`_affine_maps` by OpenCV 4's whole numbers: column and row part each rounded to 1024ths, their sum to 32nds."""
    back = 1024 * _backwards(draws)
    axis = np.arange(draws[0].size)
    columns = np.rint(back[:, :, 0, None] * axis)
    rows = np.rint(back[:, :, 1, None] * axis + back[:, :, 2, None])
    places = np.floor((rows[..., :, None] + columns[..., None, :] + 16) / 32) / 32
    return torch.from_numpy(places.astype(np.float32)).to(device)


def _backwards(draws: Sequence[Draw]) -> NDArray[np.float64]:
    """(B,2,3) transformed → original picture."""
    square = np.stack([np.vstack([drawn.matrix, (0, 0, 1)]) for drawn in draws])
    return np.linalg.inv(square)[:, :2]


def _grid(maps: Tensor) -> Tensor:
    """Pixel coordinates (B,2,S,S) as grid_sample counts them: −1..1 between the centres of the outer pixels."""
    return (maps * (2 / (maps.shape[-1] - 1)) - 1).permute(0, 2, 3, 1)


@lru_cache(maxsize=16)
def _spread(size: int, cell: int, device: torch.device) -> Tensor:
    """(size, n): linear interpolation from grid nodes to pixels, as OpenCV's resize to size + cell, cut to size."""
    nodes, margin = size // cell + 1, cell // 2
    at = (np.arange(size) + margin + 0.5) * nodes / (size + cell) - 0.5
    at = np.clip(at, 0, nodes - 1)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(nodes)))
    return torch.from_numpy(weights.astype(np.float32)).to(device)


def _truncated_normal(shape: tuple[int, ...], chance: np.random.Generator) -> NDArray[np.float64]:
    """Normal numbers drawn again until within ±2.5, divided by 2.5."""
    values = chance.standard_normal(shape)
    while (far := np.abs(values) > 2.5).any():
        values[far] = chance.standard_normal(int(far.sum()))
    return values / 2.5
