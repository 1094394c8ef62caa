"""Activations made again on the way back instead of kept: less memory for more time, the same gradients.

Of a stage (an encoder, a doubling of a decoder, its mask) only what goes in is kept. On the way back it is computed
once more, with the same tensors as on the way there: a step computes on others than the network's own. What is kept
then is a seventh of it for the decoders and nothing of the encoder, beside the one stage that is in work.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from understudy.networks.blocks import Staged, directly


def recompute(net: nn.Module, *, on: bool) -> None:
    """Whether the stages of a network are computed again on the way back, from its next use on."""
    for part in net.modules():
        if isinstance(part, Staged):
            part.each = twice if on else directly


def twice(part: nn.Module, stage: str, *given: Any) -> Tensor:
    """A stage of a part, of which only `given` is kept where a gradient is asked for."""
    if not torch.is_grad_enabled():
        return directly(part, stage, *given)
    tensors: dict[str, Tensor] = {
        f"part.{name}": tensor for name, tensor in part.named_parameters()
    }  # those that stand in there now
    alone = _Stage(part, stage)

    def work(*again: Any) -> Any:
        return functional_call(alone, tensors, again)

    done: Tensor = checkpoint(work, *given, use_reentrant=False, preserve_rng_state=False)
    return done


class _Stage(nn.Module):
    """A stage as a module, which `functional_call` can give tensors to."""

    def __init__(self, part: nn.Module, stage: str) -> None:
        super().__init__()
        self.part, self._stage = part, stage

    def forward(self, *given: Any) -> Tensor:
        return directly(self.part, self._stage, *given)
