"""The mask network measured on labelled faces that it never learns from: the loss, and how far its masks agree.

Faces are shown as they are. Beside them as many training faces are measured: the distance is what was learned by heart.
Nothing here draws random numbers or changes the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from understudy.evaluation.redrawn import mask_iou
from understudy.training.faces.bank import FaceBank
from understudy.training.masking.objective import MaskObjective
from understudy.training.measuring.held_out import looking_at
from understudy.training.measuring.scores import SIDES, Faces
from understudy.training.previews.preview import spread

LOOKED_AT = 64
"""Faces of each side that an evaluation looks at, at most."""

AT_ONCE = 8


@dataclass(eq=False)
class HeldMasks:
    """The faces that evaluations look at, by side. held: of those that are never learned from; a side without any is
    absent. trained: of those that are; both in memory of their own."""

    held: dict[str, FaceBank]
    trained: dict[str, FaceBank]
    device: torch.device
    refused: str = ""

    @classmethod
    def of(
        cls,
        training: Sequence[FaceBank],
        held: Sequence[FaceBank | None],
        *,
        device: torch.device,
        most: int = LOOKED_AT,
    ) -> HeldMasks:
        """Choose up to `most` faces of each side, evenly spread. held: src's and dst's, None where nothing is."""
        apart = {side: _some(bank, most) for side, bank in zip(SIDES, held, strict=True) if bank is not None}
        known = {side: _some(bank, most) for side, bank in zip(SIDES, training, strict=True) if len(bank)}
        return cls(apart, known, device)

    @property
    def on(self) -> Faces:
        """What the numbers are of."""
        return Faces.HELD_OUT if self.held else Faces.TRAINING

    def measure(
        self, net: nn.Module, reference: MaskObjective, objective: Any = None, *, swap: bool = False
    ) -> dict[str, float]:
        """The loss on held-out and training faces, and the agreement (IoU) of masks cut at a half; names as in
        `scores.MEANINGS`."""
        values: dict[str, float] = {}
        with looking_at(net):
            for side, bank in (self.held or self.trained).items():
                loss, agreement = self._measured(net, bank, reference)
                values |= {f"held_{side}": loss} if self.held else {}
                values[f"iou_{side}"] = agreement
            values |= {f"train_{side}": self._measured(net, bank, reference)[0] for side, bank in self.trained.items()}
        return values

    def held_losses(self, net: nn.Module, reference: MaskObjective) -> dict[str, float]:
        """The losses on held-out faces alone, by which saved states compare."""
        with looking_at(net):
            return {f"held_{side}": self._measured(net, bank, reference)[0] for side, bank in self.held.items()}

    def _measured(self, net: nn.Module, bank: FaceBank, reference: MaskObjective) -> tuple[float, float]:
        losses, agreements = [], []
        for start in range(0, len(bank), AT_ONCE):
            pictures, masks = bank.fetch(np.arange(start, min(len(bank), start + AT_ONCE)), self.device)
            wanted = (masks[:, :1] >= 0.5).float()
            logits = net(pictures).float()
            losses.append(reference.loss(logits, wanted))
            agreements.append(mask_iou(logits.sigmoid(), wanted))
        return float(torch.cat(losses).double().mean().cpu()), float(torch.cat(agreements).double().mean().cpu())


def _some(bank: FaceBank, most: int) -> FaceBank:
    return FaceBank(bank.take(np.array(spread(len(bank), most), np.int64)).numpy())
