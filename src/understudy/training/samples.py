"""From a faceset to batches: the bank of ready crops, the order they are drawn in, and the batch itself.

    faces on disk → FaceBank (uint8 crops of the model's size and face type) → BatchSource → Batch on the device

A batch is a pure function of the seed and of how many were consumed before it, so the state of the source is a few
whole numbers, and a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from understudy.training.bank import FaceBank
from understudy.training.colours import ColourDraw, draw_colour, shift_colours
from understudy.training.samplers import Sampler, YawSampler, seed_of
from understudy.training.warp import Draw, Ranges, draw, pixel_maps, transform, warp

__all__ = ["Augmentation", "Batch", "BatchSource", "FaceBank", "Sample", "augment", "draw_batch"]

FLIP_SHARE = 0.4
"""How many of the faces are mirrored where faces are mirrored at random, as in the reference."""


class Sample(NamedTuple):
    """warped (B,3,S,S): what the network sees; target (B,3,S,S): what it should draw; mask (B,1,S,S): where.

    eyes_mouth (B,1,S,S): where eyes and mouth are, up to 1; None where no loss looks there. RGB, float32, 0..1.
    """

    warped: Tensor
    target: Tensor
    mask: Tensor
    eyes_mouth: Tensor | None = None


class Batch(NamedTuple):
    """The samples of both people."""

    src: Sample
    dst: Sample


@dataclass(frozen=True)
class Augmentation:
    """How samples are varied. random_warp off: the network sees its target. flip_src, flip_dst: whether faces of that
    side are mirrored at random. hsv_power: how far hue, saturation and light of what is seen of src are shifted, from 0
    to 0.3. faithful: with the reference's quirks."""

    ranges: Ranges = field(default_factory=Ranges)
    random_warp: bool = True
    flip_src: bool = False
    flip_dst: bool = False
    hsv_power: float = 0.0
    faithful: bool = False

    def of_side(self, side: int) -> Ranges:
        """The ranges of src (0) or dst (1)."""
        flips = (self.flip_src, self.flip_dst)[side]
        return replace(self.ranges, flip_share=FLIP_SHARE) if flips else self.ranges


