"""The mask network in training: one pass, one target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from understudy.training.learning.learner import Learner, Piece
from understudy.training.learning.passes import Pass
from understudy.training.losses import Losses
from understudy.training.masking.objective import MaskObjective


class MaskBatch(NamedTuple):
    """seen (B,3,S,S): faces, RGB; target (B,1,S,S): their masks, 0 or 1, or in pretraining the faces in grey. float32,
    0..1."""

    seen: Tensor
    target: Tensor

    @property
    def size(self) -> int:
        """How many samples there are."""
        return len(self.seen)

    def part(self, rows: slice) -> MaskBatch:
        """Some of the samples."""
        return MaskBatch(self.seen[rows], self.target[rows])


class MaskPass(Pass):
    """Faces (B,3,S,S) to logits (B,1,S,S), with or without what was there on the way down."""

    def forward(self, faces: Tensor, skips: bool) -> Tensor:
        logits: Tensor = self.net(faces, skips=skips)
        return logits


@dataclass(eq=False)
class MaskLearner(Learner[MaskBatch]):
    """XSeg in training. Its one loss is called `loss`, as in the reference's history."""

    losses_kept: ClassVar[tuple[str, ...]] = ("loss",)

    objective: MaskObjective

    def __post_init__(self) -> None:
        self._pass = MaskPass(self.net)

    def _passes(self) -> Sequence[Pass]:
        return (self._pass,)

    def _weighed(self, batch: MaskBatch, *, piece: Piece[MaskBatch] | None = None) -> tuple[Losses, Losses]:
        logits = self._pass.take(self._tensors(), batch.seen, not self.objective.pretraining)
        return {"loss": self.objective.loss(logits.float(), batch.target)}, {}
