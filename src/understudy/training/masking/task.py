"""Finding what of a face is face: what the mask network's batches, learner and previews are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from understudy.training.learning.learner import Learner
from understudy.training.learning.task import Banks, Task
from understudy.training.masking.batches import MaskBatches
from understudy.training.masking.learner import MaskBatch, MaskLearner
from understudy.training.masking.previews import MaskPreviewFaces
from understudy.training.measuring.scores import SIDES
from understudy.training.options import TrainOptions
from understudy.training.previews.preview import rows_for
from understudy.training.previews.preview_choice import chosen_faces, still_there

if TYPE_CHECKING:
    from understudy.training.recipes import Recipe


class Masking(Task):
    """XSeg. Banks hold the labelled faces of each side, and behind `shown` some of all faces, which previews show."""

    learner: ClassVar[type[Learner[Any]]] = MaskLearner

    def batches(
        self, recipe: Recipe, options: TrainOptions, banks: Banks, device: torch.device, *, faithful: bool
    ) -> MaskBatches:
        return MaskBatches(
            *banks,
            batch_size=options.batch_size * options.accumulate,
            seed=options.seed,
            pretraining=options.pretrain,
            faithful=faithful,
            device=device,
        )

    def deal_as(
        self, batches: MaskBatches, recipe: Recipe, options: TrainOptions, banks: Banks | None, *, faithful: bool
    ) -> None:
        batches.configure(batch_size=options.batch_size * options.accumulate, faithful=faithful, banks=banks)

    def known_names(self, banks: Banks) -> Mapping[str, Sequence[str]]:
        return {side: () if bank.shown is None else bank.shown.names for side, bank in zip(SIDES, banks, strict=True)}

    def names_to_choose(self, banks: Banks) -> Mapping[str, Sequence[str]]:
        return {side: bank.choice for side, bank in zip(SIDES, banks, strict=True)}

    def needs_other_faces(
        self, banks: Banks, before: Any, objective: Any, options: TrainOptions, faithful: bool
    ) -> bool:
        known, choice = self.known_names(banks), self.names_to_choose(banks)
        wanted = chosen_faces(still_there(options.preview_faces, choice), choice)
        return any(set(wanted[side]) - set(known[side]) for side in SIDES)

    def faces_to_show(
        self, banks: Banks, names: Mapping[str, Sequence[str]], batches: MaskBatches, device: torch.device
    ) -> MaskPreviewFaces:
        training = batches.example(rows_for(banks[0].size))
        sides = {}
        for side, bank in zip(SIDES, banks, strict=True):
            if bank.shown is not None and names[side] and not batches.pretraining:
                indexes = [bank.shown.names.index(name) for name in names[side]]
                sides[side], _ = bank.shown.fetch(np.array(indexes, np.int64), device)
        return MaskPreviewFaces(training, sides, batches.pretraining)

    def imagined_batch(self, size: int, count: int) -> MaskBatch:
        seen, target = (torch.zeros(count, channels, size, size, device="meta") for channels in (3, 1))
        return MaskBatch(seen, target)
