"""One training step: forward, losses, backward, update; then the networks that judge, on the same batch.

    batch ─┬─ the swapper             redraw both people, losses, update
           ├─ code discriminator      whose code is it?      with true_face_power, DF
           └─ patch discriminator     is this piece real?    with gan_power

The judges learn from what the swapper draws after its update, as in the reference. A batch may go in pieces: gradients
are sums over samples, so those of the pieces add up to that of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from understudy.devices import keep_freed_memory
from understudy.networks.amp import Amp, AmpConfig
from understudy.records import CODE_DISCRIMINATOR, GAN
from understudy.training import recomputing
from understudy.training.critics import Critic
from understudy.training.ema import Ema
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
from understudy.training.options.machine import Compiling
from understudy.training.passes import CodePass, Redrawn, SrcFacePass, pass_through, random_channels
from understudy.training.precision import Precision, keep_float32
from understudy.training.rates import Rates
from understudy.training.samples import Batch, Sample
from understudy.training.shortage import in_memory

GRADIENT_LENGTH = "gradient_length"
"""The length of the swapper's gradient among the values of a step."""

Done = TypeVar("Done")

CHANNELS = 2
"""The stream of random numbers that channels are drawn from; samples have those of their sides, 0 and 1."""


def prepare(net: nn.Module, precision: Precision, device: torch.device) -> None:
    """Put a network where and how `precision` computes: device, memory layout, threads. In place."""
    net.to(device)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # the same seed gives the same bits
        keep_float32()
    if precision.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        keep_freed_memory()
        if precision.threads:
            torch.set_num_threads(precision.threads)


class Piece(NamedTuple):
    """Some samples of a batch: `rows` of the `whole` that a step learns from."""

    batch: Batch
    rows: slice
    whole: int

    @property
    def share(self) -> float:
        return len(self.batch.src.target) / self.whole


