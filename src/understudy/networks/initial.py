"""Initial weights other than the reference's, which the networks are built with."""

from __future__ import annotations

import torch
from torch import nn

SLOPE = 0.1
"""Of the leaky ReLU that follows most layers."""


def draw_he_weights(net: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw kernels with which no layer changes the variance of what goes through it, in place; biases stay as they are.

    Normal with variance 2 / ((1 + SLOPE²) · fan-in): He et al., "Delving deep into rectifiers", 2015.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=SLOPE, generator=generator)
