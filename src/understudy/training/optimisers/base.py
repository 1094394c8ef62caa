"""What all optimisers share: rates, clipping, working copies, saved states, and passes over memory.

The weights a network is saved with are float32. When a step computes in a smaller type, it computes on working copies
of them that belong to the optimiser: the pass that changes a weight also writes its copy, so no step begins by casting
the whole network, and gradients arrive in the smaller type, at half the traffic.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from understudy.training.optimisers.dropout import Dropout
from understudy.training.optimisers.lengths import LengthHistory, length_of
from understudy.training.optimisers.parts import Cutter, Named, Part, Row, flat, groups, laid_out_as, zeros_like
from understudy.training.optimisers.saved import as_letters, kind_in, mend_squares, notes_on, take_moments

LARGEST_SCALE = 65536.0


class Optimiser(ABC):
    """Updates named float32 parameters in place. A subclass says what a gradient does to moments and weights.

    `lr`, `lr_dropout`, `lr_period`, `weight_decay`, `clip_norm`, `autoclip` and `guarded` (see `Settings`) may be
    changed between steps. A parameter without a gradient, or that does not require one, keeps its value and its
    moments. ages: how many updates each parameter has had since its moments were fresh. length: of the last gradients
    before they were clipped, (), where anything needs it; None else.
    """

    kind: ClassVar[str]
    """Its name among options and in a saved state."""
    title: ClassVar[str]
    default_lr: ClassVar[float] = 5e-5
    default_eps: ClassVar[float] = 1e-6
    lr_share: ClassVar[float] = 1.0
    """What a learning rate that suits the others is multiplied with to suit this one."""
    moment_names: ClassVar[tuple[str, ...]]
    """What the moments are called in a saved state."""
    square_name: ClassVar[str | None] = None
    """The moment that is a mean of squares, if there is one."""

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float | None = None,
        eps: float | None = None,
        lr_dropout: float = 1.0,
        lr_period: int = 0,
        weight_decay: float = 0.0,
        clip_norm: float = 0.0,
        autoclip: float = 0.0,
        guarded: bool = False,
        compute: torch.dtype = torch.float32,
        seed: int = 0,
        state_device: torch.device | None = None,
        constants: Iterable[tuple[str, nn.Parameter]] = (),
    ) -> None:
        self.parameters, self.constants = dict(parameters), dict(constants)
        self.lr = self.default_lr if lr is None else lr
        self.eps = self.default_eps if eps is None else eps
        self.lr_period, self.weight_decay = lr_period, weight_decay
        self.clip_norm, self.autoclip, self.guarded = clip_norm, autoclip, guarded
        self.iterations = 0
        self.ages = dict.fromkeys(self.parameters, 0)
        self.loss_scale = 4096.0 if compute is torch.float16 else 1.0
        self.length: Tensor | None = None
        self._good_steps = 0
        self.owned: frozenset[str] | None = None
        """The parameters that are updated here, where other processes update the rest; None: all."""
        self.device = next(iter(self.parameters.values())).device
        self.dropout = Dropout(self.device, lr_dropout, seed)
        self._lengths = LengthHistory(self.device)
        where = state_device or self.device
        self.moments = {
            kind: {name: zeros_like(weight, where) for name, weight in self.parameters.items()}
            for kind in self.moment_names
        }
        kept = next(iter(self.moments[self.moment_names[0]].values())).device
        self.moves_state = kept != self.device
        self._compute = compute
        self._working: dict[str, Tensor] = {}
        self._versions: list[int] = []
        self._cutter = Cutter(in_pieces=self.device.type == "cpu")

    @property
    def in_pieces(self) -> bool:
        """Whether updates go in pieces that stay in a processor's cache."""
        return self._cutter.in_pieces

    @in_pieces.setter
    def in_pieces(self, value: bool) -> None:
        self._cutter.in_pieces = value

    @property
    def lr_dropout(self) -> float:
        return self.dropout.share

    @lr_dropout.setter
    def lr_dropout(self, share: float) -> None:
        self.dropout.share = share

    @property
    def current_lr(self) -> float:
        """The learning rate of the last step: `lr` on its cosine."""
        if not self.lr_period:
            return self.lr
        return self.lr * (math.cos(2 * math.pi * self.iterations / self.lr_period) + 1) / 2

    @property
    def age(self) -> int:
        """Updates since the moments were fresh, of the parameter that has had most."""
        return max(self.ages.values(), default=0)

    def working(self) -> dict[str, Tensor]:
        """The tensors to compute with, by name: leaves of the compute type whose `.grad` the next `step` reads.

        In float32 these are the parameters themselves. Copies follow any change made to a parameter from outside, of
        its values as of whether it requires a gradient.
        """
        if self._compute is torch.float32:
            return {**self.parameters, **{name: weight.detach() for name, weight in self.constants.items()}}
        everything = self.parameters | self.constants
        versions = [weight._version for weight in everything.values()]
        if versions != self._versions:
            self._working = {name: weight.detach().to(self._compute) for name, weight in everything.items()}
            self._versions = versions
        for name, weight in self.parameters.items():
            self._working[name].requires_grad_(weight.requires_grad)
        return self._working

    def gradients(self) -> dict[str, Tensor]:
        """What the next `step` goes by, in the compute type and multiplied with `loss_scale`; may be changed in place.

        By the names of their parameters, in the same order for every process that trains the same network.
        """
        working = self.working()
        return {
            name: gradient
            for name, weight in self.parameters.items()
            if weight.requires_grad and (gradient := working[name].grad) is not None
        }

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient. The gradients are used up: overwritten, then dropped.

        With `guarded`, gradients that are not all finite change no weight: on a processor the update is left out, on a
        graphics card, where nobody waits for the answer, it is that of gradients of zero.
        """
        self.iterations += 1
        working, gradients = self.working(), self.gradients()
        if gradients and (scale := self._scale(gradients.values())) is not None:
            for name in gradients:
                self.ages[name] += 1
            self.dropout.begin()
            mine = {name: gradient for name, gradient in gradients.items() if self.owned is None or name in self.owned}
            for part in self._parts(mine, working):
                self._update(part, scale)
        self._versions = [weight._version for weight in (self.parameters | self.constants).values()]
        self.drop_gradients()

    @torch.no_grad()
    def take_over(self, names: Iterable[str]) -> None:
        """Let the working copies of parameters follow what another process has made of them."""
        working = self.working() if self._compute is torch.float32 else self._working
        for name in names:
            if working[name] is not self.parameters[name]:
                working[name].copy_(self.parameters[name])
        self._versions = [weight._version for weight in (self.parameters | self.constants).values()]

    def drop_gradients(self) -> None:
        """Forget the gradients."""
        working = self.working()
        for name in self.parameters:
            working[name].grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, as tensors that safetensors can hold: moments, iterations, random state.

        `kind` is the optimiser's name, letter by letter, since different kinds may call their moments the same.
        """
        state = {
            f"{kind}.{name}": moment.clone(memory_format=torch.contiguous_format)
            for kind, moments in self.moments.items()
            for name, moment in moments.items()
        }
        state["kind"] = as_letters(self.kind)
        state["iterations"] = torch.tensor(self.iterations)
        state["ages"] = torch.tensor([self.ages[name] for name in sorted(self.ages)])
        state["generator"] = self.dropout.generator.get_state()
        state["scale"] = torch.tensor([self.loss_scale, self._good_steps], dtype=torch.float64)
        if len(lengths := self._lengths.state()):
            state["lengths"] = lengths
        return state

    def load_state_dict(self, state: Mapping[str, Tensor], *, anew: Sequence[str] = ()) -> list[str]:
        """Take over what `state_dict` gave; the random state only from the same kind of device, whose own it is.

        Moments that are missing start at zero, as all do when the state is of another kind of optimiser, which gives
        only its count of iterations; where it does not say its kind, the names of its moments do. Moments that no step
        would survive begin anew. Returns what there is to say about that, as sentences; nothing of parts of the network
        that are known to begin `anew`.
        Raises CorruptCheckpoint when a moment has another shape than its parameter; nothing is changed then.
        """
        other = kind_in(state) not in (None, self.kind)
        stored = {name: tensor for name, tensor in state.items() if not (other and "." in name)}
        missing = take_moments(self.moments, stored)
        self.iterations = int(state["iterations"]) if "iterations" in state else 0
        self.ages = self._ages_in(state, missing)
        random_state = state.get("generator")
        if random_state is not None and random_state.shape == self.dropout.generator.get_state().shape:
            self.dropout.generator.set_state(random_state.cpu())
        if "scale" in state and self._compute is torch.float16:
            self.loss_scale, self._good_steps = float(state["scale"][0]), int(state["scale"][1])
        if "lengths" in state:
            self._lengths.load(state["lengths"])
        unexpected = [name for name in missing if name.split(".")[1] not in anew]
        notes = notes_on(self.moments, unexpected, state, self.kind, self.title)
        if self.square_name and (mended := mend_squares(self.moments, self.square_name)):
            notes.append(f"{mended} of the saved moments were negative or not finite: they begin anew.")
        return notes

    @abstractmethod
    def _move(self, part: Part) -> None:
        """Bring moments and weights of a part up to date. May overwrite the gradients."""

    def _ages_in(self, state: Mapping[str, Tensor], missing: Sequence[str]) -> dict[str, int]:
        """How often each parameter was updated: as saved, else as often as there were steps; 0 with fresh moments."""
        fresh = {kind_and_name.partition(".")[2] for kind_and_name in missing}
        stored = state.get("ages")
        known = stored.tolist() if stored is not None and len(stored) == len(self.ages) else None
        told = dict(zip(sorted(self.ages), known or [self.iterations] * len(self.ages), strict=True))
        return {name: 0 if name in fresh else told[name] for name in self.ages}

    def _update(self, part: Part, scale: float | Tensor) -> None:
        if not isinstance(scale, float) or scale != 1:
            torch._foreach_mul_(part.gradients, scale)
        if self.guarded and not self.in_pieces:  # gradients to be left out were multiplied with 0; 0·∞ is none
            for gradient in part.gradients:
                gradient.nan_to_num_(0.0, 0.0, 0.0)
        if self.dropout.of_256 < 256:
            self._move_some(part)
        else:
            self._move(part)
        if part.copies:
            torch._foreach_copy_(part.copies, part.weights)

    def _move_some(self, part: Part) -> None:
        """Move a part, and put those weights back whose update is dropped."""
        before, kept = self._cutter.room(part.weights, 1), self._cutter.room(part.weights, 2)
        torch._foreach_copy_(before, part.weights)
        for (name, start), out in zip(part.places, kept, strict=True):
            self.dropout.draw(name, start, out)
        self._move(part)
        torch._foreach_lerp_(before, part.weights, kept)  # exact for shares of 0 and 1
        torch._foreach_copy_(part.weights, before)

    def _parts(self, gradients: Named, working: Named) -> Iterator[Part]:
        """The work of a step in parts, each of a size that suits the device."""
        homes = [self.moments[kind] for kind in self.moment_names]
        if self.moves_state:
            for names in groups(gradients):
                yield from self._visit({name: gradients[name] for name in names}, working, homes)
        else:
            yield from self._parts_beside(gradients, working, homes)

    def _visit(self, gradients: Named, working: Named, homes: Sequence[dict[str, Tensor]]) -> Iterator[Part]:
        """Parts of a few tensors, whose moments are brought to the device before and back after them."""
        guests = [
            {name: home[name].to(self.device, non_blocking=True, copy=True) for name in gradients} for home in homes
        ]
        yield from self._parts_beside(gradients, working, guests)
        for home, guest in zip(homes, guests, strict=True):
            for name, moment in guest.items():
                home[name].copy_(moment)

    def _parts_beside(self, gradients: Named, working: Named, moments: Sequence[Named]) -> Iterator[Part]:
        """The same where weights and moments are on one device."""
        rows = (
            self._row(name, gradient, working[name], [named[name] for named in moments])
            for name, gradient in gradients.items()
        )
        return self._cutter.parts(rows, sum(gradient.numel() for gradient in gradients.values()))

    def _row(self, name: str, gradient: Tensor, copy: Tensor, moments: list[Tensor]) -> Row:
        weight = self.parameters[name]
        own = None if self._compute is torch.float32 else flat(copy)
        return Row(name, flat(weight), flat(laid_out_as(gradient, weight)), own, [flat(moment) for moment in moments])

    def _scale(self, gradients: Iterable[Tensor]) -> float | Tensor | None:
        """What gradients are multiplied with: one over the loss scale, and less when they are clipped; None where they
        are to be left out. On a graphics card the result stays there, so that nothing waits for it.

        Clipping as the reference does it: from a length equal to the limit on.
        """
        measured = bool(self.clip_norm or self.autoclip or self.guarded)
        if self._compute is torch.float16 and self._overflowed(gradients):
            if measured and (self.length is None or self.loss_scale == 1):  # at a scale of 1 it is a fault
                self.length = torch.full((), math.inf if self.loss_scale == 1 else 0.0, device=self.device)
            return None
        if not measured:
            self.length = None
            return 1 / self.loss_scale
        self.length = length_of(gradients) / self.loss_scale
        if self.in_pieces:
            return self._scale_at(self.length)
        limit = self._limit(self.length)
        clipped = torch.where(self.length >= limit, limit / self.length, 1.0) / self.loss_scale
        return torch.where(self.length.isfinite(), clipped, 0.0) if self.guarded else clipped

    def _scale_at(self, length: Tensor) -> float | None:
        """The same on a processor, where numbers are at hand."""
        if self.guarded and not bool(length.isfinite()):
            return None
        limit = float(self._limit(length))
        return (limit / float(length) if float(length) >= limit else 1.0) / self.loss_scale

    def _limit(self, length: Tensor) -> Tensor:
        """The greatest length that gradients of this length may keep, ()."""
        limit = torch.full((), self.clip_norm or math.inf, device=length.device)
        if self.autoclip:
            self._lengths.note(length)
            limit = torch.minimum(limit, self._lengths.percentile(self.autoclip))
        return limit

    def _overflowed(self, gradients: Iterable[Tensor]) -> bool:
        """Whether a gradient left the range of float16; adapts the scale either way."""
        finite = bool(torch.stack([gradient.isfinite().all() for gradient in gradients]).all())
        self._good_steps = self._good_steps + 1 if finite else 0
        if not finite:
            self.loss_scale = max(self.loss_scale / 2, 1.0)
        elif self._good_steps % 1000 == 0:
            self.loss_scale = min(2 * self.loss_scale, LARGEST_SCALE)
        return not finite
