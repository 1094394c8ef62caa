"""A model measured on faces that it never learns from.

    HeldOut.of(…)            which faces are looked at, the same ones for the whole run
      .measure(net, …)       losses, SSIM, IoU: each time
                             landmarks, pose, likeness, flicker: of the swap, when asked for (`SwapJudge`)

Faces are shown unbent and untouched, as they are in the merge. Beside the held-out faces as many training faces are
measured in the same way: the distance between both is what the model learned by heart. Nothing here draws random
numbers or changes the network, so training goes on as if nobody had looked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.evaluation.redrawn import mask_iou, ssim
from understudy.networks.amp import Amp
from understudy.networks.blocks import Reconstruction
from understudy.records import FaceType
from understudy.training.batches.samples import Batch, Sample
from understudy.training.faces.bank import FaceBank
from understudy.training.learning.passes import random_channels
from understudy.training.losses import Objective, drawing_losses, drawn_inside, targets_of, weighted_sums
from understudy.training.measuring.scores import SIDES, Faces
from understudy.training.measuring.swap_judge import SwapJudge
from understudy.training.previews.preview import spread

LOOKED_AT = 32
"""Faces of each side that an evaluation in training looks at: its cost is that of a few iterations."""

AT_ONCE = 16
"""Faces of each side that go through the network together, of 128 px; fewer where they are larger."""


class Sides(NamedTuple):
    """Something of each side."""

    src: FaceBank
    dst: FaceBank


@dataclass(eq=False)
class HeldOut:
    """The faces that evaluations look at.

    shown: held-out faces, of a side that has none training faces. held: the sides that have any. trained: training
    faces that are measured beside. judge: of swaps.
    """

    shown: Sides
    trained: Sides
    held: tuple[str, ...]
    judge: SwapJudge
    device: torch.device

    @classmethod
    def of(
        cls,
        training: Sides,
        held_src: FaceBank | None,
        held_dst: FaceBank | None,
        *,
        run: Sequence[int] = (),
        face_type: FaceType,
        device: torch.device,
        most: int = LOOKED_AT,
    ) -> HeldOut:
        """Choose up to `most` faces of each side, evenly spread, and copy them, so that the banks may be replaced.

        held_src, held_dst: None where nothing is held out; then training faces are looked at instead, which says how
        well they are known and not how the model does on others. run: indexes of faces of consecutive frames, in dst's
        held-out faces, or without any in its training faces.
        """
        shown = Sides(_some(held_src or training.src, most), _some(held_dst or training.dst, most))
        judge = SwapJudge.of(
            shown.dst,
            _taken(held_dst or training.dst, list(run[:most])) if len(run) > 1 else None,
            learned=training,
            unseen=(held_src, held_dst),
            face_type=face_type,
        )
        held = tuple(side for side, bank in zip(SIDES, (held_src, held_dst), strict=True) if bank is not None)
        return cls(shown, Sides(_some(training.src, most), _some(training.dst, most)), held, judge, device)

    @property
    def on(self) -> Faces:
        """What the numbers are of."""
        return Faces.HELD_OUT if self.held else Faces.TRAINING

    @property
    def refused(self) -> str:
        """Why likeness is not measured; nothing where it is."""
        return self.judge.refused

    def measure(
        self, net: nn.Module, reference: Objective, objective: Objective | None = None, *, swap: bool = False
    ) -> dict[str, float]:
        """Measure a network; names as in `scores.MEANINGS`.

        reference: the objective that never changes, in whose loss the whole course of a model compares. objective: the
        one that it is trained by now. swap: with everything that concerns the swap, which takes longer. What cannot be
        measured is left out; a loss may be no finite number.
        """
        with looking_at(net):
            values = self._redrawn(net, self.shown, reference, objective)
            values = {name: value for name, value in values.items() if _side(name) in self.held or "held" not in name}
            known = self._redrawn(net, self.trained, reference, None, losses_only=True)
            values |= {name.replace("held", "train"): value for name, value in known.items()}
            if swap:
                values |= self.judge.measure(net, self.device)
        return {name: value for name, value in values.items() if math.isfinite(value) or _is_loss(name)}

    def held_losses(self, net: nn.Module, reference: Objective) -> dict[str, float]:
        """The losses on held-out faces alone, by which saved states compare: less than half the work of `measure`."""
        with looking_at(net):
            values = self._redrawn(net, self.shown, reference, None, losses_only=True)
        return {name: value for name, value in values.items() if _side(name) in self.held}

    def _redrawn(
        self,
        net: nn.Module,
        sides: Sides,
        reference: Objective,
        objective: Objective | None,
        *,
        losses_only: bool = False,
    ) -> dict[str, float]:
        """Means over the faces of each side of what their redrawing reaches."""
        sums: dict[str, list[Tensor]] = {}
        counts = {"src": len(sides.src), "dst": len(sides.dst)}
        rows = max(counts.values())
        step = max(1, min(AT_ONCE, AT_ONCE * 128**2 // sides.src.size**2))
        for start in range(0, rows, step):
            at = np.arange(start, min(rows, start + step))
            batch = Batch(*(_sample(bank, at % len(bank), self.device) for bank in (sides.src, sides.dst)))
            drawn = redrawn(net, batch.src.target, batch.dst.target)
            found = _losses("held", drawn, batch, reference)
            if not losses_only:
                if objective is not None:
                    found |= _losses("objective", drawn, batch, _base_of(objective, batch))
                found |= _agreement(drawn, batch)
            for name, value in found.items():
                sums.setdefault(name, []).append(value.float())
        return {
            name: float(torch.cat(parts)[: counts[_side(name)]].double().mean().cpu()) for name, parts in sums.items()
        }


@contextmanager
def looking_at(net: nn.Module) -> Iterator[None]:
    """Use a network without gradients for as long as the block goes on."""
    was_training = net.training
    net.eval()
    try:
        with torch.no_grad():  # not inference_mode: filters that losses keep would be of no use to a training step
            yield
    finally:
        net.train(was_training)


def redrawn(net: nn.Module, src: Tensor, dst: Tensor) -> Reconstruction:
    """Both people redrawn as themselves; AMP with the same channels each time."""
    swapper: Any = net
    if isinstance(net, Amp):
        config = net.config
        channels = random_channels(len(src), config.inter_dims, config.src_channels, np.random.default_rng(0))
        drawn: Reconstruction = swapper.reconstruct(src, dst, channels.to(src.device))
    else:
        drawn = swapper.reconstruct(src, dst)
    return Reconstruction(*(part.float() for part in drawn))


def reference_objective(objective: Objective) -> Objective:
    """What every class is measured by: structure, pixels and mask inside the soft mask, at their usual weights."""
    return Objective(filter_sizes=objective.filter_sizes, bare_blur=objective.bare_blur)


def _base_of(objective: Objective, batch: Batch) -> Objective:
    """An objective without what needs more than the drawings, and without eyes and mouth where the bank has none."""
    known = batch.src.eyes_mouth is not None and batch.dst.eyes_mouth is not None
    return replace(objective, eyes_mouth=objective.eyes_mouth and known)


def _losses(kind: str, drawn: Reconstruction, batch: Batch, objective: Objective) -> dict[str, Tensor]:
    """The weighted losses of drawing, KIND_src and KIND_dst (B,)."""
    targets = targets_of(batch, objective)
    parts = drawing_losses(drawn, drawn_inside(drawn, targets, objective), targets, objective)
    return {f"{kind}_{person}": value for person, value in weighted_sums(parts, objective.weights).items()}


def _agreement(drawn: Reconstruction, batch: Batch) -> dict[str, Tensor]:
    """SSIM inside the true mask and IoU of the masks (B,)."""
    return {
        "ssim_src": ssim(drawn.src_src, batch.src.target, batch.src.mask),
        "ssim_dst": ssim(drawn.dst_dst, batch.dst.target, batch.dst.mask),
        "iou_src": mask_iou(drawn.src_mask, batch.src.mask),
        "iou_dst": mask_iou(drawn.dst_mask, batch.dst.mask),
    }


def _sample(bank: FaceBank, indexes: NDArray[np.int64], device: torch.device) -> Sample:
    """Faces as they are."""
    pictures, masks = bank.fetch(indexes, device)
    eyes_mouth = None
    if masks.shape[1] > 1:
        peak = masks[:, 1:].amax((1, 2, 3), keepdim=True)
        eyes_mouth = masks[:, 1:] / torch.where(peak > 0, peak, torch.ones_like(peak))
    return Sample(pictures, pictures, masks[:, :1], eyes_mouth)


def _is_loss(name: str) -> bool:
    """Whether it is a loss by which states and evaluations compare, which are none without it."""
    return name.startswith(("held_", "train_"))


def _side(name: str) -> str:
    return name.rpartition("_")[2]


def _some(bank: FaceBank, most: int) -> FaceBank:
    """Up to `most` faces spread over a bank."""
    return _taken(bank, spread(len(bank), most))


def _taken(bank: FaceBank, indexes: list[int]) -> FaceBank:
    """Some faces of a bank, in memory of their own."""
    return FaceBank(bank.take(np.array(indexes, np.int64)).numpy())
