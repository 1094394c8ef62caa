"""The two pieces of arithmetic that adaptive optimisers share, over lists of tensors on one device, all in place.

`fused`, on a processor, is one call of a kernel that torch.optim has for another optimiser, given numbers that make it
do what is wanted: one pass over memory instead of the two or five of the same formula written as operations. The other
way is those operations, each over the whole list at once (torch's "foreach"), on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ALMOST_ONE = 1 - 2**-53
_FOREVER = torch.tensor(1e30)


def follow(means: list[Tensor], gradients: list[Tensor], momentum: float, *, fused: bool) -> None:
    """means ← momentum·means + (1−momentum)·gradients, then gradients ← gradients − means, the new ones. float32."""
    if fused:
        # SGD with momentum whose weights and gradients are the same numbers and whose learning rate is 1.
        torch._fused_sgd_(
            gradients,
            gradients,
            means,
            weight_decay=0.0,
            momentum=momentum,
            lr=1.0,
            dampening=momentum,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )
        return
    torch._foreach_lerp_(means, gradients, 1 - momentum)
    torch._foreach_sub_(gradients, means)


def descend(
    weights: list[Tensor],
    directions: list[Tensor],
    deviations: list[Tensor],
    seconds: list[Tensor],
    *,
    memory: float,
    lr: float,
    eps: float,
    fused: bool,
) -> None:
    """seconds ← memory·seconds + (1−memory)·deviations², then weights ← weights − lr·directions / (√seconds + eps).

    float32. directions and deviations may be the same tensors, and are spoilt.
    """
    if fused:
        # Adam at a step so late that nothing is left of its bias corrections, and with a first moment, the directions,
        # that it hardly changes: by 2⁻⁵³ of the deviation, which a float32 beside it does not show.
        torch._fused_adam_(
            weights,
            deviations,
            directions,
            seconds,
            [],
            [_FOREVER] * len(weights),
            lr=lr,
            beta1=_ALMOST_ONE,
            beta2=memory,
            weight_decay=0.0,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
        return
    torch._foreach_mul_(seconds, memory)
    torch._foreach_addcmul_(seconds, deviations, deviations, value=1 - memory)
    divisors = torch._foreach_sqrt(seconds)
    torch._foreach_add_(divisors, eps)
    torch._foreach_addcdiv_(weights, directions, divisors, value=-lr)
