"""A network in training: what every class of model has in common when it learns from a batch.

    batch ─ in pieces ─► losses ─► gradients, added up ─► one update ─► discriminators, on the same batch

How a batch is looked at and what is minimised is the subclass's: `SwapLearner` redraws two people, `MaskLearner` finds
what of a face is face.
A batch may go in pieces: gradients are sums over samples, so those of the pieces add up to that of the whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from understudy.devices import keep_freed_memory
from understudy.training.learning import recomputing
from understudy.training.learning.discriminators import Discriminator
from understudy.training.learning.ema import Ema
from understudy.training.learning.passes import Pass
from understudy.training.learning.precision import Precision, keep_float32
from understudy.training.learning.rates import Rates
from understudy.training.losses import Losses
from understudy.training.memory.shortage import in_memory
from understudy.training.optimisers import Optimiser
from understudy.training.options.machine import Compiling

GRADIENT_LENGTH = "gradient_length"
"""The length of the network's gradient among the values of a step."""


class AnyBatch(Protocol):
    """Samples to learn from together."""

    @property
    def size(self) -> int:
        """How many they are."""
        ...

    def part(self, rows: slice) -> Self:
        """Some of them."""
        ...


BatchT = TypeVar("BatchT", bound=AnyBatch)
Done = TypeVar("Done")


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


class Piece(NamedTuple, Generic[BatchT]):
    """Some samples of a batch: `rows` of the `whole` that a step learns from."""

    batch: BatchT
    rows: slice
    whole: int

    @property
    def share(self) -> float:
        return self.batch.size / self.whole


