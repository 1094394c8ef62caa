"""What the mask network minimises."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from understudy.training.losses import dssim, mean_square

FILTERS = (22, 11)
"""Sizes of the windows in which grey pictures are compared, at 256 px."""


@dataclass(frozen=True)
class MaskObjective:
    """pretraining: draw the face in grey, through the bottleneck alone, instead of its mask."""

    pretraining: bool = False

    frozen: tuple[str, ...] = ()

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits and targets (B,1,S,S), masks of 0 and 1 or grey pictures in 0..1 → (B,)."""
        if self.pretraining:
            return grey_loss(logits, target)
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2, 3))


def grey_loss(logits: Tensor, target: Tensor) -> Tensor:
    """5·DSSIM at 22 and at 11 px and 10 times the mean square: (B,1,S,S) each → (B,). The windows go with the side."""
    drawn = logits.sigmoid()
    side = target.shape[-1]
    structure = [5 * dssim(target, drawn, max(1, taps * side // 256)).mean(1) for taps in FILTERS]
    return structure[0] + structure[1] + 10 * mean_square(target - drawn)