@dataclass(eq=False)
class Learner:
    """A swapper in training: the network, what it is judged by and how it is updated.

    optimiser: its parameters are trained, its constants are not; together they are all of `net`. critics: the networks
    that judge, by name. seed: of AMP's random channels, which are a function of it and of the optimiser's count, so
    that a resumed run draws what the uninterrupted one would have drawn.

    May be changed between steps: rates: by which all optimisers step; None leaves them as they are. calm: how much
    more calmly than those training goes (`Rates.calmed`) up to iteration `calm_until`. pieces: in how many pieces a
    batch is learned. freeze: names of parts that stay as they are. compiling: how passes are computed. cuts: in how
    many parts each piece goes, for memory's sake; it grows when memory runs out. reduce: called with the gradients
    before every update, to add up those of other processes in place; spread: after it, to bring the weights that each
    process has moved to all. member: which of the `members` this is that have a part of each batch.

    iteration: steps before the next one. ema: the average of the weights, if one is kept. sample_losses: of each sample
    of the last batch, weighted: `src` and `dst`, (B,), detached. contrast: how varied the last src faces were that were
    drawn, as a share of their targets', (); None where nobody guards against drawing nothing.
    """

    net: nn.Module
    optimiser: Optimiser
    objective: Objective
    critics: Mapping[str, Critic] = field(default_factory=dict)
    seed: int = 0
    rates: Rates | None = None
    calm: int = 0
    calm_until: int = 0
    pieces: int = 1
    cuts: int = 1
    freeze: tuple[str, ...] = ()
    compiling: Compiling = Compiling.NO
    reduce: Callable[[Sequence[Tensor]], None] | None = None
    spread: Callable[[Optimiser], None] | None = None
    member: int = 0
    members: int = 1
    iteration: int = 0
    ema: Ema | None = None
    sample_losses: dict[str, Tensor] = field(default_factory=dict)
    contrast: Tensor | None = None

    def __post_init__(self) -> None:
        self._pass, self._codes, self._src_face = pass_through(self.net), CodePass(self.net), SrcFacePass(self.net)

    def learn(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from one batch. Returns detached losses, means over the batch: `src` and `dst` weighted, the rest not;
        and `gradient_length`, the length of the swapper's gradient before it was clipped, where an option needs it.

        The gradient is that of the sum over the batch, as in the reference: with these optimisers only clipping and the
        size of ε beside it depend on that. Numbers stay on the device, so nothing waits until somebody reads them.
        """
        self._tune()
        values = self._within_memory(self.optimiser, batch, self._learn_to_redraw)
        if self.objective.true_face and self.objective.code_judge_learns:
            critic = self.critics[CODE_DISCRIMINATOR]
            values[CODE_DISCRIMINATOR] = self._within_memory(critic.optimiser, batch, self._teach_codes)
        if self.objective.gan:
            critic = self.critics[GAN]
            values[GAN] = self._within_memory(critic.optimiser, batch, self._teach_patches)
        self.iteration += 1
        if self.ema is not None:
            self.ema.follow(self.net, self.iteration)
        return values

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised, with a gradient, and the losses that `learn` gives back for it."""
        people, parts = self._weighed(batch)
        total = torch.stack(list(people.values())).sum()
        return total, {name: value.detach().mean() for name, value in (people | parts).items()}

    def configure(
        self,
        rates: Rates,
        *,
        pieces: int = 1,
        freeze: tuple[str, ...] = (),
        recompute: bool = False,
        ema_decay: float = 0.0,
        compiling: Compiling = Compiling.NO,
    ) -> None:
        """Go on by other options from the next step on. Optimisers of another kind are the caller's to make.

        recompute: make activations again on the way back instead of keeping them (`recomputing.py`). An average of the
        weights that begins here begins with the weights as they are.
        """
        self.rates, self.pieces, self.freeze = rates, pieces, freeze
        recomputing.recompute(self.net, on=recompute)
        self.go_by(compiling)
        if not ema_decay:
            self.ema = None
        elif self.ema is None:
            self.ema = Ema(self.net, ema_decay)
        else:
            self.ema.decay = ema_decay

    def go_by(self, compiling: Compiling, *, backend: str = "inductor") -> None:
        """Go through the network as it is, or as kernels made for it (`compiling.compiled`). Raises InvalidOption."""
        if compiling is not self.compiling:
            for way in (self._pass, self._codes, self._src_face):
                way.go_by(compiling, self.optimiser.device, backend=backend)
            self.compiling = compiling

    def _tune(self) -> None:
        """Bring the optimisers to the rates of this step."""
        if self.rates is not None:
            rates = self.rates.calmed(self.calm if self.iteration < self.calm_until else 0)
            for optimiser in (self.optimiser, *(critic.optimiser for critic in self.critics.values())):
                rates.tune(optimiser, self.iteration)

    def _within_memory(self, optimiser: Optimiser, batch: Batch, work: Callable[[Sequence[Piece]], Done]) -> Done:
        """A phase of the step over the pieces of a batch, in more of them when memory runs out."""

        def cut(cuts: int) -> Done:
            return work(list(_in_pieces(batch, self.pieces * cuts)))

        done, self.cuts = in_memory(optimiser, cut, self.cuts, -(-len(batch.src.target) // self.pieces))
        return done

    def _teach_codes(self, pieces: Sequence[Piece]) -> Tensor:
        losses = (self.code_losses(piece.batch) for piece in pieces)
        return self._teach(self.critics[CODE_DISCRIMINATOR], losses, pieces[0].whole)

    def _teach_patches(self, pieces: Sequence[Piece]) -> Tensor:
        losses = (self.patch_losses(piece.batch, piece=piece) for piece in pieces)
        return self._teach(self.critics[GAN], losses, pieces[0].whole)

    def _learn_to_redraw(self, pieces: Sequence[Piece]) -> dict[str, Tensor]:
        """Update the swapper by all pieces; the losses."""
        values: dict[str, Tensor] = {}
        of_samples: dict[str, list[Tensor]] = {}
        for piece in pieces:
            people, parts = self._weighed(piece.batch, piece=piece)
            self._backward(self.optimiser, torch.stack(list(people.values())).sum())
            for name, value in (people | parts).items():
                mean = value.detach().mean() * piece.share
                values[name] = values[name] + mean if name in values else mean
            for name, value in people.items():
                of_samples.setdefault(name, []).append(value.detach())
        self.sample_losses = {name: torch.cat(found) for name, found in of_samples.items()}
        self._update(self.optimiser)
        if self.optimiser.length is not None:
            values[GRADIENT_LENGTH] = self.optimiser.length
        return values

    def _weighed(self, batch: Batch, *, piece: Piece | None = None) -> tuple[Losses, Losses]:
        """Each person's weighted sum, and every loss unweighted, (B,), with a gradient."""
        parts = self.losses(batch, targets_of(batch, self.objective), piece=piece)
        return weighted_sums(parts, self.objective.weights), parts

    def _teach(self, critic: Critic, losses: Iterator[Tensor], count: int) -> Tensor:
        """Update a critic by its losses, (B,) of each piece of `count` samples; their mean."""
        total = torch.zeros((), device=critic.optimiser.device)
        for of_piece in losses:
            self._backward(critic.optimiser, of_piece.sum())
            total = total + of_piece.detach().sum()
        self._update(critic.optimiser)
        return total / count

    def _backward(self, optimiser: Optimiser, total: Tensor) -> None:
        (total * optimiser.loss_scale).backward()  # type: ignore[no-untyped-call]

    def _update(self, optimiser: Optimiser) -> None:
        if self.reduce is not None:
            self.reduce(list(optimiser.gradients().values()))
        optimiser.step()
        if self.spread is not None:
            self.spread(optimiser)

    def losses(self, batch: Batch, targets: Targets, *, piece: Piece | None = None) -> Losses:
        """Every loss of the swapper, unweighted, (B,), with a gradient. piece: what of a step's batch this is."""
        objective, redrawn = self.objective, self._redraw(batch, piece=piece)
        drawn = redrawn.drawn
        if self.rates is not None and self.rates.guarded:
            self.contrast = drawn.src_src.detach().std() / batch.src.target.std().clamp_min(1e-3)
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

    def patch_losses(self, batch: Batch, targets: Targets | None = None, *, piece: Piece | None = None) -> Tensor:
        """How badly the patch discriminator tells targets (1) from drawings (0), (B,), with a gradient for it alone."""
        targets = targets or targets_of(batch, self.objective)
        with torch.no_grad():
            real, drawn = self._for_the_judge(targets.inside), self._drawn_for_the_judge(batch, targets, piece)
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

    def _redraw(self, batch: Batch, *, draw: int = 0, piece: Piece | None = None) -> Redrawn:
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

    def _for_the_judge(self, both: Tensor) -> Tensor:
        """Of pictures of src and dst, those that the patch discriminator looks at."""
        return both if self.objective.gan_on_dst else both.chunk(2)[0]

    def _drawn_for_the_judge(self, batch: Batch, targets: Targets, piece: Piece | None) -> Tensor:
        """What the swapper draws now, as the patch discriminator sees it."""
        if self.objective.gan_on_dst:
            return drawn_inside(self._redraw(batch, draw=1, piece=piece).drawn, targets, self.objective)
        face: Tensor = self._src_face.take(self._tensors(), batch.src.warped)
        return face * targets.soft.chunk(2)[0] if self.objective.masked else face

    def _tensors(self) -> dict[str, Tensor]:
        """The tensors to compute with, by name. Those that this step does not train have no gradient."""
        trained, frozen = self.optimiser.parameters, self.objective.frozen + tuple(f"{part}." for part in self.freeze)
        return {
            name: tensor if name in trained and not name.startswith(frozen) else tensor.detach()
            for name, tensor in self.optimiser.working().items()
        }


def _by_sample(batch_size: int, values: list[Tensor]) -> Tensor:
    """Numbers of samples, or of all src and then all dst samples, added up for each place in the batch: (B,)."""
    return torch.cat(values).view(-1, batch_size).sum(0)


def _in_pieces(batch: Batch, count: int) -> Iterator[Piece]:
    """A batch in so many pieces, or as many as it has samples, as equal as they can be."""
    whole = len(batch.src.target)
    count = min(count, whole)
    for index in range(count):
        rows = slice(index * whole // count, (index + 1) * whole // count)
        yield Piece(batch._replace(src=_rows(batch.src, rows), dst=_rows(batch.dst, rows)), rows, whole)


def _rows(sample: Sample, rows: slice) -> Sample:
    eyes_mouth = None if sample.eyes_mouth is None else sample.eyes_mouth[rows]
    return Sample(sample.warped[rows], sample.target[rows], sample.mask[rows], eyes_mouth)
