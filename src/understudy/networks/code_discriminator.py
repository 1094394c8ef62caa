"""The code discriminator ("true face", DF only): says whose face a code was made of.

    code (B,ae,g,g) ─ convs_0 ─ … ─ convs_{g/8} ─ out_conv ─ logits (B,1,h,w)

The codes of both people become alike where it cannot tell them apart, and dst then takes on more of src. Submodule
names are checkpoint keys and are the tensor paths of the reference's own files (`convs_0/weight:0`).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from understudy.networks.blocks import activate, initialise, seen

MOST_TIMES = 8


class CodeDiscriminator(nn.Module):
    """Logits of src against dst for codes (B,channels,grid,grid), as `DF.code` gives them.

    channels: of a code, ae_dims. grid: its side (`saehd.code_grid`). base: channels after the first convolution, which
    double with each up to eight times. generator: draws the initial weights; None uses torch's global one.
    """

    def __init__(self, channels: int, grid: int, base: int = 256, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.layers = 1 + grid // 8
        widths = [channels, *(base * min(2**i, MOST_TIMES) for i in range(self.layers))]
        for i, (wide, narrow) in enumerate(pairwise(widths)):
            kernel = 4 if i == 0 else 3
            self.add_module(f"convs_{i}", nn.Conv2d(wide, narrow, kernel, stride=2, padding=kernel // 2))
        self.out_conv = nn.Conv2d(widths[-1], 1, 1)
        initialise(self, generator)

    def forward(self, code: Tensor) -> Tensor:
        """Codes (B,channels,grid,grid) → logits (B,1,h,w), float32."""
        x = seen(code, self.out_conv)
        for i in range(self.layers):
            x = activate(getattr(self, f"convs_{i}")(x), 0.1)
        logits: Tensor = self.out_conv(x).float()
        return logits
