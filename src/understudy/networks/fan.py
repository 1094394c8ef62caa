"""FAN: 68 landmarks as heat maps, by four stacked hourglasses (Bulat and Tzimiropoulos, ICCV 2017).

    face (B,3,256,256) 0..1 ─ stem ─ (B,256,64,64) ─┬ hourglass ─ top ─ heat maps (B,68,64,64) ┐ ×4, the last counts
                                                    └────────────── + ← features, heat maps ───┘

Submodule names are the tensor paths of the reference program's weight files (`m_0/b2_plus/b1/bn1`); `from_published`
turns the names of the authors' own files into them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LANDMARKS, STACKS, DEPTH, WIDTH = 68, 4, 4, 256
INPUT, HEAT_MAP = 256, 64
"""Sides of the picture and of a heat map, in pixels."""


class ConvBlock(nn.Module):
    """Three convolutions after one another, their results side by side, plus the input."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.fits = channels_in == channels
        if not self.fits:
            self.down_bn1 = nn.BatchNorm2d(channels_in)
            self.down_conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(F.relu(self.bn1(x)))
        second = self.conv2(F.relu(self.bn2(first)))
        third = self.conv3(F.relu(self.bn3(second)))
        shortcut = x if self.fits else self.down_conv1(F.relu(self.down_bn1(x)))
        return torch.cat([first, second, third], dim=1) + shortcut


class Hourglass(nn.Module):
    """Halves the picture `depth` times and doubles it again, each size keeping a way of its own across."""

    def __init__(self, depth: int = DEPTH) -> None:
        super().__init__()
        self.b1 = ConvBlock(WIDTH, WIDTH)
        self.b2 = ConvBlock(WIDTH, WIDTH)
        self.b2_plus = Hourglass(depth - 1) if depth > 1 else ConvBlock(WIDTH, WIDTH)
        self.b3 = ConvBlock(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        low = self.b3(self.b2_plus(self.b2(F.avg_pool2d(x, 2))))
        across: Tensor = self.b1(x)
        return across + F.interpolate(low, scale_factor=2, mode="nearest")


class FAN(nn.Module):
    """The landmark network; what is 2-D or 3-D about it is only what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2, self.conv3, self.conv4 = ConvBlock(64, 128), ConvBlock(128, 128), ConvBlock(128, WIDTH)
        for stack in range(STACKS):
            self.add_module(f"m_{stack}", Hourglass())
            self.add_module(f"top_m_{stack}", ConvBlock(WIDTH, WIDTH))
            self.add_module(f"conv_last_{stack}", nn.Conv2d(WIDTH, WIDTH, 1))
            self.add_module(f"bn_end_{stack}", nn.BatchNorm2d(WIDTH))
            self.add_module(f"l_{stack}", nn.Conv2d(WIDTH, LANDMARKS, 1))
            if stack < STACKS - 1:
                self.add_module(f"bl_{stack}", nn.Conv2d(WIDTH, WIDTH, 1))
                self.add_module(f"al_{stack}", nn.Conv2d(LANDMARKS, WIDTH, 1))

    def forward(self, face: Tensor) -> Tensor:
        """Heat maps (B, 68, 64, 64) of faces (B, 3, 256, 256), RGB in 0..1."""
        x = F.avg_pool2d(self.conv2(F.relu(self.bn1(self.conv1(face)))), 2)
        x = self.conv4(self.conv3(x))
        heat: Tensor = x
        for stack in range(STACKS):
            part = self.get_submodule
            features = part(f"top_m_{stack}")(part(f"m_{stack}")(x))
            features = F.relu(part(f"bn_end_{stack}")(part(f"conv_last_{stack}")(features)))
            heat = part(f"l_{stack}")(features)
            if stack < STACKS - 1:
                x = x + part(f"bl_{stack}")(features) + part(f"al_{stack}")(heat)
        return heat


def from_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' names (`m0.b2_plus_1.bn1.weight`, `conv2.downsample.2.weight`, `l3.bias`) as ours."""
    return {_our_name(name): value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}


_HOURGLASS = re.compile(r"^m(\d)\.(b1|b2|b3|b2_plus)_(\d)\.")
_STACKED = re.compile(r"^(conv_last|bn_end|l|bl|al)(\d)\.")
_DOWNSAMPLE = {"downsample.0.": "down_bn1.", "downsample.2.": "down_conv1."}


def _our_name(name: str) -> str:
    for theirs, ours in _DOWNSAMPLE.items():
        name = name.replace(theirs, ours)
    name = _STACKED.sub(r"\1_\2.", name)
    inner = _HOURGLASS.match(name)
    if inner is None:
        return name
    stack, part, level = inner[1], inner[2], int(inner[3])
    return f"m_{stack}." + "b2_plus." * (DEPTH - level) + part + "." + name[inner.end() :]
