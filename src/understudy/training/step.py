"""One training step: forward, losses, backward, update; then the networks that judge, on the same batch.

    batch ─┬─ the swapper             redraw both people, losses, update
           ├─ code discriminator      whose code is it?      with true_face_power, DF
           └─ patch discriminator     is this piece real?    with gan_power

The judges learn from what the swapper draws after its update, as in the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from understudy.devices import keep_freed_memory
from understudy.networks.amp import Amp, AmpConfig
from understudy.records import CODE_DISCRIMINATOR, GAN
from understudy.training.critics import Critic
from understudy.training.losses import (
    Losses,
    Objective,
    Targets,
    background_style_loss,
    drawing_losses,
    drawn_inside,
    dst_kept_calm,
    face_style_loss,
    judged_as,
    src_kept_calm,
    targets_of,
    weighted_sums,
)
from understudy.training.optimisers import Optimiser
from understudy.training.passes import CodePass, Redrawn, SrcFacePass, pass_through, random_channels
from understudy.training.precision import Precision
from understudy.training.samples import Batch

CHANNELS = 2
"""The stream of random numbers that channels are drawn from; samples have those of their sides, 0 and 1."""


def prepare(net: nn.Module, precision: Precision, device: torch.device) -> None:
    """Put a network where and how `precision` computes: device, memory layout, threads. In place."""
    net.to(device)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # the same seed gives the same bits
    if precision.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        keep_freed_memory()
        if precision.threads:
            torch.set_num_threads(precision.threads)


@dataclass(eq=False)
class Learner:
    """A swapper in training: the network, what it is judged by and how it is updated.

    optimiser: its parameters are trained, its constants are not; together they are all of `net`. critics: the networks
    that judge, by name. seed: of AMP's random channels, which are a function of it and of the optimiser's count, so
    that a resumed run draws what the uninterrupted one would have drawn.
    """

    net: nn.Module
    optimiser: Optimiser
    objective: Objective
    critics: Mapping[str, Critic] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self._pass, self._codes, self._src_face = pass_through(self.net), CodePass(self.net), SrcFacePass(self.net)

    def learn(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from one batch. Returns detached losses, means over the batch: `src` and `dst` weighted, the rest not.

        The gradient is that of the sum over the batch, as in the reference: with these optimisers only clipping and the
        size of ε beside it depend on that. Numbers stay on the device, so nothing waits until somebody reads them.
        """
        targets = targets_of(batch, self.objective)
        total, values = self.forward(batch, targets)
        _update(self.optimiser, total)
        if self.objective.true_face:
            values[CODE_DISCRIMINATOR] = _taught(self.critics[CODE_DISCRIMINATOR], self.code_losses(batch))
        if self.objective.gan:
            values[GAN] = _taught(self.critics[GAN], self.patch_losses(batch, targets))
        return values

    def forward(self, batch: Batch, targets: Targets | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised, with a gradient, and the values that `learn` gives back for it."""
        parts = self.losses(batch, targets or targets_of(batch, self.objective))
        people = weighted_sums(parts, self.objective.weights)
        total = torch.stack(list(people.values())).sum()
        return total, {name: value.detach().mean() for name, value in (people | parts).items()}

    def losses(self, batch: Batch, targets: Targets) -> Losses:
        """Every loss of the swapper, unweighted, (B,), with a gradient."""
        objective, redrawn = self.objective, self._redraw(batch)
        drawn = redrawn.drawn
        inside = drawn_inside(drawn, targets, objective)
        parts = drawing_losses(drawn, inside, targets, objective)
        if redrawn.restyled is not None:
            parts |= face_style_loss(redrawn.restyled, drawn)
        if redrawn.swapped is not None:
            parts |= background_style_loss(redrawn.swapped, targets, objective)
        if objective.true_face:
            (verdict,) = self.critics[CODE_DISCRIMINATOR].judge(redrawn.codes[0], learning=False)
            parts["rest_true_face"] = judged_as(verdict, 1)
        if objective.hold_dst_surroundings:
            parts |= dst_kept_calm(drawn, targets, objective)
        if objective.gan:
            verdicts = self.critics[GAN].judge(self._for_the_judge(inside), learning=False)
            parts["rest_gan"] = _by_sample(len(batch.src.target), [judged_as(verdict, 1) for verdict in verdicts])
            if objective.masked:
                parts |= src_kept_calm(drawn, targets, objective)
        return parts

    def code_losses(self, batch: Batch) -> Tensor:
        """How badly the code discriminator tells dst's codes (1) from src's (0), (B,), with a gradient for it alone."""
        with torch.no_grad():
            codes = self._codes.take(self._tensors(), torch.cat([batch.dst.warped, batch.src.warped]))
        (verdict,) = self.critics[CODE_DISCRIMINATOR].judge(codes, learning=True)
        of_dst, of_src = verdict.chunk(2)
        return (judged_as(of_dst, 1) + judged_as(of_src, 0)) / 2

    def patch_losses(self, batch: Batch, targets: Targets) -> Tensor:
        """How badly the patch discriminator tells targets (1) from drawings (0), (B,), with a gradient for it alone."""
        with torch.no_grad():
            real, drawn = self._for_the_judge(targets.inside), self._drawn_for_the_judge(batch, targets)
        verdicts = self.critics[GAN].judge(torch.cat([real, drawn]), learning=True)
        told = []
        for verdict in verdicts:
            on_real, on_drawn = verdict.chunk(2)
            told.append(judged_as(on_real, 1) + judged_as(on_drawn, 0))
        return _by_sample(len(batch.src.target), told) / (8 if self.objective.gan_on_dst else 2)

    def draw_channels(self, config: AmpConfig, count: int, draw: int) -> Tensor:
        """AMP's random channels (count,I,1,1) of this step; `draw` numbers the draws of one step."""
        chance = np.random.default_rng([self.seed, CHANNELS, self.optimiser.iterations, draw])
        return random_channels(count, config.inter_dims, config.src_channels, chance)

    def _redraw(self, batch: Batch, *, draw: int = 0) -> Redrawn:
        """One forward pass for both people. draw: which of a step's random channels to take (AMP)."""
        faces, objective = (batch.src.warped, batch.dst.warped), self.objective
        if isinstance(self.net, Amp):
            how: tuple[object, ...] = (self.draw_channels(self.net.config, len(faces[0]), draw).to(faces[0].device),)
        else:
            how = (bool(objective.bg_style), bool(objective.face_style))
        redrawn = self._pass.take(self._tensors(), *faces, *how)
        assert isinstance(redrawn, Redrawn)
        return redrawn

    def _for_the_judge(self, both: Tensor) -> Tensor:
        """Of pictures of src and dst, those that the patch discriminator looks at."""
        return both if self.objective.gan_on_dst else both.chunk(2)[0]

    def _drawn_for_the_judge(self, batch: Batch, targets: Targets) -> Tensor:
        """What the swapper draws now, as the patch discriminator sees it."""
        if self.objective.gan_on_dst:
            return drawn_inside(self._redraw(batch, draw=1).drawn, targets, self.objective)
        face: Tensor = self._src_face.take(self._tensors(), batch.src.warped)
        return face * targets.soft.chunk(2)[0] if self.objective.masked else face

    def _tensors(self) -> dict[str, Tensor]:
        """The tensors to compute with, by name. Those that this step does not train have no gradient."""
        trained, frozen = self.optimiser.parameters, self.objective.frozen
        return {
            name: tensor if name in trained and not name.startswith(frozen) else tensor.detach()
            for name, tensor in self.optimiser.working().items()
        }


def _by_sample(batch_size: int, values: list[Tensor]) -> Tensor:
    """Numbers of samples, or of all src and then all dst samples, added up for each place in the batch: (B,)."""
    return torch.cat(values).view(-1, batch_size).sum(0)


def _taught(critic: Critic, losses: Tensor) -> Tensor:
    """Update a critic by its losses (B,); their mean."""
    _update(critic.optimiser, losses.sum())
    return losses.detach().mean()


def _update(optimiser: Optimiser, total: Tensor) -> None:
    (total * optimiser.loss_scale).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
