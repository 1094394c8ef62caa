"""Restorer: gives a soft face the detail that the same person has in sharp ones.

    face (B,3,H,W) ─ fold 4 ─ (B,48,H/4,W/4) ┐
    place (B,2,H/4,W/4) ─────────────────────┴ head ─ blocks ─┬───────────────── + ─ blocks ─ unfold 4 ─ + face
                                                              └ halve ─ blocks ─ up

A soft face has nothing in its finest octaves, so the work is done on a grid of a quarter of the pixels: each cell holds
its 4×4 pixels as channels, and a convolution costs a sixteenth. The coarse branch sees a quarter of the face at once,
which tells an eye from a nostril; `place` says where in the aligned square each cell lies, and there eyes are always
about where eyes are. The network predicts a difference, and begins at zero: untrained, it gives the face back.

Submodule names are checkpoint keys: renaming one needs a migration.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

FOLD = 4
GRAIN = 8
"""Height and width of what the network takes are multiples of this; `restore` sees to it."""


@dataclass(frozen=True)
class RestorerConfig:
    """The architecture's numbers. All are multiples of 16, by which processors compute convolutions best."""

    width: int = 64  # W: channels on the grid of a quarter
    coarse_width: int = 96  # C: channels on the grid of an eighth
    blocks: int = 3  # residual blocks before the coarse branch, and as many after it
    coarse_blocks: int = 4

    def as_json(self) -> dict[str, Any]:
        """Plain values for a checkpoint; the constructor takes them back."""
        return asdict(self)


class Block(nn.Module):
    """Two convolutions whose outcome is added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.conv2(F.leaky_relu(self.conv1(x), 0.1, inplace=True))
        return x + change


class Restorer(nn.Module):
    """One person's restorer. `generator` draws the first weights, so that the same seed makes the same network."""

    def __init__(self, config: RestorerConfig | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config = config or RestorerConfig()
        wide, coarse = config.width, config.coarse_width
        self.head = nn.Conv2d(3 * FOLD**2 + 2, wide, 3, padding=1)
        self.before = nn.Sequential(*(Block(wide) for _ in range(config.blocks)))
        self.halve = nn.Conv2d(wide, coarse, 4, stride=2, padding=1)
        self.coarse = nn.Sequential(*(Block(coarse) for _ in range(config.coarse_blocks)))
        self.up = nn.Conv2d(coarse, 4 * wide, 1)
        self.after = nn.Sequential(*(Block(wide) for _ in range(config.blocks)))
        self.tail = nn.Conv2d(wide, 3 * FOLD**2, 3, padding=1)
        _initialise(self, generator)

    def forward(self, face: Tensor, place: Tensor) -> Tensor:
        """The restored face, not clipped. face: (B,3,H,W) RGB in 0..1, H and W multiples of GRAIN; place: `places`."""
        folded = F.pixel_unshuffle(face - 0.5, FOLD)
        x = self.before(self.head(torch.cat([folded, place.to(folded.dtype)], 1)))
        x = x + F.pixel_shuffle(self.up(self.coarse(self.halve(x))), 2)
        return face + F.pixel_shuffle(self.tail(self.after(x)), FOLD)


def places(tops: NDArray[np.int64], lefts: NDArray[np.int64], side: int, of: int) -> Tensor:
    """Where the cells of square crops lie: (B,2,side/4,side/4) float32, x then y, -1..1 over the aligned square.

    tops, lefts: (B,) corners of the crops in pixels of an aligned picture of side `of`; side: of the crops, in pixels.
    """
    steps = np.arange(0, side, FOLD) + (FOLD - 1) / 2
    columns, rows = lefts[:, None] + steps, tops[:, None] + steps
    shape = (len(tops), len(steps), len(steps))
    x = np.broadcast_to(columns[:, None, :], shape)
    y = np.broadcast_to(rows[:, :, None], shape)
    return torch.from_numpy((2 * np.stack([x, y], 1) / of - 1).astype(np.float32))


def restore(net: Restorer, faces: Tensor) -> Tensor:
    """Restore whole aligned faces (B,3,S,S) of any side, RGB in 0..1; the result is clipped to 0..1, float32."""
    side = faces.shape[-1]
    lacking = -side % GRAIN
    whole = F.pad(faces, (0, lacking, 0, lacking), mode="replicate") if lacking else faces
    corner = np.zeros(1, np.int64)
    place = places(corner, corner, side + lacking, side).to(faces.device).expand(len(faces), -1, -1, -1)
    drawn: Tensor = net(whole.contiguous(memory_format=torch.channels_last), place)
    return drawn[..., :side, :side].float().clamp(0, 1)


def _initialise(net: Restorer, generator: torch.Generator | None) -> None:
    """He's normal weights, zero biases; what ends a branch begins small and the tail at zero."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=0.1, generator=generator)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
            if name.endswith("conv2"):
                with torch.no_grad():
                    module.weight *= 0.1
    nn.init.zeros_(net.tail.weight)
