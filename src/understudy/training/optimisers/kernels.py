"""The arithmetic that optimisers share, over lists of tensors on one device, all in place.

`fused`, on a processor, is one call of a kernel of torch.optim, where need be of another optimiser, given numbers that
make it do what is wanted: one pass over memory instead of the two or five of the same formula written as operations.
The other way is those operations, each over the whole list at once (torch's "foreach"), on any device.
"""

from __future__ import annotations

import math

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
    squares: list[Tensor],
    *,
    memory: float,
    lr: float,
    eps: float,
    fused: bool,
) -> None:
    """squares ← memory·squares + (1−memory)·deviations², then weights ← weights − lr·directions / (√squares + eps).

    float32. directions and deviations may be the same tensors, and are spoilt.
    """
    if fused:
        # Adam at a step so late that nothing is left of its bias corrections, and with a first moment, the directions,
        # that it hardly changes: by 2⁻⁵³ of the deviation, which a float32 beside it does not show.
        torch._fused_adam_(
            weights,
            deviations,
            directions,
            squares,
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
    torch._foreach_mul_(squares, memory)
    torch._foreach_addcmul_(squares, deviations, deviations, value=1 - memory)
    divisors = torch._foreach_sqrt(squares)
    torch._foreach_add_(divisors, eps)
    torch._foreach_addcdiv_(weights, directions, divisors, value=-lr)


def adam(
    weights: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    ages: list[int],
    *,
    momentum: float,
    memory: float,
    lr: float,
    eps: float,
    decay: float,
    fused: bool,
) -> None:
    """means and squares follow the gradients, then weights ← (1 − lr·decay)·weights − lr·m̂ / (√v̂ + eps). float32.

    m̂ and v̂ are means and squares divided by 1 − momentum^age and 1 − memory^age, where `ages` count the updates of
    each tensor, this one included.
    """
    if fused:
        counts = {age: torch.tensor(float(age)) for age in set(ages)}
        torch._fused_adamw_(
            weights,
            gradients,
            means,
            squares,
            [],
            [counts[age] for age in ages],
            lr=lr,
            beta1=momentum,
            beta2=memory,
            weight_decay=decay,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
        return
    torch._foreach_lerp_(means, gradients, 1 - momentum)
    torch._foreach_mul_(squares, memory)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - memory)
    divisors = torch._foreach_sqrt(squares)
    torch._foreach_div_(divisors, [math.sqrt(1 - memory**age) for age in ages])
    torch._foreach_add_(divisors, eps)
    if decay:
        torch._foreach_mul_(weights, 1 - lr * decay)
    torch._foreach_addcdiv_(weights, means, divisors, [-lr / (1 - momentum**age) for age in ages])


def lion(
    weights: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    *,
    lean: float,
    memory: float,
    lr: float,
    decay: float,
) -> None:
    """weights ← (1 − lr·decay)·weights − lr·sign(lean·means + (1−lean)·gradients), then means ← memory·means +
    (1−memory)·gradients. float32."""
    signs = torch._foreach_lerp(means, gradients, 1 - lean)
    torch._foreach_sign_(signs)
    if decay:
        torch._foreach_mul_(weights, 1 - lr * decay)
    torch._foreach_add_(weights, signs, alpha=-lr)
    torch._foreach_lerp_(means, gradients, 1 - memory)
