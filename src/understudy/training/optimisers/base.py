"""What all optimisers share: rates, clipping, working copies, saved states, and passes over memory.

The weights a network is saved with are float32. When a step computes in a smaller type, it computes on working copies
of them that belong to the optimiser: the pass that changes a weight also writes its copy, so no step begins by casting
the whole network, and gradients arrive in the smaller type, at half the traffic.

On a processor the work goes in pieces that stay in its cache; on a graphics card, which has no cache to spare and where
every call costs a launch, all tensors go at once. Moments may live on another device than the weights: then they visit
it, a few tensors at a time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from understudy.errors import CorruptCheckpoint
from understudy.training.optimisers import kernels
from understudy.training.optimisers.dropout import Dropout

PIECE = 1 << 19
"""Numbers per piece: 2 MB of float32, which with its gradients and moments stays in the second and third cache."""

VISIT = 1 << 24
"""Numbers whose moments visit the device of the weights together, 64 MB for each moment; at least one tensor."""

ROW = 4096
"""Numbers whose squares are added up together when the length of gradients is taken."""

LARGEST_SCALE = 65536.0


class Settings(TypedDict, total=False):
    """What every optimiser takes by keyword.

    lr: learning rate; `default_lr` if not given. eps: added outside the root.
    lr_dropout: share of elements whose update is kept, drawn anew for each element and step, in steps of 1/256 (0.3 is
    77/256, which is the reference's own 308/1024); 1 keeps all. Moments are always updated.
    lr_period: iterations of one cosine swing of the learning rate; 0 leaves it alone.
    clip_norm: largest length of all gradients together; 0 does not clip.
    compute: the type of the working copies that `working` gives; float32 means the parameters themselves. In float16
    the loss must be multiplied by `loss_scale` before its gradient is taken: small gradients would vanish otherwise.
    The scale halves when a gradient overflows, which skips that update, and doubles after a thousand that did not.
    seed: of the dropout. state_device: where moments are kept, if not beside their weights.
    constants: parameters that are computed with and never change: copies without gradients or moments.
    """

    lr: float
    eps: float
    lr_dropout: float
    lr_period: int
    clip_norm: float
    compute: torch.dtype
    seed: int
    state_device: torch.device | None
    constants: Iterable[tuple[str, nn.Parameter]]


class Aim(NamedTuple):
    """Where a step goes: `directions`, each divided by the root of the mean square of its `deviations`."""

    directions: list[Tensor]
    deviations: list[Tensor]


class _Row(NamedTuple):
    """One parameter and all that belongs to it, flat, in the order of its own memory; copy: None in float32."""

    name: str
    weight: Tensor
    gradient: Tensor
    copy: Tensor | None
    moments: list[Tensor]


@dataclass(frozen=True)
class _Part:
    """Stretches of rows that are updated by one call of each kernel, entry by entry.

    places: name of the parameter and where in it the stretch begins. gradients: float32, free to be overwritten.
    moments: a list for each kind.
    """

    moments: list[list[Tensor]]
    places: list[tuple[str, int]] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)
    copies: list[Tensor] = field(default_factory=list)

    def take(self, row: _Row, stretch: slice, gradient: Tensor) -> None:
        """Add a stretch of a row, whose gradient is given in float32."""
        self.places.append((row.name, stretch.start))
        self.weights.append(row.weight[stretch])
        self.gradients.append(gradient)
        if row.copy is not None:
            self.copies.append(row.copy[stretch])
        for kind, moment in zip(self.moments, row.moments, strict=True):
            kind.append(moment[stretch])


class Optimiser(ABC):
    """Updates named float32 parameters in place. A subclass says what a gradient does to the moments.

    `lr`, `lr_dropout`, `lr_period` and `clip_norm` may be changed between steps. A parameter without a gradient, or
    that does not require one, keeps its value and its moments.
    """

    kind: ClassVar[str]
    """Its name among options and in a saved state."""
    title: ClassVar[str]
    default_lr: ClassVar[float]
    moment_names: ClassVar[tuple[str, ...]]
    """What the moments are called in a saved state, the mean square last."""
    memory: float
    """Share of the mean square that each step keeps."""

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float | None = None,
        eps: float = 1e-6,
        lr_dropout: float = 1.0,
        lr_period: int = 0,
        clip_norm: float = 0.0,
        compute: torch.dtype = torch.float32,
        seed: int = 0,
        state_device: torch.device | None = None,
        constants: Iterable[tuple[str, nn.Parameter]] = (),
    ) -> None:
        self.parameters, self.constants = dict(parameters), dict(constants)
        self.lr = self.default_lr if lr is None else lr
        self.eps, self.lr_period, self.clip_norm = eps, lr_period, clip_norm
        self.iterations = 0
        self.loss_scale = 4096.0 if compute is torch.float16 else 1.0
        self._good_steps = 0
        self.device = next(iter(self.parameters.values())).device
        self.dropout = Dropout(self.device, lr_dropout, seed)
        where = state_device or self.device
        self.moments = {
            kind: {name: _zeros(weight, where) for name, weight in self.parameters.items()}
            for kind in self.moment_names
        }
        kept = next(iter(self.moments[self.moment_names[0]].values())).device
        self.moves_state = kept != self.device
        self._compute = compute
        self._working: dict[str, Tensor] = {}
        self._versions: list[int] = []
        self.in_pieces = self.device.type == "cpu"
        self._scratch = torch.empty(0)

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

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient. The gradients are used up: overwritten, then dropped."""
        self.iterations += 1
        working = self.working()
        gradients = {
            name: gradient
            for name, weight in self.parameters.items()
            if weight.requires_grad and (gradient := working[name].grad) is not None
        }
        if gradients and not (self._compute is torch.float16 and self._overflowed(gradients.values())):
            scale = self._scale(gradients.values())
            self.dropout.begin()
            for part in self._parts(gradients, working):
                self._update(part, scale)
        for name in self.parameters:
            working[name].grad = None
        self._versions = [weight._version for weight in (self.parameters | self.constants).values()]

    def state_dict(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, as tensors that safetensors can hold: moments, iterations, random state.

        `kind` is the optimiser's name, letter by letter, since different kinds may call their moments the same.
        """
        state = {
            f"{kind}.{name}": moment.clone(memory_format=torch.contiguous_format)
            for kind, moments in self.moments.items()
            for name, moment in moments.items()
        }
        state["kind"] = torch.tensor(list(self.kind.encode()), dtype=torch.uint8)
        state["iterations"] = torch.tensor(self.iterations)
        state["generator"] = self.dropout.generator.get_state()
        state["scale"] = torch.tensor([self.loss_scale, self._good_steps], dtype=torch.float64)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> list[str]:
        """Take over what `state_dict` gave; the random state only from the same kind of device, whose own it is.

        Moments that are missing start at zero, as all do when the state is of another kind of optimiser, which gives
        only its count of iterations; where it does not say its kind, the names of its moments do. Returns what there is
        to say about that, as sentences.
        Raises CorruptCheckpoint when a moment has another shape than its parameter; nothing is changed then.
        """
        other = kind_in(state) not in (None, self.kind)
        stored = {name: tensor for name, tensor in state.items() if not (other and "." in name)}
        for kind, moments in self.moments.items():
            for name, moment in moments.items():
                _require_shape(stored.get(f"{kind}.{name}"), moment, name)
        missing = [
            f"{kind}.{name}"
            for kind, moments in self.moments.items()
            for name, moment in moments.items()
            if not _take(moment, stored.get(f"{kind}.{name}"))
        ]
        self.iterations = int(state["iterations"]) if "iterations" in state else 0
        random_state = state.get("generator")
        if random_state is not None and random_state.shape == self.dropout.generator.get_state().shape:
            self.dropout.generator.set_state(random_state.cpu())
        if "scale" in state and self._compute is torch.float16:
            self.loss_scale, self._good_steps = float(state["scale"][0]), int(state["scale"][1])
        return self._notes(missing, state)

    @abstractmethod
    def _aim(self, gradients: list[Tensor], moments: dict[str, list[Tensor]]) -> Aim:
        """Bring the moments up to date, all but the mean square, and say where to go. May overwrite the gradients."""

    def _update(self, part: _Part, scale: float | Tensor) -> None:
        if not isinstance(scale, float) or scale != 1:
            torch._foreach_mul_(part.gradients, scale)
        moments = dict(zip(self.moment_names, part.moments, strict=True))
        directions, deviations = self._aim(part.gradients, moments)
        if self.dropout.of_256 < 256:
            directions = self._keep_some(part, directions)
        kernels.descend(
            part.weights,
            directions,
            deviations,
            part.moments[-1],
            memory=self.memory,
            lr=self.current_lr,
            eps=self.eps,
            fused=self.in_pieces,
        )
        if part.copies:
            torch._foreach_copy_(part.copies, part.weights)

    def _keep_some(self, part: _Part, directions: list[Tensor]) -> list[Tensor]:
        """`directions`, zero where an update is dropped, in memory of their own: moments are directions too."""
        if self.in_pieces:
            counts = [direction.numel() for direction in directions]
            kept = list(torch.split(self._scratch[PIECE : PIECE + sum(counts)], counts))
        else:
            kept = [torch.empty_like(direction) for direction in directions]
        for (name, start), out in zip(part.places, kept, strict=True):
            self.dropout.draw(name, start, out)
        torch._foreach_mul_(kept, directions)
        return kept

    def _parts(self, gradients: Mapping[str, Tensor], working: Mapping[str, Tensor]) -> Iterator[_Part]:
        """The work of a step in parts, each of a size that suits the device."""
        if self.moves_state:
            for names in _groups(gradients, VISIT):
                yield from self._visit({name: gradients[name] for name in names}, working)
        else:
            moments = [self.moments[kind] for kind in self.moment_names]
            yield from self._parts_beside(gradients, working, moments)

    def _visit(self, gradients: Mapping[str, Tensor], working: Mapping[str, Tensor]) -> Iterator[_Part]:
        """Parts of a few tensors, whose moments are brought to the device before and back after them."""
        homes = [self.moments[kind] for kind in self.moment_names]
        guests = [
            {name: home[name].to(self.device, non_blocking=True, copy=True) for name in gradients} for home in homes
        ]
        yield from self._parts_beside(gradients, working, guests)
        for home, guest in zip(homes, guests, strict=True):
            for name, moment in guest.items():
                home[name].copy_(moment)

    def _parts_beside(
        self, gradients: Mapping[str, Tensor], working: Mapping[str, Tensor], moments: Sequence[Mapping[str, Tensor]]
    ) -> Iterator[_Part]:
        """The same where weights and moments are on one device."""
        size = PIECE if self.in_pieces else sum(gradient.numel() for gradient in gradients.values())
        if self.in_pieces and not self._scratch.numel():
            self._scratch = torch.empty(2 * PIECE)
        part, filled = _Part([[] for _ in moments]), 0
        for name, gradient in gradients.items():
            row = self._row(name, gradient, working[name], [named[name] for named in moments])
            start, count = 0, row.weight.numel()
            while start < count:
                stretch = slice(start, min(start + size - filled, count))
                part.take(row, stretch, self._as_float(row.gradient[stretch], filled))
                filled += stretch.stop - start
                start = stretch.stop
                if filled == size:
                    yield part
                    part, filled = _Part([[] for _ in moments]), 0
        if filled:
            yield part

    def _row(self, name: str, gradient: Tensor, copy: Tensor, moments: list[Tensor]) -> _Row:
        weight = self.parameters[name]
        own = None if self._compute is torch.float32 else _flat(copy)
        return _Row(name, _flat(weight), _flat(_like(gradient, weight)), own, [_flat(moment) for moment in moments])

    def _as_float(self, gradient: Tensor, place: int) -> Tensor:
        """A stretch of gradient in float32: itself, or a copy, which on a processor lies in the scratch at `place`."""
        if gradient.dtype is torch.float32:
            return gradient
        if not self.in_pieces:
            return gradient.float()
        return self._scratch[place : place + gradient.numel()].copy_(gradient)

    def _scale(self, gradients: Iterable[Tensor]) -> float | Tensor:
        """What gradients are multiplied with: one over the loss scale, and less when they are clipped.

        Clipping as the reference does it: from a length equal to `clip_norm` on. On a graphics card the result stays
        there, so that nothing waits for it.
        """
        if not self.clip_norm:
            return 1 / self.loss_scale
        length = _length(gradients) / self.loss_scale
        if self.in_pieces:
            return (self.clip_norm / float(length) if length >= self.clip_norm else 1.0) / self.loss_scale
        return torch.where(length >= self.clip_norm, self.clip_norm / length, 1.0) / self.loss_scale

    def _overflowed(self, gradients: Iterable[Tensor]) -> bool:
        """Whether a gradient left the range of float16; adapts the scale either way."""
        finite = bool(torch.stack([gradient.isfinite().all() for gradient in gradients]).all())
        self._good_steps = self._good_steps + 1 if finite else 0
        if not finite:
            self.loss_scale = max(self.loss_scale / 2, 1.0)
        elif self._good_steps % 1000 == 0:
            self.loss_scale = min(2 * self.loss_scale, LARGEST_SCALE)
        return not finite

    def _notes(self, missing: list[str], state: Mapping[str, Tensor]) -> list[str]:
        """What a person should know about a state with these moments missing."""
        if not missing:
            return []
        count = sum(len(moments) for moments in self.moments.values())
        others = {kind for kind, dot, _ in (key.partition(".") for key in state) if dot} - set(self.moment_names)
        told = kind_in(state)
        if len(missing) == count and (others or told not in (None, self.kind)):
            named = told or ", ".join(sorted(others))
            return [
                f"The saved moments are of another optimiser ({named}): {self.title} starts with fresh ones and counts "
                f"on from iteration {self.iterations}."
            ]
        named = ", ".join(missing[:3]) + (" and others" if len(missing) > 3 else "")
        return [f"{len(missing)} of {count} saved moments are missing and start afresh: {named}."]


def kind_in(state: Mapping[str, Any]) -> str | None:
    """The kind of optimiser that a saved state says it is of; None where it does not, as an imported one."""
    return bytes(state["kind"].tolist()).decode(errors="replace") if "kind" in state else None


def _zeros(weight: Tensor, where: torch.device) -> Tensor:
    """Zeros in the shape and memory layout of `weight`; beside a graphics card in memory that it can read itself."""
    pinned = where.type == "cpu" and weight.device.type == "cuda"
    return torch.empty_like(weight, device=where, requires_grad=False, pin_memory=pinned).zero_()


def _groups(tensors: Mapping[str, Tensor], size: int) -> Iterator[list[str]]:
    """Names in order, so many together that their tensors have `size` numbers at most, or one by itself."""
    group: list[str] = []
    filled = 0
    for name, tensor in tensors.items():
        if group and filled + tensor.numel() > size:
            yield group
            group, filled = [], 0
        group.append(name)
        filled += tensor.numel()
    if group:
        yield group


def _flat(tensor: Tensor) -> Tensor:
    """The numbers of a dense tensor in the order they lie in memory."""
    return tensor.detach().as_strided((tensor.numel(),), (1,), tensor.storage_offset())


def _like(gradient: Tensor, weight: Tensor) -> Tensor:
    """`gradient` in the memory layout of `weight`."""
    if gradient.stride() == weight.stride():
        return gradient
    same = torch.empty_strided(weight.shape, weight.stride(), dtype=gradient.dtype, device=gradient.device)
    return same.copy_(gradient)


def _length(gradients: Iterable[Tensor]) -> Tensor:
    """The length of all gradients together, float32, on their device."""
    gradients = list(gradients)
    if gradients[0].device.type == "cpu":
        norms = [norm for gradient in gradients for norm in _norms(_flat(gradient))]
    else:
        norms = list(torch._foreach_norm(gradients, dtype=torch.float32))
    length: Tensor = torch.linalg.vector_norm(torch.cat([norm.reshape(-1) for norm in norms]))
    return length


def _norms(numbers: Tensor) -> list[Tensor]:
    """Norms of rows of a few thousand: in one sum over millions, a processor's float32 is wrong in the third digit."""
    whole = numbers.numel() - numbers.numel() % ROW
    rows = [numbers[:whole].view(-1, ROW), numbers[whole:].view(1, -1)]
    return [torch.linalg.vector_norm(part, dim=1, dtype=torch.float32) for part in rows if part.numel()]


def _require_shape(stored: Tensor | None, moment: Tensor, name: str) -> None:
    if stored is not None and stored.shape != moment.shape:
        raise CorruptCheckpoint(
            f"The optimiser state has no moment that fits {name}: it is {tuple(stored.shape)} where "
            f"{tuple(moment.shape)} is needed.",
            tensor=name,
        )


def _take(moment: Tensor, stored: Tensor | None) -> bool:
    """Set a moment to what was stored, or to zero; whether there was anything."""
    if stored is None:
        moment.zero_()
        return False
    moment.copy_(stored)
    return True
