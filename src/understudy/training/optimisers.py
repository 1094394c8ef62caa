"""RMSprop as the reference runs it, with its learning-rate dropout, in one pass over memory.

    a ← ρ·a + (1−ρ)·g²        w ← w − lr·keep·g / (√a + ε)        ε outside the root; keep: 1 with probability 77/256

The weights a network is saved with are float32. When a step computes in bfloat16, it computes on working copies of them
that belong to the optimiser: the pass that changes a weight also writes its copy, so no step begins by casting the
whole network, and gradients arrive in bfloat16, at half the traffic.

The work goes in pieces that stay in the processor's cache: 38 million weights take 45 ms on 2 cores this way, 160 ms as
whole tensors (bench training).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from understudy.errors import CorruptCheckpoint

PIECE = 1 << 19
"""Numbers per piece: 2 MB of float32, which with its gradients and moments stays in the second and third cache."""


class RMSprop:
    """Updates named float32 parameters in place.

    lr_dropout: share of elements whose update is kept, drawn anew for each element and step, in steps of 1/256 (0.3 is
    77/256, which is the reference's own 308/1024); 1 keeps all. Moments are always updated.
    lr_period: iterations of one cosine swing of the learning rate; 0 leaves it alone.
    clip_norm: largest length of all gradients together; 0 does not clip.
    compute: the type of the working copies that `working` gives; float32 means the parameters themselves. In float16
    the loss must be multiplied by `loss_scale` before its gradient is taken: small gradients would vanish otherwise.
    The scale halves when a gradient overflows, which skips that update, and doubles after a thousand that did not.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float = 2e-4,
        rho: float = 0.9,
        eps: float = 1e-6,
        lr_dropout: float = 1.0,
        lr_period: int = 0,
        clip_norm: float = 0.0,
        compute: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        self.parameters = dict(parameters)
        self.lr, self.rho, self.eps = lr, rho, eps
        self.keep_of_256 = round(lr_dropout * 256)
        self.lr_period, self.clip_norm = lr_period, clip_norm
        self.iterations = 0
        self.loss_scale = 4096.0 if compute is torch.float16 else 1.0
        self._good_steps = 0
        self.moments = {name: torch.zeros_like(weight) for name, weight in self.parameters.items()}
        device = next(iter(self.parameters.values())).device
        self._generator = torch.Generator(device).manual_seed(seed)
        self._compute = compute
        self._working: dict[str, Tensor] = {}
        self._versions: list[int] = []
        self._in_pieces = device.type == "cpu"
        if self._in_pieces:
            self._scratch = torch.empty(3, PIECE)
            self._tables = torch.empty(3 * PIECE // 8, dtype=torch.int64)
        self._turn = 0
        self._threshold = torch.tensor(float(self.keep_of_256), device=device)

    def working(self) -> dict[str, Tensor]:
        """The tensors to compute with, by name: leaves of the compute type whose `.grad` the next `step` reads.

        In float32 these are the parameters themselves. Copies follow any change made to a parameter from outside.
        """
        if self._compute is torch.float32:
            return dict(self.parameters)
        versions = [weight._version for weight in self.parameters.values()]
        if versions != self._versions:
            self._working = {
                name: weight.detach().to(self._compute).requires_grad_() for name, weight in self.parameters.items()
            }
            self._versions = versions
        return self._working

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient, then drop the gradients."""
        self.iterations += 1
        working = self.working()
        gradients = {name: copy.grad for name, copy in working.items() if copy.grad is not None}
        if self._compute is torch.float16 and self._overflowed(gradients.values()):
            for copy in working.values():
                copy.grad = None
            return
        scale, lr = self._clip_scale(gradients.values()) / self.loss_scale, self._current_lr()
        if self._in_pieces:
            self._draw_tables()
            for name, gradient in gradients.items():
                weight, copy = self.parameters[name], working[name]
                self._update(name, weight, _like(gradient, weight), copy if copy is not weight else None, scale, lr)
        else:
            self._update_together(gradients, working, scale, lr)
        for copy in working.values():
            copy.grad = None
        self._versions = [weight._version for weight in self.parameters.values()]

    def state_dict(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, as tensors that safetensors can hold: moments, iterations, random state."""
        state = {f"moment.{name}": moment.contiguous().clone() for name, moment in self.moments.items()}
        state["iterations"] = torch.tensor(self.iterations)
        state["generator"] = self._generator.get_state()
        state["scale"] = torch.tensor([self.loss_scale, self._good_steps], dtype=torch.float64)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave; the random state only from the same kind of device, whose own it is.

        Raises CorruptCheckpoint when a moment is missing or of another shape.
        """
        for name, moment in self.moments.items():
            stored = state.get(f"moment.{name}")
            if stored is None or stored.shape != moment.shape:
                raise CorruptCheckpoint(f"The optimiser state has no moment that fits {name}.", tensor=name)
            moment.copy_(stored)
        self.iterations = int(state["iterations"])
        random_state = state.get("generator")
        if random_state is not None and random_state.shape == self._generator.get_state().shape:
            self._generator.set_state(random_state.cpu())
        if "scale" in state and self._compute is torch.float16:
            self.loss_scale, self._good_steps = float(state["scale"][0]), int(state["scale"][1])

    def _update(
        self, name: str, weight: Tensor, gradient: Tensor, copy: Tensor | None, scale: float, lr: float
    ) -> None:
        """One parameter, piece by piece. The three scratch rows hold the gradient, the divisor and the dropout."""
        weights, gradients, moments = _flat(weight), _flat(gradient), _flat(self.moments[name])
        copies = None if copy is None else _flat(copy)
        for piece in _pieces(weights.numel()):
            count = piece.stop - piece.start
            g, divisor, keep = self._scratch[:, :count].unbind(0)
            g.copy_(gradients[piece])
            if scale != 1:
                g.mul_(scale)
            moment, part = moments[piece], weights[piece]
            moment.mul_(self.rho).addcmul_(g, g, value=1 - self.rho)
            torch.sqrt(moment, out=divisor).add_(self.eps)
            if self.keep_of_256 < 256:
                g.mul_(self._draw_keep(name, piece, keep))
            part.addcdiv_(g, divisor, value=-lr)
            if copies is not None:
                copies[piece].copy_(part)

    def _update_together(
        self, gradients: Mapping[str, Tensor], working: Mapping[str, Tensor], scale: float, lr: float
    ) -> None:
        """All parameters at once: a GPU has no cache to spare, and a launch for each piece would cost more than it."""
        weights = [self.parameters[name].detach() for name in gradients]
        moments = [self.moments[name] for name in gradients]
        g = [_like(gradient, self.parameters[name]).float() for name, gradient in gradients.items()]
        if scale != 1:
            g = list(torch._foreach_mul(g, scale))
        torch._foreach_mul_(moments, self.rho)
        torch._foreach_addcmul_(moments, g, g, value=1 - self.rho)
        divisors = torch._foreach_sqrt(moments)
        torch._foreach_add_(divisors, self.eps)
        if self.keep_of_256 < 256:
            keep = [torch.empty_like(part) for part in g]
            for name, out in zip(gradients, keep, strict=True):
                self._draw_keep(name, slice(0, out.numel()), _flat(out))
            g = list(torch._foreach_mul(g, keep))
        torch._foreach_addcdiv_(weights, g, divisors, value=-lr)
        if self._compute is not torch.float32:
            torch._foreach_copy_([working[name].detach() for name in gradients], weights)

    def _draw_tables(self) -> None:
        """Fresh random bytes for this step: PIECE of them and twice as many."""
        self._turn = 0
        if self.keep_of_256 < 256:
            self._tables.random_(torch.iinfo(torch.int64).min, None, generator=self._generator)  # all 64 bits

    def _draw_keep(self, name: str, piece: slice, out: Tensor) -> Tensor:
        """1 where an element's update is kept, else 0, float32, into the flat `out`.

        On a CPU an element's byte is the sum, modulo 256, of one from each of two tables, which lie against each other
        in another way for every piece: each byte is uniform, any two are independent, and 38 million of them cost as
        many additions instead of as many draws, which torch makes on one core (30 ms). 77 − byte clamped to 0..1 is
        `byte < 77`.
        """
        if not self._in_pieces:
            out.random_(0, 256, generator=self._generator)
            return torch.sub(self._threshold, out, out=out).clamp_(0, 1)
        count = out.numel()
        self._turn += 1
        start = PIECE + self._turn * 6007 % PIECE
        table = self._tables.view(torch.uint8)
        out.copy_(table[:count] + table[start : start + count])
        return torch.sub(self._threshold, out, out=out).clamp_(0, 1)

    def _clip_scale(self, gradients: Iterable[Tensor]) -> float:
        if not self.clip_norm:
            return 1.0
        norms = torch.stack([gradient.float().norm() for gradient in gradients])
        length = float(norms.norm()) / self.loss_scale
        return self.clip_norm / length if length >= self.clip_norm else 1.0

    def _overflowed(self, gradients: Iterable[Tensor]) -> bool:
        """Whether a gradient left the range of float16; adapts the scale either way."""
        finite = bool(torch.stack([gradient.isfinite().all() for gradient in gradients]).all())
        self._good_steps = self._good_steps + 1 if finite else 0
        if not finite:
            self.loss_scale /= 2
        elif self._good_steps % 1000 == 0:
            self.loss_scale = min(2 * self.loss_scale, 65536.0)
        return not finite

    def _current_lr(self) -> float:
        if not self.lr_period:
            return self.lr
        return self.lr * (math.cos(2 * math.pi * self.iterations / self.lr_period) + 1) / 2


def _flat(tensor: Tensor) -> Tensor:
    """The numbers of a dense tensor in the order they lie in memory."""
    return tensor.detach().as_strided((tensor.numel(),), (1,), tensor.storage_offset())


def _like(gradient: Tensor, weight: Tensor) -> Tensor:
    """`gradient` in the memory layout of `weight`."""
    if gradient.stride() == weight.stride():
        return gradient
    return torch.empty_strided(weight.shape, weight.stride(), dtype=gradient.dtype, device=gradient.device).copy_(
        gradient
    )


def _pieces(count: int) -> Iterator[slice]:
    for start in range(0, count, PIECE):
        yield slice(start, min(start + PIECE, count))
