"""From a faceset to batches: the bank of ready crops, the order they are drawn in, and the batch itself.

    faces on disk → FaceBank (uint8 crops of the model's size and face type) → BatchSource → Batch on the device

A batch is a pure function of the seed and of how many were consumed before it, so the state of the source is a few
whole numbers, and a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from understudy.imaging.colour_transfer import MODES, Mode
from understudy.training.batches.batch_plan import PARTNERS, Drawing, Plan, Planner
from understudy.training.batches.colours import ColourDraw, Partners, draw_colour, in_colours_of, shift_colours
from understudy.training.batches.fetching import Fetched, Fetcher
from understudy.training.batches.warp import Draw, Ranges, draw, pixel_maps, places_of, transform, warp
from understudy.training.faces.bank import FaceBank, parted, whole_pictures

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

    def part(self, rows: slice) -> Sample:
        """Some of the samples."""
        eyes_mouth = None if self.eyes_mouth is None else self.eyes_mouth[rows]
        return Sample(self.warped[rows], self.target[rows], self.mask[rows], eyes_mouth)


class Batch(NamedTuple):
    """The samples of both people."""

    src: Sample
    dst: Sample

    @property
    def size(self) -> int:
        """How many there are of each person."""
        return len(self.src.target)

    def part(self, rows: slice) -> Batch:
        """Some of the samples of both."""
        return Batch(self.src.part(rows), self.dst.part(rows))


@dataclass(frozen=True)
class Augmentation:
    """How samples are varied. random_warp off: the network sees its target. flip_src, flip_dst: whether faces of that
    side are mirrored at random. hsv_power: how far hue, saturation and light of what is seen of src are shifted, from 0
    to 0.3. colours_of_dst: how src takes on the colours of a dst face, "none" or a mode of `colour_transfer`. faithful:
    with the reference's quirks."""

    ranges: Ranges = field(default_factory=Ranges)
    random_warp: bool = True
    flip_src: bool = False
    flip_dst: bool = False
    hsv_power: float = 0.0
    colours_of_dst: str = "none"
    faithful: bool = False

    def of_side(self, side: int) -> Ranges:
        """The ranges of src (0) or dst (1)."""
        flips = (self.flip_src, self.flip_dst)[side]
        return replace(self.ranges, flip_share=FLIP_SHARE) if flips else self.ranges

    @property
    def mode(self) -> Mode | None:
        """How colours of dst are taken on, if they are."""
        return next((mode for mode in MODES if mode == self.colours_of_dst), None)


