"""Redrawing two people: what the swappers' batches, learner and previews are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import torch

from understudy.training.batches.samples import Augmentation, Batch, BatchSource, Sample
from understudy.training.batches.warp import Ranges
from understudy.training.learning.learner import Learner
from understudy.training.learning.step import SwapLearner
from understudy.training.learning.task import Banks, Task
from understudy.training.losses import Objective
from understudy.training.options import TrainOptions
from understudy.training.options.samples import ColourMode
from understudy.training.previews.preview import PreviewFaces
from understudy.training.previews.preview_choice import faces_to_show, known_names

if TYPE_CHECKING:
    from understudy.training.recipes import Recipe


class Swapping(Task):
    """SAEHD, AMP and Quick96."""

    learner: ClassVar[type[Learner[Any]]] = SwapLearner

    def batches(
        self, recipe: Recipe, options: TrainOptions, banks: Banks, device: torch.device, *, faithful: bool
    ) -> BatchSource:
        return BatchSource(*banks, seed=options.seed, device=device, **_drawing(recipe, options, faithful))

    def deal_as(
        self, batches: BatchSource, recipe: Recipe, options: TrainOptions, banks: Banks | None, *, faithful: bool
    ) -> None:
        batches.configure(banks=banks, **_drawing(recipe, options, faithful))

    def needs_other_faces(
        self, banks: Banks, before: Objective, objective: Objective, options: TrainOptions, faithful: bool
    ) -> bool:
        lacks_whole = wants_whole_faces(options, faithful) and not banks[1].has_whole_faces
        return lacks_whole or (objective.eyes_mouth and not before.eyes_mouth)

    def known_names(self, banks: Banks) -> Mapping[str, Sequence[str]]:
        return known_names(*banks)

    def faces_to_show(
        self, banks: Banks, names: Mapping[str, Sequence[str]], batches: BatchSource, device: torch.device
    ) -> PreviewFaces:
        return faces_to_show(*banks, names, device)

    def imagined_batch(self, size: int, count: int) -> Batch:
        def sample() -> Sample:
            picture, mask = (torch.zeros(count, channels, size, size, device="meta") for channels in (3, 1))
            return Sample(picture, torch.zeros_like(picture), mask, torch.zeros_like(mask))

        return Batch(sample(), sample())


def augmentation_of(recipe: Recipe, options: TrainOptions, faithful: bool) -> Augmentation:
    """How samples are varied."""
    return Augmentation(
        ranges=Ranges(scale=recipe.scale_range).times(options.random_transform),
        random_warp=options.random_warp,
        flip_src=options.random_src_flip,
        flip_dst=options.random_dst_flip,
        hsv_power=options.random_hsv_power,
        colours_of_dst=str(options.ct_mode),
        faithful=faithful,
    )


def wants_whole_faces(options: TrainOptions, faithful: bool) -> bool:
    """Whether dst faces are also needed as they lie in their files: the reference takes colours from all of it."""
    return faithful and options.in_force.ct_mode is not ColourMode.NONE


class _Drawing(TypedDict):
    augmentation: Augmentation
    batch_size: int
    repeat_every: int
    uniform_yaw: bool
    persons_equally: bool
    replay: float


def _drawing(recipe: Recipe, options: TrainOptions, faithful: bool) -> _Drawing:
    """What decides about batches beside the faces and the seed. A batch comes again from its unwarped faces, which is
    pointless where none is warped."""
    return _Drawing(
        augmentation=augmentation_of(recipe, options, faithful),
        batch_size=options.batch_size * options.accumulate,
        repeat_every=recipe.repeat_every if options.random_warp else 0,
        uniform_yaw=options.uniform_yaw,
        persons_equally=options.persons_equally,
        replay=options.replay,
    )