@dataclass(eq=False)
class Learner(ABC, Generic[BatchT]):
    """The network, what it minimises and how it is updated.

    losses_kept: names of the sums that the history keeps; together they are what the guard watches.

    optimiser: its parameters are trained, its constants are not; together they are all of `net`. discriminators:
    by name. seed: of AMP's random channels, which are a function of it and of the optimiser's count, so
    that a resumed run draws what the uninterrupted one would have drawn.

    May be changed between steps: rates: by which all optimisers step; None leaves them as they are. calm: how much
    more calmly than those training goes (`Rates.calmed`) up to iteration `calm_until`. pieces: in how many pieces a
    batch is learned. freeze: names of parts that stay as they are. compiling: how passes are computed. cuts: in how
    many parts each piece goes, for memory's sake; it grows when memory runs out. reduce: called with the gradients
    before every update, to add up those of other processes in place; spread: after it, to bring the weights that each
    process has moved to all. member: which of the `members` this is that have a part of each batch.

    iteration: steps before the next one. ema: the average of the weights, if one is kept. sample_losses: of each sample
    of the last batch, weighted, by the names of `losses_kept` and more, (B,), detached. contrast: how varied the last
    drawn faces of either person were, as a share of their targets' (`step.contrast_of`); None where nobody guards
    against drawing nothing.
    """

    losses_kept: ClassVar[tuple[str, ...]]

    net: nn.Module
    optimiser: Optimiser
    objective: Any
    discriminators: Mapping[str, Discriminator] = field(default_factory=dict)
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

    def learn(self, batch: BatchT) -> dict[str, Tensor]:
        """Learn from one batch. Returns detached losses, means over the batch: those of `losses_kept` weighted,
        the rest not; and `gradient_length`, the length of the network's gradient before it was clipped, where an option
        needs it.

        The gradient is that of the sum over the batch, as in the reference: with these optimisers only clipping and the
        size of ε beside it depend on that. Numbers stay on the device, so nothing waits until somebody reads them.
        """
        self._tune()
        values = self._within_memory(self.optimiser, batch, self._learn_from)
        values |= self._teach_discriminators(batch)
        self.iteration += 1
        if self.ema is not None:
            self.ema.follow(self.net, self.iteration)
        return values

    def forward(self, batch: BatchT) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised, with a gradient, and the losses that `learn` gives back for it."""
        sums, parts = self._weighed(batch)
        total = torch.stack(list(sums.values())).sum()
        return total, {name: value.detach().mean() for name, value in (sums | parts).items()}

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
            for way in self._passes():
                way.go_by(compiling, self.optimiser.device, backend=backend)
            self.compiling = compiling

    def _tune(self) -> None:
        """Bring the optimisers to the rates of this step."""
        if self.rates is not None:
            rates = self.rates.calmed(self.calm if self.iteration < self.calm_until else 0)
            others = (discriminator.optimiser for discriminator in self.discriminators.values())
            for optimiser in (self.optimiser, *others):
                rates.tune(optimiser, self.iteration)

    def _within_memory(
        self, optimiser: Optimiser, batch: BatchT, work: Callable[[Sequence[Piece[BatchT]]], Done]
    ) -> Done:
        """A phase of the step over the pieces of a batch, in more of them when memory runs out."""

        def cut(cuts: int) -> Done:
            return work(list(_in_pieces(batch, self.pieces * cuts)))

        done, self.cuts = in_memory(optimiser, cut, self.cuts, -(-batch.size // self.pieces))
        return done

    @abstractmethod
    def _passes(self) -> Sequence[Pass]:
        """The ways through the network that steps take."""

    @abstractmethod
    def _weighed(self, batch: BatchT, *, piece: Piece[BatchT] | None = None) -> tuple[Losses, Losses]:
        """What is minimised, as sums by name, and every loss unweighted, (B,) each, with a gradient."""

    def _teach_discriminators(self, batch: BatchT) -> dict[str, Tensor]:
        """Update the discriminators, where there are any; their losses by name."""
        return {}

    def _learn_from(self, pieces: Sequence[Piece[BatchT]]) -> dict[str, Tensor]:
        """Update the network by all pieces; the losses."""
        values: dict[str, Tensor] = {}
        of_samples: dict[str, list[Tensor]] = {}
        for piece in pieces:
            sums, parts = self._weighed(piece.batch, piece=piece)
            self._backward(self.optimiser, torch.stack(list(sums.values())).sum())
            for name, value in (sums | parts).items():
                mean = value.detach().mean() * piece.share
                values[name] = values[name] + mean if name in values else mean
            for name, value in sums.items():
                of_samples.setdefault(name, []).append(value.detach())
        self.sample_losses = {name: torch.cat(found) for name, found in of_samples.items()}
        self._update(self.optimiser)
        if self.optimiser.length is not None:
            values[GRADIENT_LENGTH] = self.optimiser.length
        return values

    def _teach(self, discriminator: Discriminator, losses: Iterator[Tensor], count: int) -> Tensor:
        """Update a discriminator by its losses, (B,) of each piece of `count` samples; their mean."""
        total = torch.zeros((), device=discriminator.optimiser.device)
        for of_piece in losses:
            self._backward(discriminator.optimiser, of_piece.sum())
            total = total + of_piece.detach().sum()
        self._update(discriminator.optimiser)
        return total / count

    def _backward(self, optimiser: Optimiser, total: Tensor) -> None:
        (total * optimiser.loss_scale).backward()  # type: ignore[no-untyped-call]

    def _update(self, optimiser: Optimiser) -> None:
        if self.reduce is not None:
            self.reduce(list(optimiser.gradients().values()))
        optimiser.step()
        if self.spread is not None:
            self.spread(optimiser)

    def _tensors(self) -> dict[str, Tensor]:
        """The tensors to compute with, by name. Those that this step does not train have no gradient."""
        trained, frozen = self.optimiser.parameters, self.objective.frozen + tuple(f"{part}." for part in self.freeze)
        return {
            name: tensor if name in trained and not name.startswith(frozen) else tensor.detach()
            for name, tensor in self.optimiser.working().items()
        }


def _in_pieces(batch: BatchT, count: int) -> Iterator[Piece[BatchT]]:
    """A batch in so many pieces, or as many as it has samples, as equal as they can be."""
    whole = batch.size
    count = min(count, whole)
    for index in range(count):
        rows = slice(index * whole // count, (index + 1) * whole // count)
        yield Piece(batch.part(rows), rows, whole)