class BatchSource:
    """Batches for ever: `next()` draws one and counts it.

    repeat_every: every so many iterations the previous batch comes again with its unwarped targets as inputs (Quick96:
    3, so that the network also sees undistorted faces; 0: never). uniform_yaw: faces that look every way come equally
    often, where the banks know which way theirs look; persons_equally: all persons do, where they know who theirs are.
    replay: share of each batch that is drawn from the faces with the highest recent loss; tell them with `note`.

    On a graphics card the faces of the next batch are fetched by a thread while the network learns; on a processor that
    would take from the network what it gives (bench/feeding.py).
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
        persons_equally: bool = False,
        replay: float = 0.0,
        device: torch.device | str = "cpu",
        ahead: bool | None = None,
    ) -> None:
        """ahead: whether to fetch the next batch meanwhile; None: as the device is better off."""
        self.augmentation = augmentation or Augmentation()
        self.device = torch.device(device)
        self.part: Callable[[int], slice] = slice
        """Which samples of a batch of so many are drawn here; the rest is drawn by other processes of a team."""
        self._banks = (src, dst)
        partners = self.augmentation.mode is not None
        self._drawing = Drawing(batch_size, repeat_every, uniform_yaw, persons_equally, replay, partners)
        self._planner = Planner(self._banks, self._drawing, seed)
        self._newest: Plan | None = None
        self._fetcher = Fetcher(self.device) if (self.device.type == "cuda" if ahead is None else ahead) else None

    def __iter__(self) -> BatchSource:
        return self

    def __next__(self) -> Batch:
        return self.next()

    @property
    def batch_size(self) -> int:
        """Faces of each side in a batch, of all processes together."""
        return self._drawing.batch_size

    @property
    def seed(self) -> int:
        """Start of all random draws."""
        return self._planner.seed

    @property
    def banks(self) -> tuple[FaceBank, FaceBank]:
        """The faces of src and dst."""
        return self._banks

    @property
    def wants_losses(self) -> bool:
        """Whether `note` has any use."""
        return self._drawing.replay > 0

    def next(self) -> Batch:
        """The batch of this iteration."""
        fetched = self._fetcher.take() if self._fetcher else None
        plan, crops = fetched or self._fetched(self._planner.plan())
        self._planner.consume(plan)
        self._newest = plan
        if self._fetcher is not None:
            self._fetcher.begin(lambda plan=self._planner.plan(): self._fetched(plan))  # type: ignore[misc]
        src, dst = (self._sample(side, plan, crops) for side in (0, 1))
        return Batch(src, dst)

    def note(self, losses: Mapping[str, Tensor]) -> None:
        """Tell how hard the faces of the newest batch were: `src` and `dst`, (B,) each, of the whole batch of a team;
        they may lie on the device and are not waited for."""
        if self._newest is not None and self.wants_losses:
            self._planner.note(self._newest, (losses["src"], losses["dst"]))

    def state_dict(self) -> dict[str, Any]:
        """Whole numbers that say what was consumed; batches drawn ahead of that do not exist."""
        return self._planner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._forget()
        self._planner.load_state_dict(state)

    def configure(
        self,
        *,
        augmentation: Augmentation,
        batch_size: int,
        repeat_every: int,
        uniform_yaw: bool,
        persons_equally: bool = False,
        replay: float = 0.0,
        banks: tuple[FaceBank, FaceBank] | None = None,
    ) -> None:
        """Draw otherwise from the next batch on, as a source made with these would from here. banks: src, dst."""
        self.augmentation = augmentation
        partners = augmentation.mode is not None
        self._drawing = Drawing(batch_size, repeat_every, uniform_yaw, persons_equally, replay, partners)
        self._draw_from(banks or self._banks)

    def replace_banks(self, src: FaceBank, dst: FaceBank) -> None:
        """Draw from other faces from the next batch on. A side whose faces are others is dealt anew."""
        self._draw_from((src, dst))

    def _draw_from(self, banks: tuple[FaceBank, FaceBank]) -> None:
        self._forget()
        self._planner.change(banks, self._drawing)
        self._banks = banks

    def _forget(self) -> None:
        """Let go of a batch that was fetched ahead: it may no longer be the one that comes next."""
        if self._fetcher is not None:
            self._fetcher.take()

    def _fetched(self, plan: Plan) -> Fetched:
        """The crops of a planned batch, this process's part of them, on the way to the device."""
        mine = self.part(self.batch_size)
        pinned = self.device.type == "cuda"
        wanted = [*zip(self._banks, plan.faces, strict=True)]
        if plan.partners is not None:
            wanted.append((self._banks[1], plan.partners))
        crops = (bank.take(faces[mine], pinned=pinned).to(self.device, non_blocking=True) for bank, faces in wanted)
        return Fetched(plan, tuple(crops))

    def _sample(self, side: int, plan: Plan, crops: Sequence[Tensor]) -> Sample:
        """crops: of src, dst and src's partners, if it has any."""
        mine, count = self.part(self.batch_size), self.batch_size
        pictures, masks = parted(crops[side], self.device)
        chance = np.random.default_rng([self.seed, side, 1, plan.counters.fresh])
        draws = [draw(pictures.shape[-1], self.augmentation.of_side(side), chance) for _ in range(count)][mine]
        power = 0.0 if side else self.augmentation.hsv_power
        colours = [draw_colour(power, chance) for _ in range(count)][mine] if power else None
        partners = self._partners(plan, crops[2]) if side == 0 and plan.partners is not None else None
        return augment(
            pictures, masks, draws, self.augmentation, warped=plan.warped, colours=colours, partners=partners
        )

    def _partners(self, plan: Plan, crops: Tensor) -> Partners:
        """Those whose colours src's faces take on. The reference takes a partner's whole picture, of any face type."""
        mine = self.part(self.batch_size)
        chance = np.random.default_rng([self.seed, PARTNERS, plan.counters.fresh])
        seeds = chance.integers(1 << 32, size=(2, self.batch_size))[:, mine].tolist()
        pictures, masks = parted(crops, self.device)
        if self.augmentation.faithful:
            whole = whole_pictures(crops)
            return Partners(pictures if whole is None else whole, None, *seeds)
        return Partners(pictures, masks[:, :1] >= 0.5, *seeds)


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
    partners: Partners | None = None,
) -> Sample:
    """Bend and turn a batch: pictures (B,3,S,S) and masks (B,1,S,S), 0..1, each by its draw.

    masks (B,2,S,S) have that of eyes and mouth behind the face's; it is brought to a peak of 1 afterwards.

    partners: pictures whose colours these take on, what is seen and the target alike. colours: what is seen has other
    colours than the target, which the network so learns not to mind.

    faithful resamples twice, warp then transform, as the reference does; otherwise the two maps are joined and the
    picture is resampled once, which keeps it sharper.
    """
    drawn = pictures
    if partners is not None and augmentation.mode is not None:
        drawn, pictures = in_colours_of(augmentation.mode, pictures, masks, partners, faithful=augmentation.faithful)
    places = places_of(draws, pictures.device, faithful=augmentation.faithful)
    move = partial(transform, draws=draws, places=places)
    target = move(drawn).clamp(0, 1)
    mask, eyes_mouth = _parted(move(masks, mode="bilinear", border="zeros"))
    if colours is not None:
        pictures = shift_colours(pictures, colours)
    if not (warped and augmentation.random_warp):
        seen = target if pictures is drawn else move(pictures)
        return Sample(seen.clamp(0, 1), target, mask, eyes_mouth)
    maps = pixel_maps(draws, pictures.device, faithful=augmentation.faithful)
    if augmentation.faithful:
        seen = move(warp(pictures, maps, faithful=True))
    else:
        seen = warp(pictures, move(maps, mode="bilinear"))
    return Sample(seen.clamp(0, 1), target, mask, eyes_mouth)


def _parted(masks: Tensor) -> tuple[Tensor, Tensor | None]:
    """The mask of the face, and that of eyes and mouth, if it is there, with a peak of 1 unless it is empty."""
    if masks.shape[1] == 1:
        return masks, None
    eyes_mouth = masks[:, 1:]
    peak = eyes_mouth.amax((1, 2, 3), keepdim=True)
    return masks[:, :1], eyes_mouth / torch.where(peak > 0, peak, torch.ones_like(peak))
