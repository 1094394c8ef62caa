"""One training step: forward, losses, backward, update; then the discriminators, on the same batch.

    batch ─┬─ the swapper             redraw both people, losses, update
           ├─ code discriminator      whose code is it?      with true_face_power, DF
           └─ patch discriminator     is this piece real?    with gan_power

The discriminators learn from what the swapper draws after its update, as in the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from understudy.networks.amp import Amp, AmpConfig
from understudy.networks.blocks import Reconstruction
from understudy.records import CODE_DISCRIMINATOR, GAN
from understudy.training.batches.samples import Batch
from understudy.training.learning.learner import Learner, Piece
from understudy.training.learning.passes import CodePass, Pass, Redrawn, SrcFacePass, pass_through, random_channels
from understudy.training.losses import (
    Losses,
    Objective,
    Targets,
    background_style_loss,
    cross_entropy,
    drawing_losses,
    drawn_inside,
    dst_kept_calm,
    face_style_loss,
    src_kept_calm,
    targets_of,
    weighted_sums,
)

PLAIN = 1e-4
"""A deviation of colours, of 1, that nobody sees."""

CHANNELS = 2
"""The stream of random numbers that channels are drawn from; samples have those of their sides, 0 and 1."""


@dataclass(eq=False)
class SwapLearner(Learner[Batch]):
    """A swapper in training. Its losses: `src` and `dst`, weighted sums, and each loss by itself."""

    losses_kept: ClassVar[tuple[str, ...]] = ("src", "dst")

    objective: Objective

    def __post_init__(self) -> None:
        self._pass, self._codes, self._src_face = pass_through(self.net), CodePass(self.net), SrcFacePass(self.net)

    def _passes(self) -> Sequence[Pass]:
        return self._pass, self._codes, self._src_face

    def _teach_discriminators(self, batch: Batch) -> dict[str, Tensor]:
        values = {}
        if self.objective.true_face and self.objective.code_discriminator_learns:
            discriminator = self.discriminators[CODE_DISCRIMINATOR]
            values[CODE_DISCRIMINATOR] = self._within_memory(discriminator.optimiser, batch, self._teach_codes)
        if self.objective.gan:
            discriminator = self.discriminators[GAN]
            values[GAN] = self._within_memory(discriminator.optimiser, batch, self._teach_patches)
        return values

    def _teach_codes(self, pieces: Sequence[Piece[Batch]]) -> Tensor:
        losses = (self.code_losses(piece.batch) for piece in pieces)
        return self._teach(self.discriminators[CODE_DISCRIMINATOR], losses, pieces[0].whole)

    def _teach_patches(self, pieces: Sequence[Piece[Batch]]) -> Tensor:
        losses = (self.patch_losses(piece.batch, piece=piece) for piece in pieces)
        return self._teach(self.discriminators[GAN], losses, pieces[0].whole)

    def _weighed(self, batch: Batch, *, piece: Piece[Batch] | None = None) -> tuple[Losses, Losses]:
        """Each person's weighted sum, and every loss unweighted, (B,), with a gradient."""
        parts = self.losses(batch, targets_of(batch, self.objective), piece=piece)
        return weighted_sums(parts, self.objective.weights), parts

    def losses(self, batch: Batch, targets: Targets, *, piece: Piece[Batch] | None = None) -> Losses:
        """Every loss of the swapper, unweighted, (B,), with a gradient. piece: what of a step's batch this is."""
        objective, redrawn = self.objective, self._redraw(batch, piece=piece)
        drawn = redrawn.drawn
        if self.rates is not None and self.rates.guarded:
            self.contrast = contrast_of(drawn, batch)
        inside = drawn_inside(drawn, targets, objective)
        parts = drawing_losses(drawn, inside, targets, objective)
        if redrawn.restyled is not None:
            parts |= face_style_loss(redrawn.restyled, drawn)
        if redrawn.swapped is not None:
            parts |= background_style_loss(redrawn.swapped, targets, objective)
        if objective.true_face:
            (logits,) = self.discriminators[CODE_DISCRIMINATOR].logits(redrawn.codes[0], learning=False)
            parts["rest_true_face"] = cross_entropy(logits, 1)
        if objective.hold_dst_surroundings:
            parts |= dst_kept_calm(drawn, targets, objective)
        if objective.gan:
            maps = self.discriminators[GAN].logits(self._for_the_gan(inside), learning=False)
            parts["rest_gan"] = _by_sample(len(batch.src.target), [cross_entropy(logits, 1) for logits in maps])
            if objective.masked:
                parts |= src_kept_calm(drawn, targets, objective)
        return parts

    def code_losses(self, batch: Batch) -> Tensor:
        """How badly the code discriminator tells dst's codes (1) from src's (0), (B,), with a gradient for it alone."""
        with torch.no_grad():
            codes = self._codes.take(self._tensors(), torch.cat([batch.dst.warped, batch.src.warped]))
        (logits,) = self.discriminators[CODE_DISCRIMINATOR].logits(codes, learning=True)
        of_dst, of_src = logits.chunk(2)
        return (cross_entropy(of_dst, 1) + cross_entropy(of_src, 0)) / 2

    def patch_losses(
        self, batch: Batch, targets: Targets | None = None, *, piece: Piece[Batch] | None = None
    ) -> Tensor:
        """How badly the patch discriminator tells targets (1) from drawings (0), (B,), with a gradient for it alone."""
        targets = targets or targets_of(batch, self.objective)
        with torch.no_grad():
            real, drawn = self._for_the_gan(targets.inside), self._drawn_for_the_gan(batch, targets, piece)
        maps = self.discriminators[GAN].logits(torch.cat([real, drawn]), learning=True)
        told = []
        for logits in maps:
            on_real, on_drawn = logits.chunk(2)
            told.append(cross_entropy(on_real, 1) + cross_entropy(on_drawn, 0))
        return _by_sample(len(batch.src.target), told) / (8 if self.objective.gan_on_dst else 2)

    def draw_channels(self, config: AmpConfig, count: int, draw: int) -> Tensor:
        """AMP's random channels (count,I,1,1) of this step; `draw` numbers the draws of one step."""
        chance = np.random.default_rng([self.seed, CHANNELS, self.optimiser.iterations, draw])
        return random_channels(count, config.inter_dims, config.src_channels, chance)

    def _redraw(self, batch: Batch, *, draw: int = 0, piece: Piece[Batch] | None = None) -> Redrawn:
        """One forward pass for both people. draw: which of a step's random channels to take (AMP)."""
        faces, objective = (batch.src.warped, batch.dst.warped), self.objective
        if isinstance(self.net, Amp):
            rows, count = (piece.rows, piece.whole) if piece else (slice(None), len(faces[0]))
            every = self.draw_channels(self.net.config, count * self.members, draw)
            channels = every[self.member * count : (self.member + 1) * count][rows]
            how: tuple[object, ...] = (channels.to(faces[0].device),)
        else:
            how = (bool(objective.bg_style), bool(objective.face_style))
        redrawn = self._pass.take(self._tensors(), *faces, *how)
        assert isinstance(redrawn, Redrawn)
        return redrawn

    def _for_the_gan(self, both: Tensor) -> Tensor:
        """Of pictures of src and dst, those that the patch discriminator looks at."""
        return both if self.objective.gan_on_dst else both.chunk(2)[0]

    def _drawn_for_the_gan(self, batch: Batch, targets: Targets, piece: Piece[Batch] | None) -> Tensor:
        """What the swapper draws now, as the patch discriminator sees it."""
        if self.objective.gan_on_dst:
            return drawn_inside(self._redraw(batch, draw=1, piece=piece).drawn, targets, self.objective)
        face: Tensor = self._src_face.take(self._tensors(), batch.src.warped)
        return face * targets.soft.chunk(2)[0] if self.objective.masked else face


def contrast_of(drawn: Reconstruction, batch: Batch) -> Tensor:
    """How varied the drawn faces of the person with the dullest ones are, as a share of their targets', ().

    A plain colour counts as 0, whichever it is, and targets that are plain themselves as drawn well.
    """
    pairs = ((drawn.src_src, batch.src.target), (drawn.dst_dst, batch.dst.target))
    shares = [(_variety(face.detach()) + PLAIN) / (_variety(target) + PLAIN) for face, target in pairs]
    return torch.stack(shares).min()


def _variety(faces: Tensor) -> Tensor:
    """The deviation of each colour over all faces and places, their mean, (): of pictures (B,3,H,W) in 0..1."""
    return faces.float().std((0, 2, 3)).mean()


def _by_sample(batch_size: int, values: list[Tensor]) -> Tensor:
    """Numbers of samples, or of all src and then all dst samples, added up for each place in the batch: (B,)."""
    return torch.cat(values).view(-1, batch_size).sum(0)