class BatchSource:
    """Batches for ever: `next()` draws one and counts it.

    repeat_every: every so many iterations the previous batch comes again with its unwarped targets as inputs (Quick96:
    3, so that the network also sees undistorted faces; 0: never). uniform_yaw: faces that look every way come equally
    often, where the banks know which way theirs look.
    """

    def __init__(
        self,
        src: FaceBank,
        dst: FaceBank,
        *,
        batch_size: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        repeat_every: int = 3,
        uniform_yaw: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.batch_size, self.seed, self.repeat_every = batch_size, seed, repeat_every
        self.uniform_yaw = uniform_yaw
        self.augmentation = augmentation or Augmentation()
        self.device = torch.device(device)
        self._banks = (src, dst)
        self.part: Callable[[int], slice] = slice
        """Which samples of a batch of so many are drawn here; the rest is drawn by other processes of a team."""
        self._start()

    def __iter__(self) -> BatchSource:
        return self

    def __next__(self) -> Batch:
        return self.next()

    def next(self) -> Batch:
        """The batch of this iteration."""
        again = bool(self.repeat_every and self.fresh and self.iteration % self.repeat_every == 0)
        if not again:
            self.fresh += 1
            self.position += self.batch_size
        self.iteration += 1
        start = max(0, self.position - self.batch_size)
        src, dst = (self._sample(side, start, warped=not again) for side in (0, 1))
        return Batch(src, dst)

    def state_dict(self) -> dict[str, int]:
        """Whole numbers that say what was consumed; batches drawn ahead of that do not exist."""
        return {"seed": self.seed, "iteration": self.iteration, "fresh": self.fresh, "position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.seed = int(state["seed"])
        self._start()
        self.iteration, self.fresh, self.position = (int(state[key]) for key in ("iteration", "fresh", "position"))

    def configure(
        self,
        *,
        augmentation: Augmentation,
        batch_size: int,
        repeat_every: int,
        uniform_yaw: bool,
        banks: tuple[FaceBank, FaceBank] | None = None,
    ) -> None:
        """Draw otherwise from the next batch on, as a source made with these would from here. banks: src, dst."""
        self.augmentation, self.batch_size, self.repeat_every = augmentation, batch_size, repeat_every
        self._banks = banks or self._banks
        if banks or uniform_yaw != self.uniform_yaw:
            self.uniform_yaw = uniform_yaw
            self._deal()

    def _start(self) -> None:
        self.iteration = self.fresh = self.position = 0
        self._deal()

    def _deal(self) -> None:
        self._samplers = [self._sampler(bank, seed_of(self.seed, side)) for side, bank in enumerate(self._banks)]

    def _sampler(self, bank: FaceBank, seed: int) -> Sampler | YawSampler:
        if self.uniform_yaw and bank.yaws is not None:
            return YawSampler(bank.yaws, seed)
        return Sampler(len(bank), seed)

    def _sample(self, side: int, start: int, *, warped: bool) -> Sample:
        bank, mine = self._banks[side], self.part(self.batch_size)
        pictures, masks = bank.fetch(self._samplers[side].take(start, self.batch_size)[mine], self.device)
        chance = np.random.default_rng([self.seed, side, 1, self.fresh])
        draws = [draw(bank.size, self.augmentation.of_side(side), chance) for _ in range(self.batch_size)][mine]
        power = 0.0 if side else self.augmentation.hsv_power
        colours = [draw_colour(power, chance) for _ in range(self.batch_size)][mine] if power else None
        return augment(pictures, masks, draws, self.augmentation, warped=warped, colours=colours)


def draw_batch(
    src: FaceBank, dst: FaceBank, *, batch_size: int, seed: int = 0, device: torch.device | str = "cpu"
) -> Batch:
    """One batch, for a preview or a measurement."""
    return BatchSource(src, dst, batch_size=batch_size, seed=seed, device=device).next()


def augment(
    pictures: Tensor,
    masks: Tensor,
    draws: list[Draw],
    augmentation: Augmentation,
    *,
    warped: bool = True,
    colours: list[ColourDraw] | None = None,
) -> Sample:
    """Bend and turn a batch: pictures (B,3,S,S) and masks (B,1,S,S), 0..1, each by its draw.

    masks (B,2,S,S) have that of eyes and mouth behind the face's; it is brought to a peak of 1 afterwards.

    colours: what is seen has other colours than the target, which the network so learns not to mind.

    faithful resamples twice, warp then transform, as the reference does; otherwise the two maps are joined and the
    picture is resampled once, which keeps it sharper.
    """
    target = transform(pictures, draws).clamp(0, 1)
    mask, eyes_mouth = _parted(transform(masks, draws, mode="bilinear", border="zeros"))
    if colours is not None:
        pictures = shift_colours(pictures, colours)
    if not (warped and augmentation.random_warp):
        seen = target if colours is None else transform(pictures, draws)
        return Sample(seen.clamp(0, 1), target, mask, eyes_mouth)
    maps = pixel_maps(draws, pictures.device, faithful=augmentation.faithful)
    if augmentation.faithful:
        seen = transform(warp(pictures, maps), draws)
    else:
        seen = warp(pictures, transform(maps, draws, mode="bilinear"))
    return Sample(seen.clamp(0, 1), target, mask, eyes_mouth)


def _parted(masks: Tensor) -> tuple[Tensor, Tensor | None]:
    """The mask of the face, and that of eyes and mouth, if it is there, with a peak of 1 unless it is empty."""
    if masks.shape[1] == 1:
        return masks, None
    eyes_mouth = masks[:, 1:]
    peak = eyes_mouth.amax((1, 2, 3), keepdim=True)
    return masks[:, :1], eyes_mouth / torch.where(peak > 0, peak, torch.ones_like(peak))
